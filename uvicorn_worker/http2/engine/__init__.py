"""HTTP/2 (RFC 9113) without I/O: the interface, and two implementations of it."""
