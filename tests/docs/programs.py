"""Configurations of other programs: made whole, fitted to a test's folder, and checked by the program itself."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

from tests.certificates import authority
from tests.programs import find, need

__all__ = ["certificate", "check_apache", "check_caddyfile", "check_envoy", "check_haproxy", "check_lighttpd",
           "check_nghttpx", "check_nginx", "check_vcl", "fit_apache", "fit_caddyfile", "fit_envoy", "fit_haproxy",
           "fit_lighttpd", "fit_nghttpx", "fit_nginx", "fit_vcl"]  # fmt: skip


@cache
def _certificate() -> bytes:
    identity = authority().issue_cert("localhost", "shop.example")
    return identity.private_key_pem.bytes() + b"".join(blob.bytes() for blob in identity.cert_chain_pems)


def certificate(folder: Path) -> Path:
    """A file with the key and the certificate of localhost and shop.example, of the authority of the tests."""
    path = folder / "site.pem"
    path.write_bytes(_certificate())
    return path


def fit_nginx(text: str, folder: Path, *, listen: str = "", tcp: str = "127.0.0.1:9", uds: str = "/none.sock") -> str:
    """A whole nginx.conf of a block. It listens at `listen`; where it has TLS, what is in plain HTTP listens elsewhere.

    What it passes requests to is `tcp` or the unix socket `uds`.
    """
    front = listen or f"unix:{folder}/front.sock"
    plain = f"unix:{folder}/plain.sock" if re.search(r"listen \S+ ssl", text) else front
    text = re.sub(r"listen (?:80|127\.0\.0\.1:\d+);", f"listen {plain};", text)
    text = re.sub(r"listen (?:127\.0\.0\.1:)?\d+(?= ssl)", f"listen {front}", text)
    text = re.sub(r"(ssl_certificate(?:_key)?)\s+\S+;", rf"\1 {certificate(folder)};", text)
    text = re.sub(r"(?<=server )(?:127\.0\.0\.1|10\.0\.0\.\d+):\d+", tcp, text)
    text = re.sub(r"(?<=//)127\.0\.0\.1:\d+", tcp, text)
    text = re.sub(r"unix:(?:/run/shop/)?gunicorn\.sock", f"unix:{uds}", text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    head = f"{'user root;' if os.geteuid() == 0 else ''} worker_processes 1; pid {folder}/nginx.pid; error_log stderr;"
    if "http {" not in text:
        text = f"events {{}} http {{\n{text}}}\n"
    text = re.sub(
        r"(?m)^ *(worker_processes|pid|error_log|user|access_log|\w+_temp_path) .*;$|include \S*mime\.types;", "", text
    )
    return f"{head}\n{text.replace('http {', f'http {{ access_log off; {paths}', 1)}"


def check_nginx(text: str, folder: Path) -> None:
    program = need("nginx")
    (folder / "nginx.conf").write_text(fit_nginx(text, folder))
    _run(program, "-t", "-q", "-p", str(folder), "-c", str(folder / "nginx.conf"))


_HAPROXY_TIMES = """
defaults
    timeout connect 5s
    timeout client 20s
    timeout server 20s
