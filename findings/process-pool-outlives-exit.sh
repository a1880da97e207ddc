#!/usr/bin/env bash
# Python: the processes of a ProcessPoolExecutor outlive a parent that ends by os._exit(), as killed ones do.
# Each child has both ends of the queue's pipe, so that none of them ever reads its end; with "spawn" and "forkserver", too.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages
cat > parent.py <<'PY'
import concurrent.futures
import multiprocessing
import os
import sys

if __name__ == "__main__":
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(sys.argv[1]))
    print(pool.submit(os.getpid).result(), flush=True)
    os._exit(0)
PY
"$PYTHON" - <<'PY' | expect "fork: True, spawn: True, forkserver: True"
import os
import signal
import subprocess
import sys
import time

seen = []
for method in ("fork", "spawn", "forkserver"):
    parent = subprocess.Popen([sys.executable, "parent.py", method], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child = int(parent.stdout.readline())
    parent.wait()
    time.sleep(2)
    try:
        os.kill(child, signal.SIGKILL)
        seen.append(f"{method}: True")
    except ProcessLookupError:
        seen.append(f"{method}: False")
print("alive two seconds later:", ", ".join(seen))
PY
