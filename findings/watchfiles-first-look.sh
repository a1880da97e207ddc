#!/usr/bin/env bash
# watchfiles 1.1: `watch()` begins to watch with the first `next()`, not when it is called.
# What is saved between the two is never told of: a reloader that starts its server after it called `watch()`, and then waits
# for changes, misses an edit that is made while the server starts.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages watchfiles==1.1.1
"$PYTHON" - <<'PY' | expect "an edit behind the call: not told of, one behind the first next(): told of"
import pathlib
import threading
import time

import watchfiles

pathlib.Path("code").mkdir()
file = pathlib.Path("code/app.py")
file.write_text("1")
time.sleep(0.5)
changes = watchfiles.watch("code", step=50, rust_timeout=1500, yield_on_timeout=True, force_polling=False)
file.write_text("2")
time.sleep(0.5)
first = next(changes)
threading.Timer(0.5, file.write_text, ("3",)).start()
second = next(changes)
words = ["told of" if seen else "not told of" for seen in (first, second)]
print(f"an edit behind the call: {words[0]}, one behind the first next(): {words[1]}")
PY
