"""Middlewares by the names that uvicorn has for them, for applications that put them on themselves.

The server does all of it by options: proxy_headers, interface, log_level = trace.
"""
