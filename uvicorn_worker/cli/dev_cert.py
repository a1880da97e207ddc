"""`--dev-cert`: a certificate for localhost, made once and kept, so that a browser has to be told only once."""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from uvicorn_worker.core.errors import ConfigError

__all__ = ["dev_certificate"]

# Browsers take no certificate that is valid for more than 398 days.
_DAYS = 397
_RENEWED_DAYS_BEFORE = 7


def dev_certificate(host: str | None = None, folder: Path | None = None) -> Path:
    """A file with key and certificate for localhost, its addresses and `host`; raises `ConfigError`.

    It is in the user's cache, is readable for the user alone, and signs itself: nobody else's trust is changed.
    """
    try:
        x509: Any = importlib.import_module("cryptography.x509")
    except ModuleNotFoundError:
        raise ConfigError(
            "option dev_cert: the package cryptography is not installed (uvicorn-worker[dev-cert] brings it)"
        ) from None
    names = ["localhost", "127.0.0.1", "::1"]
    if host and host not in (*names, "0.0.0.0", "::"):
        names.append(host)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = folder or Path(cache, "uvicorn-worker")
    path = folder / f"{'-'.join(names[3:]).replace(':', '_') or 'localhost'}.pem"
    if not _is_good(x509, path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(path, _make(x509, names))
        except OSError as exc:
            raise ConfigError(f"option dev_cert: {path} can't be written: {exc.strerror}") from None
    return path


def _is_good(x509: Any, path: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    until: datetime = certificate.not_valid_after_utc
    return until - datetime.now(timezone.utc) > timedelta(days=_RENEWED_DAYS_BEFORE)


def _make(x509: Any, names: list[str]) -> bytes:
    """Key and certificate, as PEM."""
    hashes: Any = importlib.import_module("cryptography.hazmat.primitives.hashes")
    serialization: Any = importlib.import_module("cryptography.hazmat.primitives.serialization")
    ec: Any = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ec")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost (development)")])
    now = datetime.now(timezone.utc)
    usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([_name(x509, name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    pem: bytes = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem + bytes(certificate.public_bytes(encoding))


def _name(x509: Any, name: str) -> Any:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and from its first moment for the user alone."""
    new = path.with_suffix(f".{os.getpid()}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
    new.replace(path)
