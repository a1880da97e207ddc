"""The ASGI `tls` extension of a connection."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.certificates import Site
from tests.http1.apps import hello
from tests.scripted import ScriptedTransport
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.scope import Scopes
from uvicorn_worker.tls.contexts import make_context
from uvicorn_worker.tls.extension import tls_extension


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    return make_context(Config(app=hello, **Site(tmp_path).options))


def connection(context: ssl.SSLContext, **attributes: Any) -> Any:
    """What the extension asks of an SSLObject."""
    answers: dict[str, Any] = {
        "version": "TLSv1.3",
        "cipher": ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256),
        "getpeercert": None,
        **attributes,
    }
    methods = {name: lambda value=value, **kwargs: value for name, value in answers.items()}
    return SimpleNamespace(context=context, **methods)


class TestExtension:
    def test_without_a_client_certificate(self, context: ssl.SSLContext, tmp_path: Path) -> None:
        certificate = ssl.PEM_cert_to_DER_cert((tmp_path / "cert.pem").read_text())
        assert tls_extension(connection(context)) == {
            "server_cert": ssl.DER_cert_to_PEM_cert(certificate),
            "client_cert_chain": [],
            "client_cert_name": None,
            "client_cert_error": None,
            "tls_version": 0x0304,
            "cipher_suite": 0x1302,
        }

    @pytest.mark.parametrize(
        ("name", "number"),
        [("TLS_CHACHA20_POLY1305_SHA256", 0x1303), ("ECDHE-RSA-AES128-GCM-SHA256", 0xC02F), ("NO-SUCH", None)],
    )
    def test_the_cipher_suite_is_iana_s_number(self, context: ssl.SSLContext, name: str, number: int | None) -> None:
        assert tls_extension(connection(context, cipher=(name, "", 0)))["cipher_suite"] == number

    def test_what_is_not_known_is_none(self, context: ssl.SSLContext) -> None:
        extension = tls_extension(connection(context, version=None, cipher=None))
        assert (extension["tls_version"], extension["cipher_suite"]) == (None, None)
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert tls_extension(connection(other))["server_cert"] is None

    def test_no_certificate_is_asked_for_where_none_was_wanted(self, context: ssl.SSLContext) -> None:
        assert tls_extension(connection(context, getpeercert=b"not looked at"))["client_cert_chain"] == []

    @pytest.mark.parametrize("chain", [[b"own", b"issuer"], None, []])
    def test_the_chain_is_what_python_gives(self, context: ssl.SSLContext, chain: list[bytes] | None) -> None:
        context.verify_mode = ssl.CERT_OPTIONAL
        ssl_object = connection(context, getpeercert=b"own")
        if chain is not None:
            ssl_object.get_unverified_chain = lambda: chain
        expected = [ssl.DER_cert_to_PEM_cert(each) for each in chain or [b"own"]]
        assert tls_extension(ssl_object)["client_cert_chain"] == expected

    def test_a_client_may_have_none(self, context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_OPTIONAL
        extension = tls_extension(connection(context))
        assert (extension["client_cert_chain"], extension["client_cert_name"]) == ([], None)


class TestScope:
    def test_each_connection_has_its_own(self, context: ssl.SSLContext) -> None:
        loop = asyncio.new_event_loop()
        scopes = Scopes(Config(app=hello), tls_extension)
        try:
            plain = scopes.of_connection(ScriptedTransport(loop))
            assert "tls" not in plain["extensions"]
            first, second = (
                scopes.of_connection(ScriptedTransport(loop, sslcontext=context, ssl_object=connection(context)))
                for _ in range(2)
            )
        finally:
            loop.close()
        assert first["extensions"] == second["extensions"]
        assert first["extensions"] == {**plain["extensions"], "tls": tls_extension(connection(context))}
        assert first["extensions"] is not second["extensions"]
        assert "tls" not in plain["extensions"]
