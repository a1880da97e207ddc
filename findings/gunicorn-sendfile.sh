#!/usr/bin/env bash
# Gunicorn 27: the setting `sendfile = True` reads back as False.
# Config.sendfile answers False whenever the setting is not None, whatever it is; only unset it is True.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages gunicorn==27.0.1
env -u SENDFILE "$PYTHON" - <<'PY' | expect "unset: True, True: False, False: False"
from gunicorn.config import Config

config = Config()
seen = [f"unset: {config.sendfile}"]
for value in (True, False):
    config.set("sendfile", value)
    seen.append(f"{value}: {config.sendfile}")
print(", ".join(seen))
PY
