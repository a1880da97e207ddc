"""Run the tests on the newest Pythons that Debian has, with its nginx, HAProxy, nghttp2 and Chromium.

Usage: python .ci/newest.py [VERSION ...] [-- OPTION ...]

VERSION is a Python as 3.14; none: every one from 3.14 on that Debian's unstable distribution has. What follows ``--``
are options and paths for pytest; none: all tests. Debian goes into ``.newest/root`` (debootstrap, root and about 2 GB
are needed), once; to have it anew, remove the folder. Nothing stays mounted: that is done in a mount namespace of its
own.

``DEBIAN_MIRROR`` is the address of another mirror than debootstrap's own. pip's settings of this machine (``PIP_*``,
``/etc/pip.conf``) and its certificates are taken along.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".newest"
SYSTEM = WORK / "root"
# Inside of the system.
CHECKOUT = "/src"

FIRST = (3, 14)
# What the tests use, and what builds the packages that have no wheel for a new Python yet.
PACKAGES = (
    *("ca-certificates", "curl", "nginx-light", "haproxy", "nghttp2-client", "chromium"),
    *("gcc", "g++", "libc6-dev", "libffi-dev", "make", "git"),
)
# Mounted where it is needed, and gone with the process.
ENTER = (
    'mount --bind /proc "$0/proc" && mount --bind /sys "$0/sys" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
)
# The machine's own, copied, so that names, certificates and packages are found as outside.
TAKEN_ALONG = ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt", "etc/pip.conf")


def inside(*command: str, check: bool = True) -> int:
    """Run a command in the system; give its exit code."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "TERM"}
    environment |= {
        "DEBIAN_FRONTEND": "noninteractive",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # Debian's Python keeps packages away from its own folders only; ours go into environments.
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, str(SYSTEM)]
    return subprocess.run([*enter, *command], env=environment, check=check).returncode


def install_system() -> None:
    """Debian's unstable distribution in the folder, with what the tests use."""
    if not (SYSTEM / "installed").exists():
        WORK.mkdir(exist_ok=True)
        shutil.rmtree(SYSTEM, ignore_errors=True)
        mirror = os.environ.get("DEBIAN_MIRROR")
        subprocess.run(
            ["debootstrap", "--variant=minbase", "sid", str(SYSTEM), *([mirror] if mirror else [])],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        if mirror:
            (SYSTEM / "etc/apt/sources.list").write_text(f"deb {mirror} sid main\n")
        take_along()
        # A mirror may be frozen, and its lists be said to be out of date.
        inside("apt-get", "update", "-qq", "-o", "Acquire::Check-Valid-Until=false")
        inside("apt-get", "install", "-qq", "-y", "--no-install-recommends", *PACKAGES)
        (SYSTEM / "installed").touch()
    take_along()


def take_along() -> None:
    for name in TAKEN_ALONG:
        source, target = Path("/", name), SYSTEM / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(source, target)


def find_pythons() -> list[str]:
    """The versions that Debian has, from FIRST on, oldest first."""
    enter = ["chroot", str(SYSTEM), "apt-cache", "pkgnames", "python3."]
    names = subprocess.run(enter, capture_output=True, text=True, check=True).stdout.split()
    found = {(int(match[1]), int(match[2])) for name in names if (match := re.fullmatch(r"python(\d+)\.(\d+)", name))}
    return ["{}.{}".format(*version) for version in sorted(found) if version >= FIRST]


def copy_checkout() -> None:
    target = SYSTEM / CHECKOUT.lstrip("/")
    shutil.rmtree(target, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (source := ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def run_tests(version: str, options: list[str]) -> bool:
    python = f"/env-{version}/bin/python"
    if not (SYSTEM / python.lstrip("/")).exists():
        inside(
            "apt-get",
            "install",
            "-qq",
            "-y",
            "--no-install-recommends",
            f"python{version}-venv",
            f"python{version}-dev",
        )
        inside(f"/usr/bin/python{version}", "-m", "venv", f"/env-{version}")
    inside(python, "-m", "pip", "install", "--quiet", "--editable", f"{CHECKOUT}[test]")
    options = options or ["--numprocesses", "3", "--dist", "loadfile"]
    return inside("env", "-C", CHECKOUT, python, "-m", "pytest", *options, check=False) == 0


def main() -> int:
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    wanted, options = arguments[:at], arguments[at + 1 :]
    if odd := [version for version in wanted if not re.fullmatch(r"3\.\d+", version)]:
        print(f"newest: not a version as 3.14: {', '.join(odd)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("newest: root is needed, which debootstrap and chroot want: sudo make test-newest", file=sys.stderr)
        return 2
    if missing := [tool for tool in ("debootstrap", "unshare", "chroot", "git") if shutil.which(tool) is None]:
        print(
            f"newest: not installed: {', '.join(missing)}; on Debian and Ubuntu: apt-get install debootstrap",
            file=sys.stderr,
        )
        return 2
    install_system()
    copy_checkout()
    results = []
    for version in wanted or find_pythons():
        print(f"newest: Python {version}", flush=True)
        started = time.monotonic()
        passed = run_tests(version, options)
        results.append(passed)
        print(
            f"newest: Python {version}: {'passed' if passed else 'FAILED'} in {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