"""


def fit_haproxy(text: str, folder: Path, *, listen: str = "", tcp: str = "127.0.0.1:9") -> str:
    """A whole haproxy.cfg of a block: listens at `listen`, passes to `tcp`."""
    if not re.search(r"(?m)^defaults", text):
        text = _HAPROXY_TIMES + text
    text = re.sub(r"bind (?:\S*):\d+", f"bind {listen or f'unix@{folder}/front.sock'}", text)
    text = re.sub(r"crt \S+", f"crt {certificate(folder)}", text)
    return re.sub(r"(?<= )(?:10\.0\.0\.\d+|127\.0\.0\.1):\d+", tcp, text)


def check_haproxy(text: str, folder: Path) -> None:
    program = need("haproxy")
    (folder / "haproxy.cfg").write_text(fit_haproxy(text, folder))
    done = _run(program, "-c", "-f", str(folder / "haproxy.cfg"))
    assert "[WARNING]" not in done, done


def check_caddyfile(text: str, folder: Path) -> None:
    program = need("caddy")
    (folder / "Caddyfile").write_text(text)
    _run(program, "validate", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile"), home=folder)
    formatted = subprocess.run(
        [program, "fmt", str(folder / "Caddyfile")], capture_output=True, text=True, timeout=60, check=False
    )
    assert formatted.stdout.replace("\t", "    ") == text


def fit_caddyfile(text: str, *, port: int, tcp: str, uds: str) -> str:
    """The Caddyfile with its site in plain HTTP at `port` of the loopback, and without an interface to change it."""
    text = text.replace("shop.example {", f"http://127.0.0.1:{port} {{")
    text = re.sub(r"10\.0\.0\.5:8000(?: 10\.0\.0\.6:8000)?", tcp, text).replace("/run/shop/gunicorn.sock", uds)
    return f"{{\n    admin off\n}}\n{text}"


_APACHE_MODULES = ("mpm_event", "authz_core", "unixd", "headers", "proxy", "proxy_http", "proxy_http2")


def fit_apache(text: str, folder: Path, *, port: int, tcp: str = "127.0.0.1:9", uds: str = "/none.sock") -> str:
    """A whole httpd.conf of a site: it listens at `port` of the loopback, and passes to `tcp` or to `uds`."""
    modules = Path("/usr/lib/apache2/modules")
    lines = [f"ServerRoot {folder}", f"DefaultRuntimeDir {folder}", f"PidFile {folder}/pid", f"ErrorLog {folder}/error"]
    lines += [f"Mutex file:{folder} default", "ServerName localhost", "User www-data", "Group www-data"]
    # Some are built in, which ones depends on the package.
    there = [name for name in _APACHE_MODULES if (modules / f"mod_{name}.so").is_file()]
    lines += [f"LoadModule {name}_module {modules}/mod_{name}.so" for name in there]
    text = text.replace("*:80", f"127.0.0.1:{port}").replace("10.0.0.5:8000", tcp)
    text = text.replace("/run/shop/gunicorn.sock", uds)
    return "\n".join([*lines, f"Listen 127.0.0.1:{port}", text])


def check_apache(text: str, folder: Path) -> None:
    program = need("apache2")
    (folder / "httpd.conf").write_text(fit_apache(text, folder, port=9))
    _run(program, "-t", "-f", str(folder / "httpd.conf"))


def fit_vcl(text: str, *, tcp: str = "127.0.0.1:9") -> str:
    """The VCL with its backend at `tcp`."""
    host, _, number = tcp.partition(":")
    return text.replace("10.0.0.5", host).replace('"8000"', f'"{number}"')


def check_vcl(text: str, folder: Path) -> None:
    program = need("varnishd")
    (folder / "default.vcl").write_text(fit_vcl(text))
    _run(program, "-j", "none", "-C", "-n", str(folder / "varnish"), "-f", str(folder / "default.vcl"))


def fit_nghttpx(text: str, folder: Path, *, port: int, tcp: str = "127.0.0.1:9") -> str:
    """The configuration with its frontend at `port` of the loopback, and its backend at `tcp`."""
    text = text.replace("*,443", f"127.0.0.1,{port}").replace("10.0.0.5,8000", tcp.replace(":", ","))
    text = re.sub(r"(private-key-file|certificate-file)=\S+", rf"\1={certificate(folder)}", text)
    return f"{text}workers=1\n"


def check_nghttpx(text: str, folder: Path) -> None:
    """It has no option that only reads: each line is an option of the program."""
    known = _run(need("nghttpx"), "--help")
    # On the command line these two are arguments.
    files = {"private-key-file", "certificate-file"}
    for line in fit_nghttpx(text, folder, port=9).splitlines():
        name = line.partition("=")[0]
        assert name in files or f"--{name}" in known, line


def fit_lighttpd(text: str, folder: Path, *, port: int = 0, tcp: str = "127.0.0.1:9") -> str:
    """A whole lighttpd.conf of a part: it listens at `port` of the loopback, and passes to `tcp`."""
    host, _, number = tcp.partition(":")
    text = text.replace('"10.0.0.5"', f'"{host}"').replace("8000", number)
    return f'server.document-root = "{folder}"\nserver.bind = "127.0.0.1"\nserver.port = {port}\n{text}'


def check_lighttpd(text: str, folder: Path) -> None:
    program = need("lighttpd")
    (folder / "lighttpd.conf").write_text(fit_lighttpd(text, folder))
    _run(program, "-tt", "-f", str(folder / "lighttpd.conf"))


def fit_envoy(text: str, *, port: int, tcp: str) -> str:
    """The configuration with its listener at `port` of the loopback, and its cluster at `tcp`."""
    host, _, number = tcp.partition(":")
    text = text.replace("address: 0.0.0.0, port_value: 8080", f"address: 127.0.0.1, port_value: {port}")
    return re.sub(r"address: 10\.0\.0\.5, port_value: 8000", f"address: {host}, port_value: {number}", text)


def check_envoy(text: str, folder: Path) -> None:
    program = find("envoy")
    if program is None:
        return
    (folder / "envoy.yaml").write_text(fit_envoy(text, port=0, tcp="127.0.0.1:9"))
    _run(program, "--mode", "validate", "--log-level", "warning", "-c", str(folder / "envoy.yaml"))


def _run(*command: str, home: Path | None = None) -> str:
    env = {**os.environ, **({} if home is None else {"HOME": str(home), "XDG_DATA_HOME": str(home)})}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
