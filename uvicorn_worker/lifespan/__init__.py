"""The lifespan of an application by itself, where uvicorn has it."""
