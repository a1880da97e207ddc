"""The ASGI `tls` extension of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.certificates import Site, authority, client_context
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

    def test_a_certificate_is_there_whatever_context_an_sni_callback_has_set(self, tmp_path: Path) -> None:
        """What was asked of the client is what the first context says."""
        site = Site(tmp_path)
        context = make_context(Config(app=hello, **site.options, ssl_ca_certs=str(site.ca), ssl_cert_reqs=2))
        other = make_context(Config(app=hello, **site.options, ssl_ca_certs=str(site.ca)))

        def choose(tls: Any, name: str, of: ssl.SSLContext) -> None:
            tls.context = other

        context.sni_callback = choose
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        peer = client_context(authority().issue_cert("client.example", common_name="Jane"))
        client = peer.wrap_bio(to_client, to_server, server_hostname="localhost")
        server = context.wrap_bio(to_server, to_client, server_side=True)
        for side in (client, server, client):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        server.do_handshake()
        assert server.context.verify_mode is ssl.CERT_NONE
        extension = tls_extension(server)
        assert "CN=Jane" in extension["client_cert_name"]
        assert len(extension["client_cert_chain"]) >= 1

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
