"""HTTP/2 (RFC 9113) over one transport."""
