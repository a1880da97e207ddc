#!/usr/bin/env bash
# Caddy 2.6: with an upstream of h2c://, a request that offers an upgrade, as `curl --http2` does of http:// ones, gets 502.
# RFC 9110, 7.8: Upgrade is an offer for one hop, which the recipient may ignore, and an intermediary takes it away with
# Connection. Caddy passes both on to its own transport, whose HTTP/2 refuses them; the server is never asked.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
CADDY=$(command -v caddy) || { echo "caddy is not installed" >&2; exit 1; }
packages hypercorn==0.18.0
"$CADDY" version | head -n 1
export HOME=$FOLDER XDG_DATA_HOME=$FOLDER
cat > app.py <<'PY'
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-version", scope["http_version"].encode())]})
    await send({"type": "http.response.body", "body": b""})
PY
read -r PORT APP < <("$PYTHON" -c 'import socket as s; a = s.create_server(("127.0.0.1", 0)); b = s.create_server(("127.0.0.1", 0)); print(a.getsockname()[1], b.getsockname()[1])')
cat > Caddyfile <<CADDY
{
	admin off
}
http://localhost:$PORT {
	bind 127.0.0.1
	reverse_proxy h2c://127.0.0.1:$APP
}
CADDY
"$PYTHON" -m hypercorn --bind "127.0.0.1:$APP" app:app > server.log 2>&1 &
server=$!
"$CADDY" run --config Caddyfile --adapter caddyfile > caddy.log 2>&1 &
caddy=$!
ask() {
    curl --silent --max-time 20 --noproxy '*' --output /dev/null --write-out '%{http_code}' "$@" "http://localhost:$PORT/" || true
}
for _ in $(seq 200); do
    [[ $(ask) == 200 ]] && break
    sleep 0.1
done
seen="plain: $(ask); with an offer of h2c: $(ask --http2)"
kill "$caddy" "$server"
wait
echo "$seen" | expect "plain: 200; with an offer of h2c: 502"
