#!/usr/bin/env bash
# websocket 1.0 (npm): its client takes no notice of an empty message: `onmessage` is not called.
# RFC 6455, 5.2: the length of a payload may be 0, and 5.6: a message of text or of bytes is one all the same. ws tells it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v npm > /dev/null || { echo "npm is not installed (Debian: npm)" >&2; exit 1; }
npm install --silent --no-audit --no-fund --ignore-scripts websocket@1.0.35 ws@8.23.0 > npm.log
echo "packages: websocket@1.0.35 ws@8.23.0"
echo "node:     $(node --version)"
cat > client.js <<'JS'
const { w3cwebsocket } = require("websocket");
const { WebSocket, WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 }, async () => {
    const address = `ws://127.0.0.1:${server.address().port}/`;
    const seen = [];
    for (const [name, Client] of [["ws", WebSocket], ["websocket", w3cwebsocket]])
        seen.push(name + " " + await new Promise((resolve) => {
            const client = new Client(address);
            const messages = [];
            client.onmessage = (event) => {
                messages.push(JSON.stringify(event.data));
                if (event.data === "last") resolve(messages.join(" "));
            };
        }));
    console.log(seen.join(", "));
    process.exit();
});
server.on("connection", (socket) => ["first", "", "last"].forEach((text) => socket.send(text)));
JS
timeout 60 node client.js | expect 'ws "first" "" "last", websocket "first" "last"'
