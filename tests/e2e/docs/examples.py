"""An example, used as its README says: in a copy of its folder, at other ports."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from contextlib import ExitStack
from pathlib import Path

from tests.docs.blocks import ROOT, Command
from tests.e2e.docs.stories import Story, listens
from tests.e2e.frontends import nginx_user, temporary_paths
from tests.e2e.harness import PATIENCE, until

__all__ = ["Example"]

# Beside those of the pages: what is tried elsewhere, or copies what has been built.
ELSEWHERE = {"cp", "docker", "gcloud", "kubectl", "prometheus", "systemctl", "systemd-socket-activate", "journalctl"}
# Proxies stay in the terminal that starts them.
PROXIES = {"haproxy", "nginx"}
TEXTS = {".cfg", ".conf", ".py", ".sh", ".yml"}


class Example(Story):
    """The folder of an example, and what runs in it; use it as a context manager."""

    def __init__(self, page: str) -> None:
        super().__init__(page)
        self._beside = ExitStack()
        folder = (ROOT / page).parent
        shutil.copytree(folder, self.dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.db"))
        for path in self.dir.rglob("*"):
            if path.is_file() and path.suffix in TEXTS and ".bin" not in path.parts:
                path.write_text(self._fitted(path))
        # What the reader of examples/upload has at hand.
        (self.dir / "large.iso").write_bytes(os.urandom(1_000_000))

    def _fitted(self, path: Path) -> str:
        text = self.moved(path.read_text("utf-8"))
        if path.name == "nginx.conf":
            own = f"access_log off; {temporary_paths(self.dir)}"
            head = f"pid {self.dir}/nginx.pid; error_log stderr; {'' if 'user ' in text else nginx_user()}"
            text = f"{head}\n{re.sub('include [^;]*mime.types;', own, text)}"
        return text

    def type(self, command: Command, *, head: bool) -> None:
        """Run one command; proxies go on beside the server."""
        line = self.moved(command.line)
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        program = Path(words[0]).name
        if program == "cd":
            assert (ROOT / words[1]).is_dir()
        elif program in ELSEWHERE:
            self.elsewhere(words)
        elif program in PROXIES:
            self._start_beside(line)
        elif program == "curl" and {"-N", "--no-buffer"} & set(words):
            # It may have no end.
            self.run(f"{line} --silent --max-time 2 || [ $? = 28 ]")
        else:
            super().type(command, head=head)

    def bound(self, line: str, words: list[str]) -> str:
        """An example says itself where it listens."""
        del words
        return line

    def _start_beside(self, line: str) -> None:
        if nginx_user():
            # Named in the configuration, since its readers name it on the command line.
            line = line.replace(" user root;", "")
        process = self.spawn(line, self.dir / ".proxy")
        self._beside.callback(process.wait, PATIENCE)
        self._beside.callback(process.terminate)
        port = int(self.ports["8080"])
        until(lambda: listens(port) or process.poll() is not None, f"{line} to listen")
        assert process.poll() is None, (self.dir / ".proxy").read_text()

    def stop(self) -> None:
        """The proxies first, as whoever closes a shop shuts the door."""
        self._beside.close()
        super().stop()
