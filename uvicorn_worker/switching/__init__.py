"""What a connection speaks, and how it changes that."""
