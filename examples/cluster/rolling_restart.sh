#!/bin/sh
# Start the machines, or restart them one after the other: each is ready again before the next one stops.
#   rolling_restart.sh              with haproxy running (see README.md)
set -eu

PORT="${PORT:-8000}"

ready() {  # ready ADDRESS
    curl --silent --fail --noproxy '*' --max-time 2 "http://$1:$PORT/health" >/dev/null
}

# The load balancer asks twice, half a second apart, before it sends requests to a machine again.
settle="${SETTLE:-1.5}"

for machine in 127.0.0.11 127.0.0.12 127.0.0.13; do
    pidfile="machine-$machine.pid"
    restarted=
    if [ -e "$pidfile" ]; then
        master=$(cat "$pidfile")
        kill -TERM "$master"
        while kill -0 "$master" 2>/dev/null; do sleep 0.1; done
        restarted=yes
    fi
    MACHINE=$machine PORT=$PORT gunicorn app:app --daemon --pid "$pidfile" --error-logfile "machine-$machine.log" \
        ${GUNICORN_OPTIONS:-}
    until ready "$machine"; do sleep 0.1; done
    if [ "$restarted" ]; then sleep "$settle"; fi
    echo "$machine is ready"
done
