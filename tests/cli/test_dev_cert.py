"""`--dev-cert`: a certificate for localhost, made once and kept."""

from __future__ import annotations

import os
import ssl
import stat
import sys
from pathlib import Path

import pytest

from uvicorn_worker.cli import dev_cert
from uvicorn_worker.cli.dev_cert import dev_certificate
from uvicorn_worker.core.errors import ConfigError

pytest.importorskip("cryptography")


def test_it_is_one_that_is_taken_for_localhost_and_for_the_user_alone(tmp_path: Path) -> None:
    path = dev_certificate(folder=tmp_path / "new")
    assert path.name == "localhost.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    names = ssl._ssl._test_decode_cert(str(path))["subjectAltName"]  # type: ignore[attr-defined]  # not public
    assert ("DNS", "localhost") in names
    assert ("IP Address", "127.0.0.1") in names


def test_it_is_kept_until_it_is_about_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dev_certificate(folder=tmp_path)
    before = path.read_bytes()
    assert dev_certificate(folder=tmp_path).read_bytes() == before
    monkeypatch.setattr(dev_cert, "_RENEWED_DAYS_BEFORE", 398)
    assert dev_certificate(folder=tmp_path).read_bytes() != before
    path.write_text("no certificate")
    monkeypatch.undo()
    assert dev_certificate(folder=tmp_path).read_bytes().startswith(b"-----BEGIN")


@pytest.mark.parametrize(("host", "name"), [("dev.test", "dev.test"), ("10.0.0.1", "10.0.0.1"), ("fe80::1", "fe80__1")])
def test_another_host_is_named_too(tmp_path: Path, host: str, name: str) -> None:
    assert dev_certificate(host, tmp_path).name == f"{name}.pem"


def test_it_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert dev_certificate("127.0.0.1") == tmp_path / "uvicorn-worker" / "localhost.pem"


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"option dev_cert: .*localhost\.pem can't be written: "):
        dev_certificate(folder=tmp_path / "file" / "below")
    assert os.listdir(tmp_path) == ["file"]


def test_without_the_package_the_line_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.x509", None)
    with pytest.raises(ConfigError, match=r"cryptography is not installed \(uvicorn-worker\[dev-cert\] brings it\)"):
        dev_certificate()
