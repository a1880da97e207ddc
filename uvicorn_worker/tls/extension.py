"""The ASGI `tls` extension (version 0.2): what an application may know of the TLS connection of its client."""

from __future__ import annotations

import ssl
from typing import Any

from uvicorn_worker.tls.contexts import server_certificates
from uvicorn_worker.tls.distinguished_name import subject_name

__all__ = ["tls_extension"]

_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

# The numbers of cipher suites (IANA) by the names that OpenSSL has for them; filled as contexts come along.
_suites: dict[str, int] = {}


def tls_extension(ssl_object: ssl.SSLObject) -> dict[str, Any]:
    """`scope["extensions"]["tls"]` of a connection whose handshake is complete."""
    context = ssl_object.context
    chain = _client_chain(ssl_object)
    return {
        "server_cert": server_certificates.get(context),
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(certificate) for certificate in chain],
        "client_cert_name": subject_name(chain[0]) if chain else None,
        # A certificate that does not pass the check ends the handshake.
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(ssl_object.version() or ""),
        "cipher_suite": _cipher_suite(ssl_object, context),
    }


def _client_chain(ssl_object: ssl.SSLObject) -> list[bytes]:
    """The client's certificates (DER) as it sent them; before Python 3.13 its own alone.

    A client that was not asked for one has none. Its context does not tell: an sni_callback puts others in the place of
    the one whose `verify_mode` counts.
    """
    own = ssl_object.getpeercert(binary_form=True)
    if own is None:
        return []
    get_chain = getattr(ssl_object, "get_unverified_chain", None)
    # A session that is resumed has the certificate, but not the rest of the chain.
    return (get_chain() if get_chain is not None else None) or [own]


def _cipher_suite(ssl_object: ssl.SSLObject, context: ssl.SSLContext) -> int | None:
    cipher = ssl_object.cipher()
    if cipher is None:
        return None
    name = cipher[0]
    if name not in _suites:
        # OpenSSL has the number of the suite in the lower two bytes of its own.
        _suites.update((each["name"], each["id"] & 0xFFFF) for each in context.get_ciphers())
    return _suites.get(name)
