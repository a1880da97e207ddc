"""TLS: contexts, and what the ASGI extension says of a connection."""
