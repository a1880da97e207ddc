"""The certificates of the tests: those that the program openssl makes are as good as trustme's."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from tests import certificates, openssl
from tests.certificates import CLIENT_NAME, Site, client_context, issue_rsa, new_authority
from uvicorn_worker.tls.distinguished_name import key_algorithm, subject_name

EC, RSA = "1.2.840.10045.2.1", "1.2.840.113549.1.1.1"


@pytest.fixture(params=["trustme", "openssl"])
def maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each of the two is the one that makes them."""
    made = pytest.importorskip("trustme").CA if request.param == "trustme" else openssl.Authority
    monkeypatch.setattr(certificates, "MAKER", made)
    certificates.authority.cache_clear()
    yield
    certificates.authority.cache_clear()


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bytes | None:
    """The certificate (DER) that the client has shown; raises what either side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return theirs.getpeercert(binary_form=True)


@pytest.mark.usefixtures("maker")
class TestMakers:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        return Site(tmp_path)

    @pytest.fixture
    def server(self, site: Site) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(site.ca))
        context.load_cert_chain(site.cert, site.key)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    @pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
    def test_a_site_of_these_names(self, server: ssl.SSLContext, name: str) -> None:
        assert shake_hands(server, client_context(), name) is None

    def test_and_of_no_others(self, server: ssl.SSLContext) -> None:
        with pytest.raises(ssl.SSLCertVerificationError, match="ostname mismatch"):
            shake_hands(server, client_context(), "example.org")

    def test_what_a_strict_client_wants(self, server: ssl.SSLContext) -> None:
        context = client_context()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        assert shake_hands(server, context, "localhost") is None

    def test_a_client(self, server: ssl.SSLContext) -> None:
        jane = certificates.authority().issue_cert(
            "jane@example.org", common_name="Jane", organization_name="Example", organization_unit_name="Ops, EU"
        )
        shown = shake_hands(server, client_context(jane), "localhost")
        assert shown == ssl.PEM_cert_to_DER_cert(jane.cert_chain_pems[0].bytes().decode())
        assert subject_name(shown) == CLIENT_NAME

    def test_a_client_of_a_stranger(self, server: ssl.SSLContext) -> None:
        with pytest.raises(ssl.SSLError):
            shake_hands(server, client_context(new_authority().issue_cert("jane@example.org")), "localhost")

    def test_each_is_another(self, site: Site) -> None:
        assert site.certificate != site.renew()

    def test_kinds_of_keys(self, site: Site) -> None:
        assert key_algorithm(site.certificate) == EC
        other = issue_rsa("localhost").cert_chain_pems[0].bytes().decode()
        assert key_algorithm(ssl.PEM_cert_to_DER_cert(other)) == RSA

    def test_an_encrypted_key(self, site: Site) -> None:
        site.key.write_bytes(openssl.encrypted(site.key.read_bytes(), "open sesame"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with pytest.raises(ssl.SSLError):
            context.load_cert_chain(site.cert, site.key, "another")
        context.load_cert_chain(site.cert, site.key, "open sesame")
