#!/usr/bin/env bash
# watchfiles 1.3: `yield_on_timeout` gives no turn while a file is written that the filter passes over, such as a log in the folder.
# `rust_timeout` is counted anew with each of these changes, which are taken for changes until the filter sees them: a reloader that
# looks at its server in these turns does not learn that it has ended, for as long as something writes.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages watchfiles==1.3.0
"$PYTHON" - <<'PY' | expect "in 3 s, turns each 0.2 s: alone several, beside a log none"
import pathlib
import threading
import time

import watchfiles

SECONDS = 3


def turns(folder, writes):
    pathlib.Path(folder).mkdir()
    over = threading.Event()

    def write():
        with open(f"{folder}/app.log", "w") as log:
            while not over.wait(0.01):
                log.write("a line\n")
                log.flush()

    thread = threading.Thread(target=write)
    if writes:
        thread.start()
    count, end = 0, threading.Timer(SECONDS, over.set)
    end.start()
    for found in watchfiles.watch(
        folder,
        watch_filter=lambda _, path: path.endswith(".py"),
        step=50,
        rust_timeout=200,
        yield_on_timeout=True,
        stop_event=over,
        force_polling=False,
    ):
        assert found == set()
        count += 1
    if writes:
        thread.join()
    return "none" if count == 0 else "several" if count > 2 else str(count)


print(f"in {SECONDS} s, turns each 0.2 s: alone {turns('alone', False)}, beside a log {turns('beside', True)}")
PY
