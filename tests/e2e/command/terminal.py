"""A terminal for a test: a program in the foreground of it, what it writes, and Ctrl+C."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.e2e.harness import PATIENCE

__all__ = ["CTRL_C", "Terminal"]

CTRL_C = b"\x03"

# The leader of a session gets the terminal that it opens first for its own. Then as in tests/e2e/harness.py: whoever
# starts the tests may have had signals ignored.
_LAUNCH = """
import os, signal, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """`python` with `arguments` in `folder`, in the foreground of a terminal of its own."""

    def __init__(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        # Not pty.fork(), against which Python warns where the tests have threads.
        self._fd, terminal = pty.openpty()
        # At Ctrl+C a terminal drops what it has not shown yet: here that would be lines that a test waits for.
        attributes = termios.tcgetattr(terminal)
        attributes[3] |= termios.NOFLSH
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", _LAUNCH, *arguments],
                cwd=folder,
                env=dict(env),
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
                start_new_session=True,
            )
        finally:
            os.close(terminal)
        self.pid = self._process.pid
        self.text = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if value is not None:
            sys.stderr.write(self.text)
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._fd)

    def type(self, keys: bytes) -> None:
        """What somebody types."""
        os.write(self._fd, keys)

    def wait(self, pattern: str, count: int = 1) -> str:
        """Wait until it shows so many matches; the last of them."""
        deadline = time.monotonic() + PATIENCE
        while len(found := [match[0] for match in re.finditer(pattern, self.text)]) < count:
            assert time.monotonic() < deadline, f"waited for {pattern!r}"
            assert self._read(), f"it has ended without {pattern!r}"
        return found[-1]

    def wait_exit(self) -> int:
        """Its exit code, or the negative number of the signal that has ended it."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, "it does not end"
        return self._process.wait(PATIENCE)

    def _read(self) -> bool:
        """Take what there is to be read; False at its end."""
        ready, _, _ = select.select([self._fd], [], [], 0.1)
        if ready:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return False
            self.text += data.decode(errors="replace")
            return bool(data)
        return True
