"""What applications import of uvicorn's protocols, where uvicorn has it; the protocols themselves are elsewhere."""
