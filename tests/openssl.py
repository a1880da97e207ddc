"""What the program openssl makes of certificates and keys, where Python has no cryptography to make them with."""

from __future__ import annotations

import ipaddress
import itertools
import os
import ssl
import subprocess
import tempfile
from pathlib import Path

from tests.programs import need

__all__ = ["Authority", "Identity", "Pem", "encrypted"]

# Whatever the machine's own configuration says.
SETTINGS = """
[req]
distinguished_name = subject
string_mask = utf8only
utf8 = yes
[subject]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[identity]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth, serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
KEYS = {"ECDSA": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "RSA": ("rsa:2048",)}


class Pem:
    """As trustme's Blob."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def bytes(self) -> bytes:
        return self._data

    def write_to_path(self, path: str | os.PathLike[str]) -> None:
        Path(path).write_bytes(self._data)


class Identity:
    """A key and a certificate for it, as trustme's LeafCert."""

    def __init__(self, key: bytes, certificate: bytes) -> None:
        self.private_key_pem = Pem(key)
        self.cert_chain_pems = [Pem(certificate)]
        self.private_key_and_cert_chain_pem = Pem(key + certificate)

    def configure_cert(self, context: ssl.SSLContext) -> None:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            self.private_key_and_cert_chain_pem.write_to_path(file.name)
            context.load_cert_chain(file.name)


class Authority:
    """One that issues certificates, as trustme's CA. Tests skip where there is no openssl."""

    def __init__(self) -> None:
        self._serials = itertools.count(1)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            subject = f"/O=authority of tests/OU={os.urandom(12).hex()}"
            run(folder, "req", "-x509", *request(folder, subject, "ECDSA"), "-extensions", "authority", "-days", "2")
            self._key, certificate = (folder / "key.pem").read_bytes(), (folder / "made.pem").read_bytes()
        self.cert_pem = Pem(certificate)

    def configure_trust(self, context: ssl.SSLContext) -> None:
        context.load_verify_locations(cadata=self.cert_pem.bytes().decode())

    def issue_cert(
        self,
        *names: str,
        common_name: str = "",
        organization_name: str = "",
        organization_unit_name: str = "",
        key_type: str = "ECDSA",
    ) -> Identity:
        parts = {"O": organization_name, "OU": organization_unit_name, "CN": common_name}
        subject = "".join(f"/{part}={value}" for part, value in parts.items() if value)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run(folder, "req", "-new", *request(folder, subject or "/O=tests", key_type))
            (folder / "authority.pem").write_bytes(self._key + self.cert_pem.bytes())
            settings = SETTINGS + f"subjectAltName = {', '.join(map(alternative, names))}\n"
            (folder / "settings").write_text(settings)
            sign = ["x509", "-req", "-in", "made.pem", "-CA", "authority.pem", "-set_serial", str(next(self._serials))]
            run(folder, *sign, "-extfile", "settings", "-extensions", "identity", "-days", "2", "-out", "signed.pem")
            return Identity((folder / "key.pem").read_bytes(), (folder / "signed.pem").read_bytes())


def encrypted(key: bytes, password: str) -> bytes:
    """A private key (PEM, PKCS #8), encrypted by a password."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key.pem").write_bytes(key)
        (folder / "password").write_text(password)
        protect = ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", "key.pem", "-passout", "file:password"]
        run(folder, *protect, "-out", "made.pem")
        return (folder / "made.pem").read_bytes()


def request(folder: Path, subject: str, key_type: str) -> list[str]:
    """What `openssl req` is told to make a key in key.pem, and for it what it makes in made.pem."""
    (folder / "settings").write_text(SETTINGS)
    key = ["-newkey", *KEYS[key_type], "-nodes", "-keyout", "key.pem", "-sha256"]
    return ["-config", "settings", "-utf8", "-subj", subject, *key, "-out", "made.pem"]


def alternative(name: str) -> str:
    """A name as a subjectAltName has it."""
    if "@" in name:
        return f"email:{name}"
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def run(folder: Path, *arguments: str) -> None:
    done = subprocess.run([need("openssl"), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
