"""TLS contexts: made from the options, refused with one line, made anew when the files change."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Site, authority, client_context, issue_rsa, new_authority
from tests.http1.apps import hello
from tests.openssl import encrypted
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.tls import contexts as contexts_module
from uvicorn_worker.tls.asked import HTTP1_ONLY, tls_is_on
from uvicorn_worker.tls.contexts import (
    LOOK_TICKS,
    TlsContexts,
    check_tls,
    handshake_options,
    make_context,
    set_alpn,
    share_context,
)

Log = Callable[..., list[str]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def config(site: Site | None = None, **options: Any) -> Config:
    return Config(app=hello, **{**(site.options if site else {}), **options})


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The client's side of a connection between the two; raises what either side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(4):
        for side in (ours, theirs):
            try:
                if side not in done:
                    side.do_handshake()
                    done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert len(done) == 2
    return ours


def shown(server: ssl.SSLContext) -> bytes | None:
    """The certificate that a client is shown."""
    return handshake(server, client_context()).getpeercert(binary_form=True)


class TestIsOn:
    def test_it_is_off_by_default(self) -> None:
        assert not tls_is_on(config())
        check_tls(config())

    def test_a_certificate_turns_it_on(self) -> None:
        assert tls_is_on(config(ssl_certfile="cert.pem"))

    def test_so_does_a_factory(self) -> None:
        assert tls_is_on(config(ssl_context_factory=lambda config, default: default()))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("ssl_keyfile", "key.pem"),
            ("ssl_version", "TLSv1.3"),
            ("ssl_cert_reqs", 2),
            ("ssl_ca_certs", "ca.pem"),
            ("ssl_ciphers", "HIGH"),
        ],
    )
    def test_half_of_it_is_refused(self, name: str, value: Any) -> None:
        with pytest.raises(ConfigError, match=f"^option {name} = {value!r}: has no effect without ssl_certfile"):
            check_tls(config(**{name: value}))

    def test_a_password_is_not_shown(self) -> None:
        with pytest.raises(ConfigError, match=r"^option ssl_keyfile_password: has no effect without ssl_certfile"):
            check_tls(config(ssl_keyfile_password="secret"))

    def test_uvicorns_default_asks_for_nothing(self) -> None:
        """BentoML hands it on, with TLS or without."""
        assert not tls_is_on(config(ssl_ciphers="TLSv1"))

    def test_an_empty_name_is_none(self) -> None:
        assert not tls_is_on(config(ssl_certfile="", ssl_keyfile="", ssl_ca_certs=""))


def encrypt(path: Path, password: str) -> None:
    path.write_bytes(encrypted(path.read_bytes(), password))


class TestMistakes:
    """Each is one line that names the option, its value and what is wrong."""

    def refused(self, site: Site, **options: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            check_tls(config(site, **options))
        message = str(caught.value)
        assert "\n" not in message
        return message

    @pytest.mark.parametrize("name", ["ssl_certfile", "ssl_keyfile", "ssl_ca_certs"])
    def test_no_such_file(self, site: Site, name: str) -> None:
        assert self.refused(site, **{name: "/nowhere"}) == (
            f"option {name} = '/nowhere': can't be read: No such file or directory"
        )

    def test_a_folder(self, site: Site) -> None:
        folder = str(site.folder)
        assert (
            self.refused(site, ssl_keyfile=folder) == f"option ssl_keyfile = {folder!r}: can't be read: Is a directory"
        )

    def test_a_name_that_is_none(self, site: Site) -> None:
        assert "option ssl_certfile = 'a\\x00b': can't be read: " in self.refused(site, ssl_certfile="a\0b")

    def test_no_certificate_in_the_file(self, site: Site) -> None:
        key = str(site.key)
        assert self.refused(site, ssl_certfile=key) == f"option ssl_certfile = {key!r}: holds no certificate (PEM)"

    def test_no_key_in_the_file(self, site: Site) -> None:
        cert = str(site.cert)
        assert self.refused(site, ssl_keyfile=cert) == f"option ssl_keyfile = {cert!r}: holds no private key (PEM)"
        assert self.refused(site, ssl_keyfile=None) == (
            f"option ssl_certfile = {cert!r}: holds no private key (PEM), and ssl_keyfile is not set"
        )

    def test_the_key_of_another(self, site: Site) -> None:
        cert = site.cert.read_bytes()
        site.renew()
        site.cert.write_bytes(cert)
        key, cert_path = str(site.key), str(site.cert)
        assert self.refused(site) == (
            f"option ssl_keyfile = {key!r}: the private key is not that of the certificate in {cert_path!r}"
        )

    def test_an_encrypted_key(self, site: Site) -> None:
        encrypt(site.key, "right")
        key = str(site.key)
        assert self.refused(site) == (
            f"option ssl_keyfile = {key!r}: the private key is encrypted, and ssl_keyfile_password is not set"
        )
        assert self.refused(site, ssl_keyfile_password="wrong") == (
            f"option ssl_keyfile_password: is not that of the key in {key!r}"
        )
        check_tls(config(site, ssl_keyfile_password="right"))

    def test_a_certificate_that_openssl_refuses(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: ssl.SSLContext, *args: Any) -> None:
            error = ssl.SSLError("[SSL: EE_KEY_TOO_SMALL] ee key too small (_ssl.c:1)")
            error.reason = "EE_KEY_TOO_SMALL"
            raise error

        monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", refuse)
        assert self.refused(site) == f"option ssl_certfile = {str(site.cert)!r}: OpenSSL says ee key too small"

    def test_unknown_ciphers(self, site: Site) -> None:
        assert self.refused(site, ssl_ciphers="NONSENSE") == (
            "option ssl_ciphers = 'NONSENSE': OpenSSL says No cipher can be selected"
        )

    def test_client_certificates_without_an_authority(self, site: Site) -> None:
        assert self.refused(site, ssl_cert_reqs=ssl.CERT_REQUIRED).startswith(
            "option ssl_cert_reqs = 2: needs ssl_ca_certs"
        )

    def test_an_authority_without_a_certificate(self, site: Site) -> None:
        assert self.refused(site, ssl_ca_certs=str(site.key)).startswith(
            f"option ssl_ca_certs = {str(site.key)!r}: holds no certificates (PEM): "
        )

    def test_a_version_that_openssl_lacks(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        class Old(ssl.SSLContext):
            @property  # type: ignore[override]  # the base has it as a number
            def minimum_version(self) -> ssl.TLSVersion:
                return ssl.TLSVersion.TLSv1_2

            @minimum_version.setter
            def minimum_version(self, version: ssl.TLSVersion) -> None:
                raise ValueError

        monkeypatch.setattr(ssl, "create_default_context", lambda purpose: Old(ssl.PROTOCOL_TLS_SERVER))
        assert self.refused(site, ssl_version="TLSv1.3") == (
            "option ssl_version = 'TLSv1.3': this OpenSSL does not speak it"
        )


class TestContext:
    def test_it_shows_the_certificate(self, site: Site) -> None:
        assert shown(make_context(config(site))) == site.certificate

    def test_key_and_certificate_may_be_one_file(self, site: Site) -> None:
        both = site.folder / "both.pem"
        both.write_bytes(site.key.read_bytes() + site.cert.read_bytes())
        assert shown(make_context(config(ssl_certfile=str(both)))) == site.certificate

    def test_a_password_that_is_not_needed_does_no_harm(self, site: Site) -> None:
        assert shown(make_context(config(site, ssl_keyfile_password="secret"))) == site.certificate

    @pytest.mark.parametrize(
        ("version", "oldest"),
        [(None, "TLSv1_2"), ("TLSv1.2", "TLSv1_2"), ("TLSv1.3", "TLSv1_3"), (ssl.TLSVersion.TLSv1_3, "TLSv1_3")],
    )
    def test_the_oldest_version(self, site: Site, version: Any, oldest: str) -> None:
        context = make_context(config(site, ssl_version=version))
        assert context.minimum_version == ssl.TLSVersion[oldest]
        handshake(context, client_context())
        old = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
        if oldest == "TLSv1_3":
            with pytest.raises(ssl.SSLError):
                handshake(context, old)
        else:
            assert handshake(context, old).version() == "TLSv1.2"

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
    def test_an_old_version_is_the_operators_choice(self, site: Site) -> None:
        assert make_context(config(site, ssl_version=ssl.TLSVersion.TLSv1_1)).minimum_version == ssl.TLSVersion.TLSv1_1

    def test_ciphers_are_those_of_tls_1_2(self, site: Site) -> None:
        context = make_context(config(site, ssl_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"))
        cipher = handshake(context, client_context(maximum_version=ssl.TLSVersion.TLSv1_2)).cipher()
        assert cipher is not None
        assert cipher[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"
        assert handshake(context, client_context()).version() == "TLSv1.3"

    def test_client_certificates(self, site: Site) -> None:
        options = {"ssl_ca_certs": str(site.ca), "ssl_cert_reqs": 2}
        context = make_context(config(site, **options))
        assert context.verify_mode == ssl.CERT_REQUIRED
        handshake(context, client_context(authority().issue_cert("jane@example.org")))
        for identity in (None, new_authority().issue_cert("jane@example.org")):
            with pytest.raises(ssl.SSLError):
                handshake(context, client_context(identity))

    def test_renegotiation_is_off(self, site: Site) -> None:
        assert make_context(config(site)).options & ssl.OP_NO_RENEGOTIATION

    def test_alpn(self, site: Site) -> None:
        both = client_context()
        both.set_alpn_protocols(["h2", "http/1.1"])
        assert handshake(make_context(config(site)), both).selected_alpn_protocol() == "http/1.1"
        assert handshake(make_context(config(site), ["h2", "http/1.1"]), both).selected_alpn_protocol() == "h2"
        context = make_context(config(site))
        set_alpn(context, ["h2"])
        assert handshake(context, both).selected_alpn_protocol() == "h2"

    def test_a_client_without_alpn_is_served(self, site: Site) -> None:
        assert handshake(make_context(config(site)), client_context()).selected_alpn_protocol() is None


class TestFactory:
    def test_it_is_given_the_options_and_the_usual_context(self, site: Site) -> None:
        given: list[Any] = []

        def factory(config: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
            context = default()
            given.extend((config, context))
            return context

        options = config(site, ssl_context_factory=factory)
        assert make_context(options) is given[1]
        assert given[0] is options
        assert shown(given[1]) == site.certificate

    def test_it_may_do_without_files(self, site: Site) -> None:
        own = make_context(config(site))
        assert make_context(config(ssl_context_factory=lambda config, default: own)) is own

    def test_the_usual_context_needs_a_certificate(self) -> None:
        options = config(ssl_context_factory=lambda config, default: default())
        with pytest.raises(ConfigError, match=r"^option ssl_certfile: is not set"):
            make_context(options)

    def test_the_check_before_the_start_leaves_the_files_to_it(self) -> None:
        check_tls(config(ssl_certfile="/nowhere", ssl_context_factory=lambda config, default: default()))

    @pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(0)])
    def test_what_it_raises_is_reported(self, site: Site, error: BaseException) -> None:
        def factory(config: Config, default: Any) -> ssl.SSLContext:
            raise error

        with pytest.raises(ConfigError, match=r"The hook that makes the TLS context .* raised") as caught:
            make_context(config(site, ssl_context_factory=factory))
        assert caught.value.__cause__ is error

    @pytest.mark.parametrize("result", [None, object()])
    def test_it_must_give_a_context(self, site: Site, result: Any) -> None:
        with pytest.raises(ConfigError, match=r"must return an ssl\.SSLContext, and it returned"):
            make_context(config(site, ssl_context_factory=lambda config, default: result))


class TestChangedFiles:
    def test_one_for_clients_is_refused(self, site: Site) -> None:
        """What `ssl.create_default_context()` gives of itself: every handshake would fail."""
        with pytest.raises(ConfigError, match=r"returned one for clients: .*Purpose\.CLIENT_AUTH"):
            make_context(config(site, ssl_context_factory=lambda config, default: ssl.create_default_context()))

    def contexts(self, site: Site, **options: Any) -> TlsContexts:
        return TlsContexts(config(site, ssl_ca_certs=str(site.ca), ssl_cert_reqs=1, **options))

    def test_nothing_happens_without_a_change(self, site: Site, log: Log) -> None:
        contexts = self.contexts(site)
        before = contexts.context
        contexts.look()
        contexts.look()
        contexts.take()
        assert contexts.context is before
        assert log() == []

    def test_a_new_pair_is_used(self, site: Site, log: Log) -> None:
        contexts = self.contexts(site)
        before, old = contexts.context, site.certificate
        new = site.renew()
        contexts.look()
        contexts.take()
        # Not yet: it may not be complete.
        assert shown(contexts.context) == old
        contexts.look()
        contexts.take()
        assert shown(contexts.context) == new
        # The same one, so that sessions are resumed.
        assert contexts.context is before
        assert log() == ["The TLS files have changed: new connections use them."]
        contexts.look()
        assert len(log()) == 1

    def test_a_change_is_waited_for_until_it_is_over(self, site: Site) -> None:
        contexts = self.contexts(site)
        before = site.certificate
        for _ in range(3):
            site.renew()
            contexts.look()
            contexts.take()
            assert shown(contexts.context) == before
        contexts.look()
        contexts.take()
        assert shown(contexts.context) == site.certificate

    def test_a_change_that_was_taken_back_is_none(self, site: Site) -> None:
        contexts = self.contexts(site)
        before = contexts.context
        for _ in range(3):
            kept = site.key.rename(site.folder / "kept")
            contexts.look()
            kept.rename(site.key)
            contexts.look()
        assert contexts.context is before

    def test_a_broken_pair_is_told_once_and_not_used(self, site: Site, log: Log) -> None:
        contexts = self.contexts(site)
        before = contexts.context
        site.key.write_text("nonsense")
        for _ in range(4):
            contexts.look()
        assert contexts.context is before
        (line,) = log()
        assert line.startswith(
            "The TLS files have changed and can't be used, so the old ones stay in use: option ssl_key"
        )
        site.renew()
        contexts.look()
        contexts.look()
        contexts.take()
        assert shown(contexts.context) == site.certificate

    def test_one_that_is_mended_without_a_change_of_the_files(self, site: Site, log: Log) -> None:
        """A key that comes for root alone, and is given to the group by the hook that follows (`chmod`)."""
        contexts = self.contexts(site)
        before = shown(contexts.context)
        site.renew()
        check, is_refused = contexts_module._check_readable, True

        def readable(name: str, path: str) -> None:
            if is_refused and name == "ssl_keyfile":
                raise ConfigError(f"option {name} = {path!r}: can't be read: Permission denied")
            check(name, path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(contexts_module, "_check_readable", readable)
            for _ in range(5):
                contexts.look()
                contexts.take()
            assert shown(contexts.context) == before
            assert len(log()) == 1
            is_refused = False
            contexts.look()
            contexts.take()
        assert shown(contexts.context) == site.certificate
        assert log()[1:] == ["The TLS files have changed: new connections use them."]

    def test_so_is_a_file_that_is_gone(self, site: Site, log: Log) -> None:
        contexts = self.contexts(site)
        before = contexts.context
        key = site.key.read_bytes()
        site.key.unlink()
        for _ in range(3):
            contexts.look()
        assert contexts.context is before
        assert len(log()) == 1
        site.key.write_bytes(key)
        contexts.look()
        contexts.look()
        assert contexts._fresh is not None

    def test_links_that_are_switched(self, site: Site) -> None:
        # As Kubernetes does it: the names are links into a folder that is a link itself.
        other = site.folder / "other"
        other.mkdir()
        data, current = site.folder / "current", site.folder / "next"
        data.symlink_to(site.folder)
        contexts = TlsContexts(config(ssl_certfile=str(data / "cert.pem"), ssl_keyfile=str(data / "key.pem")))
        new = Site(other).certificate
        current.symlink_to(other)
        os.replace(current, data)
        contexts.look()
        contexts.look()
        contexts.take()
        assert shown(contexts.context) == new

    def test_other_authorities(self, site: Site) -> None:
        contexts = self.contexts(site)
        stranger = new_authority()
        with pytest.raises(ssl.SSLError):
            handshake(contexts.context, client_context(stranger.issue_cert("jane@example.org")))
        site.trust(stranger)
        contexts.look()
        contexts.look()
        contexts.take()
        handshake(contexts.context, client_context(stranger.issue_cert("jane@example.org")))
        with pytest.raises(ssl.SSLError):
            handshake(contexts.context, client_context(authority().issue_cert("jane@example.org")))

    def test_a_factory_is_called_again(self, site: Site) -> None:
        made: list[ssl.SSLContext] = []

        def factory(config: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
            made.append(default())
            return made[-1]

        contexts = self.contexts(site, ssl_context_factory=factory)
        site.renew()
        contexts.look()
        contexts.look()
        contexts.take()
        assert len(made) == 2
        assert contexts.context is made[1]

    def test_the_first_must_be_fine(self, site: Site) -> None:
        site.key.unlink()
        with pytest.raises(ConfigError):
            self.contexts(site)


class TestLooking:
    @pytest.fixture
    def threads(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """The threads that would have been started; they run when they are called."""
        started: list[Any] = []

        class Thread:
            def __init__(self, target: Callable[[], None], name: str, daemon: bool) -> None:
                assert daemon
                self.target = target

            def start(self) -> None:
                started.append(self.target)

        monkeypatch.setattr(threading, "Thread", Thread)
        return started

    def test_every_few_seconds(self, site: Site, threads: list[Any]) -> None:
        contexts = TlsContexts(config(site))
        looks = 0
        for tick in range(1, 3 * LOOK_TICKS + 1):
            contexts.on_tick(tick)
            while threads:
                threads.pop()()
                looks += 1
        assert looks == 3

    def test_one_at_a_time(self, site: Site, threads: list[Any]) -> None:
        contexts = TlsContexts(config(site))
        contexts.on_tick(LOOK_TICKS)
        contexts.on_tick(2 * LOOK_TICKS)
        (look,) = threads
        look()
        contexts.on_tick(3 * LOOK_TICKS)
        assert len(threads) == 2

    def test_no_thread_to_be_had(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        contexts = TlsContexts(config(site))
        tried: list[int] = []

        def fail(self: threading.Thread) -> None:
            tried.append(1)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fail)
        contexts.on_tick(LOOK_TICKS)
        contexts.on_tick(2 * LOOK_TICKS)
        assert len(tried) == 2

    def test_without_files_there_is_nothing_to_look_at(self, site: Site, threads: list[Any]) -> None:
        own = make_context(config(site))
        contexts = TlsContexts(config(ssl_context_factory=lambda config, default: own))
        contexts.on_tick(LOOK_TICKS)
        assert threads == []

    def test_in_a_real_thread(self, site: Site) -> None:
        contexts = TlsContexts(config(site))
        site.renew()
        for tick in (LOOK_TICKS, 2 * LOOK_TICKS, 2 * LOOK_TICKS + 1):
            contexts.on_tick(tick)
            for thread in threading.enumerate():
                if thread.name == "tls-files":
                    thread.join()
        assert shown(contexts.context) == site.certificate


class TestHandshakeOptions:
    def test_the_deadline_is_that_of_a_request_head(self) -> None:
        loop = asyncio.new_event_loop()
        assert handshake_options(config(timeout_request_head=7), loop)["ssl_handshake_timeout"] == 7
        assert handshake_options(config(timeout_request_head=0), loop)["ssl_handshake_timeout"] is None
        loop.close()

    @pytest.mark.parametrize(("version", "known"), [((3, 10, 13), False), ((3, 11, 0), True)])
    def test_asyncio_of_python_3_10_has_no_deadline_for_the_close(
        self, version: tuple[int, ...], known: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop = asyncio.new_event_loop()
        monkeypatch.setattr(sys, "version_info", version)
        options = handshake_options(config(), loop)
        monkeypatch.undo()
        loop.close()
        assert ("ssl_shutdown_timeout" in options) is known

    def test_uvloop_always_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        uvloop = pytest.importorskip("uvloop")
        loop = uvloop.new_event_loop()
        monkeypatch.setattr(sys, "version_info", (3, 10, 13))
        options = handshake_options(config(), loop)
        monkeypatch.undo()
        loop.close()
        assert "ssl_shutdown_timeout" in options


class TestSharedContexts:
    """Made before the fork, so that each process takes the session tickets of the others."""

    @pytest.fixture(autouse=True)
    def forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(contexts_module, "_shared", None)

    def test_all_have_the_same_one(self, site: Site) -> None:
        generation = object()
        for _ in range(2):
            share_context(config(site), HTTP1_ONLY, generation)
        first, second = TlsContexts(config(site)), TlsContexts(config(site))
        assert first.context is second.context

    def test_another_generation_has_another(self, site: Site) -> None:
        share_context(config(site), HTTP1_ONLY, object())
        first = TlsContexts(config(site)).context
        share_context(config(site), HTTP1_ONLY, object())
        assert TlsContexts(config(site)).context is not first

    def test_other_options_mean_another_context(self, site: Site) -> None:
        share_context(config(site), HTTP1_ONLY, object())
        shared = TlsContexts(config(site)).context
        assert TlsContexts(config(site), ["h2"]).context is not shared
        assert TlsContexts(config(site, ssl_ciphers="ECDHE+AESGCM")).context is not shared

    def test_a_function_of_the_operators_is_called_in_each_process(self, site: Site) -> None:
        calls: list[int] = []

        def factory(config: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
            calls.append(1)
            return default()

        share_context(config(site, ssl_context_factory=factory), HTTP1_ONLY, object())
        assert calls == []
        first = TlsContexts(config(site, ssl_context_factory=factory)).context
        assert TlsContexts(config(site, ssl_context_factory=factory)).context is not first

    def test_one_that_is_forked_after_a_change_has_the_new_certificate(self, site: Site) -> None:
        share_context(config(site), HTTP1_ONLY, object())
        before = TlsContexts(config(site)).context
        new = site.renew()
        later = TlsContexts(config(site))
        assert later.context is before
        assert shown(later.context) == new

    def test_where_the_change_is_broken_the_old_one_stays(self, site: Site, log: Log) -> None:
        share_context(config(site), HTTP1_ONLY, object())
        old = site.certificate
        site.key.write_text("nonsense")
        assert shown(TlsContexts(config(site)).context) == old
        assert "the old ones stay in use" in log()[0]

    def test_files_that_only_the_master_may_see_are_not_looked_at(
        self, site: Site, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The master is root's, and its workers have another user: /etc/letsencrypt/live is root's alone."""
        share_context(config(site), HTTP1_ONLY, object())

        def stat(path: str) -> os.stat_result:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", stat)
            contexts = TlsContexts(config(site))
            for tick in range(2 * contexts_module.LOOK_TICKS):
                contexts.on_tick(tick)
            contexts.look()
        assert shown(contexts.context) == site.certificate
        assert log() == []

    def test_files_that_are_gone_are_looked_for(self, site: Site) -> None:
        share_context(config(site), HTTP1_ONLY, object())
        site.cert.unlink()
        contexts = TlsContexts(config(site))
        new = site.renew()
        for _ in range(2):
            contexts.look()
        contexts.take()
        assert shown(contexts.context) == new

    def test_a_key_of_another_kind_means_another_context(self, site: Site) -> None:
        """A context would go on showing the certificate of the first kind, too."""
        contexts = TlsContexts(config(site))
        before = contexts.context
        issued = issue_rsa("localhost")
        site.cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        site.key.write_bytes(issued.private_key_pem.bytes())
        for _ in range(2):
            contexts.look()
        contexts.take()
        assert contexts.context is not before
        assert shown(contexts.context) == ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    def test_files_that_change_between_look_and_use(self, site: Site) -> None:
        contexts = TlsContexts(config(site))
        new = site.renew()
        for _ in range(2):
            contexts.look()
        site.key.write_text("nonsense")
        contexts.take()
        assert shown(contexts.context) == new
