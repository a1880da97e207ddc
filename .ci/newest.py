"""Run the tests on the newest Pythons that Debian has, with its nginx, HAProxy, nghttp2 and Chromium.

Usage: python .ci/newest.py [VERSION ...] [-- OPTION ...]
       python .ci/newest.py --ci

VERSION is a Python as 3.14; none: every one from 3.14 on that Debian's unstable distribution has. What follows ``--``
are options and paths for pytest; none: all tests. Debian goes into ``.newest/root`` (debootstrap, root and about 2 GB
are needed), once; to have it anew, remove the folder. Nothing stays mounted: that is done in a mount namespace of its
own.

``--ci`` takes the first of these Pythons, and some minutes: the rooms in which a new Python would show, and the life of
real workers. Where there is no such Python to be had (no root, no debootstrap, no mirror that answers), it says so in
one line, and that is no failure.

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
CI_PACKAGES = ("ca-certificates", "curl")
# What rests on how Python's tasks, futures, streams and warnings are made, and the life of real processes.
CI_TESTS = (
    *("tests/core", "tests/http1", "tests/http2", "tests/websocket", "tests/interfaces", "tests/switching"),
    *("tests/e2e/test_dev_mode.py", "tests/e2e/test_boot.py", "tests/e2e/test_signals.py", "tests/e2e/test_stop.py"),
)
# As the tests of servers have it everywhere (tests/conftest.py): one that fails is run again, and shown as unsteady.
CI_OPTIONS = ("-m", "not long", "--reruns", "1", "--reruns-delay", "1")
SIDE_BY_SIDE = ("--numprocesses", "3", "--dist", "loadfile", "--no-loadscope-reorder")
# Seconds for each step of the preparation in CI: they take a minute. A mirror that does not answer is none.
CI_PATIENCE = 240
# Mounted where it is needed, and gone with the process.
ENTER = (
    'mount --bind /proc "$0/proc" && mount --bind /sys "$0/sys" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
)
PATH_INSIDE = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNSHARE = ["unshare", "--mount", "--propagation", "private"]
# The machine's own, copied, so that names, certificates and packages are found as outside.
TAKEN_ALONG = ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt", "etc/pip.conf")


class NotToBeHad(Exception):
    """There is no such Python to be had here; why, in words."""


def bounded(command: list[str], patience: int | None) -> list[str]:
    """The command, ended with all that it has started after so many seconds."""
    return command if patience is None else ["timeout", "--kill-after=10", str(patience), *command]


def inside(*command: str, patience: int | None = None, check: bool = True, quiet: bool = False) -> int:
    """Run a command in the system; give its exit code. Where it is checked, NotToBeHad is raised."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "TERM"}
    if os.path.isabs(environment.get("PIP_FIND_LINKS", "")):
        # A folder of this machine, which is not there.
        del environment["PIP_FIND_LINKS"]
    environment |= {
        "DEBIAN_FRONTEND": "noninteractive",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # Debian's Python keeps packages away from its own folders only; ours go into environments.
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    enter = bounded([*UNSHARE, "sh", "-c", ENTER, str(SYSTEM), "/usr/bin/env", PATH_INSIDE, *command], patience)
    stdout = subprocess.DEVNULL if quiet else None
    code = subprocess.run(enter, stdin=subprocess.DEVNULL, stdout=stdout, env=environment, check=False).returncode
    if check and code:
        raise NotToBeHad(f"{' '.join(command)}: exit code {code}")
    return code


def apt_install(*packages: str, patience: int | None) -> None:
    inside("apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages, patience=patience, quiet=True)


def check_means() -> None:
    """Whether a system can be made and entered here; raises NotToBeHad."""
    if os.geteuid() != 0:
        raise NotToBeHad("root is needed, which debootstrap and chroot want: sudo make test-newest")
    if missing := [tool for tool in ("debootstrap", "unshare", "chroot", "timeout") if shutil.which(tool) is None]:
        raise NotToBeHad(f"not installed: {', '.join(missing)}; on Debian and Ubuntu: apt-get install debootstrap")
    if subprocess.run([*UNSHARE, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        raise NotToBeHad("this process may not mount, as in most containers")


def install_system(packages: tuple[str, ...], patience: int | None) -> None:
    """Debian's unstable distribution in the folder, with these packages."""
    installed = SYSTEM / "installed"
    if not installed.exists():
        WORK.mkdir(exist_ok=True)
        shutil.rmtree(SYSTEM, ignore_errors=True)
        mirror = os.environ.get("DEBIAN_MIRROR")
        # It mounts, too, and may be ended in the middle.
        bootstrap = ["debootstrap", "--variant=minbase", "sid", str(SYSTEM), *([mirror] if mirror else [])]
        made = subprocess.run(bounded([*UNSHARE, *bootstrap], patience), stdout=subprocess.DEVNULL, check=False)
        if made.returncode:
            raise NotToBeHad(f"debootstrap: exit code {made.returncode}")
        if mirror:
            (SYSTEM / "etc/apt/sources.list").write_text(f"deb {mirror} sid main\n")
        installed.touch()
    take_along()
    there = installed.read_text().split()
    if missing := [package for package in packages if package not in there]:
        # A mirror may be frozen, and its lists be said to be out of date.
        inside("apt-get", "update", "-qq", "-o", "Acquire::Check-Valid-Until=false", patience=patience, quiet=True)
        apt_install(*missing, patience=patience)
        # They have certificates among them.
        take_along()
        installed.write_text("\n".join([*there, *missing, ""]))


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
    names = subprocess.run(enter, capture_output=True, text=True, check=False).stdout.split()
    found = {(int(match[1]), int(match[2])) for name in names if (match := re.fullmatch(r"python(\d+)\.(\d+)", name))}
    return ["{}.{}".format(*version) for version in sorted(found) if version >= FIRST]


def _left_behind(folder: str, names: list[str]) -> list[str]:
    """Environments, and what tools have left."""
    return [
        name for name in names if name == "__pycache__" or (name.startswith(".") and name not in (".ci", ".github"))
    ]


def copy_checkout() -> None:
    target = SYSTEM / CHECKOUT.lstrip("/")
    shutil.rmtree(target, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        # No repository, as where an archive was unpacked.
        shutil.copytree(ROOT, target, ignore=_left_behind)
        return
    for name in names:
        if name and (source := ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def install_python(version: str, patience: int | None) -> str:
    """This Python with the package and what its tests need; the path of it in the system."""
    environment = f"/env-{version}"
    # What is installed last of an environment.
    if not (SYSTEM / environment.lstrip("/") / "bin/pip").exists():
        # Extensions are built where there is a compiler.
        dev = [f"python{version}-dev"] if (SYSTEM / "usr/bin/gcc").exists() else []
        apt_install(f"python{version}-venv", *dev, patience=patience)
        inside(f"/usr/bin/python{version}", "-m", "venv", environment, patience=patience)
    python = f"{environment}/bin/python"
    inside(python, "-m", "pip", "install", "--quiet", "--editable", f"{CHECKOUT}[test]", patience=patience)
    return python


def prepare(wanted: list[str], packages: tuple[str, ...], patience: int | None, most: int | None) -> dict[str, str]:
    """The paths of these Pythons, by their versions; where none is wanted, of all that there are, or the first `most`.

    Raises NotToBeHad.
    """
    check_means()
    install_system(packages, patience)
    copy_checkout()
    versions = wanted or find_pythons()[:most]
    if not versions:
        raise NotToBeHad("Debian has none from {}.{} on".format(*FIRST))
    return {version: install_python(version, patience) for version in versions}


def run_tests(python: str, options: list[str]) -> bool:
    return inside("env", "-C", CHECKOUT, python, "-m", "pytest", *options, check=False) == 0


def main() -> int:
    arguments = sys.argv[1:]
    in_ci = arguments == ["--ci"]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    wanted, options = ([], [*CI_TESTS, *CI_OPTIONS]) if in_ci else (arguments[:at], arguments[at + 1 :])
    if odd := [version for version in wanted if not re.fullmatch(r"3\.\d+", version)]:
        print(f"newest: not a version as 3.14: {', '.join(odd)}", file=sys.stderr)
        return 2
    try:
        pythons = prepare(wanted, CI_PACKAGES, CI_PATIENCE, 1) if in_ci else prepare(wanted, PACKAGES, None, None)
    except NotToBeHad as exc:
        if in_ci:
            # A mirror that does not answer, say: nothing that a change of the code could mend.
            print(f"newest: left out: {exc}")
            return 0
        print(f"newest: {exc}", file=sys.stderr)
        return 2
    results = []
    for version, python in pythons.items():
        print(f"newest: Python {version}", flush=True)
        started = time.monotonic()
        passed = run_tests(python, [*options, *SIDE_BY_SIDE] if in_ci or not options else options)
        results.append(passed)
        print(
            f"newest: Python {version}: {'passed' if passed else 'FAILED'} in {time.monotonic() - started:.0f} s",
            flush=True,
        )
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
