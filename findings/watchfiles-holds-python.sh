#!/usr/bin/env bash
# watchfiles 1.3: while `watch()` begins to watch, nothing else of Python runs, threads and signal handlers included.
# It adds a watch for each folder below those that are named, whatever the filter passes over, and holds the GIL meanwhile: with some
# virtual environments or a node_modules in the folder that takes seconds, in which a reloader does not hear Ctrl+C.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages watchfiles==1.3.0
"$PYTHON" - <<'PY' | expect "of the time in which 5000 folders were added, a thread was kept from running for the most of it at a stretch"
import pathlib
import threading
import time

from watchfiles._rust_notify import RustNotify

for number in range(5000):
    pathlib.Path(f"code/{number % 50}/{number}").mkdir(parents=True)
awake = []
ends = threading.Event()


def wake():
    while not ends.is_set():
        time.sleep(0.001)
        awake.append(time.monotonic())


thread = threading.Thread(target=wake)
thread.start()
time.sleep(0.2)
begun = time.monotonic()
# What watch() does at its first next().
RustNotify(["code"], False, False, 300, True, True)
took = time.monotonic() - begun
time.sleep(0.2)
ends.set()
thread.join()
longest = max(after - before for before, after in zip(awake, awake[1:]))
share = "the most" if longest > took / 2 else "less than half"
print(f"of the time in which 5000 folders were added, a thread was kept from running for {share} of it at a stretch")
PY
