"""The board: what the workers of one master say of themselves, in memory that all of them share, and who reads it."""
