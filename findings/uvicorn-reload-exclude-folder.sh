#!/usr/bin/env bash
# uvicorn 0.54 with watchfiles: a folder that `--reload-exclude` names as it is from here (`data`, `app/generated`) is watched all the same, and the server is
# started anew for each *.py that is written there; named by its whole path it is left out. Its filter compares the words of the option with the whole
# paths that watchfiles tells.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages uvicorn==0.54.0 watchfiles==1.3.0 click==8.5.1
mkdir data
cat > app.py <<'PY'
async def app(scope, receive, send):
    pass
PY
cat > look.py <<'PY'
import pathlib
import subprocess
import sys
import time

for name, excluded in ("relative", "data"), ("whole path", str(pathlib.Path("data").resolve())):
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", "0", "--lifespan", "off", "--reload"]
    server = subprocess.Popen([*command, "--reload-exclude", excluded], stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if "Uvicorn running" in line:
            break
    time.sleep(2)
    pathlib.Path("data", "made.py").write_text(f"# {name}\n")
    time.sleep(2)
    server.terminate()
    print(f"{name}: {'started anew' if 'Reloading' in server.communicate()[1] else 'left out'};", end=" ")
PY
"$PYTHON" look.py | expect "relative: started anew; whole path: left out;"
