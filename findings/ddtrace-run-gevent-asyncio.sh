#!/usr/bin/env bash
# ddtrace 4.16: where gevent is installed, `ddtrace-run` breaks asyncio before Python 3.12: `wait_for()` raises a CancelledError in place of TimeoutError, and not the one that asyncio has.
# ddtrace-run takes modules that it has imported out of sys.modules again where gevent is there. asyncio is imported anew then,
# its C part (_asyncio) is not, and has the exceptions of the first one. DD_UNLOAD_MODULES_FROM_SITECUSTOMIZE=0 avoids it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages ddtrace==4.16.0 gevent==26.9.0
export DD_TRACE_ENABLED=false DD_INSTRUMENTATION_TELEMETRY_ENABLED=false
cat > waits.py <<'PY'
import asyncio


async def main():
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.1)
    except BaseException as exc:
        print(type(exc).__name__, isinstance(exc, (asyncio.TimeoutError, asyncio.CancelledError)))


asyncio.run(main())
PY
if "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
    expected="TimeoutError True"
else
    expected="CancelledError False"
fi
"$FOLDER/venv/bin/ddtrace-run" "$PYTHON" waits.py | expect "$expected"
DD_UNLOAD_MODULES_FROM_SITECUSTOMIZE=0 "$FOLDER/venv/bin/ddtrace-run" "$PYTHON" waits.py | expect "TimeoutError True"
