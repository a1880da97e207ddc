#!/usr/bin/env bash
# uvicorn 0.54: an `async def app` that Cython or mypyc has compiled is taken for ASGI 2: 500 for each request, unless --interface says asgi3.
# It is no function to `inspect`, and its `__call__` no coroutine function; a compiled class with an async `__call__` is served.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages uvicorn==0.54.0 cython==3.3.1 mypy==2.4.1 setuptools==80.9.0
mkdir cy my
cat > cy/compiled_by_cython.py <<'PY'
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
PY
cp cy/compiled_by_cython.py my/compiled_by_mypyc.py
(cd cy && "$FOLDER/venv/bin/cythonize" -i -3 compiled_by_cython.py >log 2>&1) || { cat cy/log; exit 1; }
(cd my && "$FOLDER/venv/bin/mypyc" compiled_by_mypyc.py >log 2>&1) || { cat my/log; exit 1; }
rm cy/*.py my/*.py
PYTHONPATH=$FOLDER/cy:$FOLDER/my "$PYTHON" - <<'PY' | expect "cython: auto 500, asgi3 200; mypyc: auto 500, asgi3 200"
import re
import subprocess
import sys
import urllib.error
import urllib.request


def status(app, interface):
    command = [sys.executable, "-m", "uvicorn", app, "--port", "0", "--interface", interface, "--lifespan", "off", "--no-access-log"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            if found := re.search(r"http://[0-9.:]+", line):
                break
        try:
            with urllib.request.urlopen(found[0], timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
    finally:
        server.terminate()
        server.communicate()


print("; ".join(
    f"{name}: " + ", ".join(f"{interface} {status(f'compiled_by_{name}:app', interface)}" for interface in ("auto", "asgi3"))
    for name in ("cython", "mypyc")
))
PY
