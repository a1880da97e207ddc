"""Certificates of an authority made for the tests, and TLS contexts of clients that trust it."""

from __future__ import annotations

import importlib
import os
import ssl
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tests import openssl

try:
    MAKER: Any = importlib.import_module("trustme").CA
except ImportError:
    # It needs cryptography, which has no wheel for some Pythons (PyPy).
    MAKER = openssl.Authority

if TYPE_CHECKING:
    import trustme

    Authority: TypeAlias = trustme.CA | openssl.Authority
    Identity: TypeAlias = trustme.LeafCert | openssl.Identity

__all__ = ["CLIENT_NAME", "Site", "authority", "client_context", "issue_rsa", "new_authority"]

CLIENT_NAME = "CN=Jane,OU=Ops\\, EU,O=Example"
"""The subject of the client's certificate (RFC 4514)."""


def new_authority() -> Authority:
    """An authority that nobody else knows."""
    made: Authority = MAKER()
    return made


@cache
def authority() -> Authority:
    """The authority that the clients trust."""
    return new_authority()


def issue_rsa(*names: str) -> Identity:
    """A certificate of `authority()` with an RSA key; others have one of an elliptic curve."""
    own = authority()
    if isinstance(own, openssl.Authority):
        return own.issue_cert(*names, key_type="RSA")
    return own.issue_cert(*names, key_type=importlib.import_module("trustme").KeyType.RSA)


def client_context(identity: Identity | None = None, **attributes: Any) -> ssl.SSLContext:
    """A client's context that trusts `authority()`; it shows `identity`, and has `attributes` set."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if identity is not None:
        identity.configure_cert(context)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


class Site:
    """The files of a TLS server in `folder`: cert.pem, key.pem and ca.pem, the last for client certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cert, self.key, self.ca = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
        self.certificate = self.renew()
        self.trust(authority())

    @property
    def options(self) -> dict[str, Any]:
        """The options that name certificate and key."""
        return {"ssl_certfile": str(self.cert), "ssl_keyfile": str(self.key)}

    def renew(self) -> bytes:
        """Replace certificate and key by new ones; gives the certificate (DER)."""
        issued = authority().issue_cert("localhost", "127.0.0.1")
        replace(self.cert, b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        replace(self.key, issued.private_key_pem.bytes())
        self.certificate = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        return self.certificate

    def trust(self, issuer: Authority) -> None:
        """Take client certificates of `issuer`, and of no other."""
        replace(self.ca, issuer.cert_pem.bytes())


def replace(path: Path, data: bytes) -> None:
    """Write a file as tools that renew certificates do: at once."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)
