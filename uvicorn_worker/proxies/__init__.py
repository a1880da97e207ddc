"""Proxies before the server: who is one, and what is believed of what they say."""
