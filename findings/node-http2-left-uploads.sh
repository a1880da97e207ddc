#!/usr/bin/env bash
# Node 20: what is still to be sent of a request over HTTP/2 counts against its session's memory for good where the stream is destroyed.
# A client that destroys streams which were answered before their upload had ended (got and http2-wrapper do, with an answer
# such as 401 or 413) has used up `maxSessionMemory`, 10 MB, after a few of them: from then on each request on that session, of whatever
# kind, fails with ENHANCE_YOUR_CALM, which is Node's own word: its requests reach the server, and the answers are not looked at.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v node > /dev/null || { echo "node is not installed (Debian: nodejs)" >&2; exit 1; }
echo "packages: none"
echo "node:     $(node --version)"
cat > client.mjs <<'JS'
import http2 from "node:http2";

const server = http2.createServer();
let requests = 0;
server.on("stream", (stream) => {
    requests++;
    stream.on("error", () => {});
    stream.respond({ ":status": 413 });
    stream.end("too large");
    stream.resume();
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

async function uploads(destroys) {
    const session = http2.connect(`http://127.0.0.1:${server.address().port}`);
    const ends = [];
    for (let count = 0; count < 6; count++)
        ends.push(await new Promise((resolve) => {
            const stream = session.request({ ":method": "POST", ":path": "/" });
            let status;
            stream.on("response", (headers) => (status = headers[":status"]));
            stream.on("end", () => destroys && stream.destroy());
            stream.on("error", (error) => (status = error.message.match(/NGHTTP2_\w+/)[0]));
            stream.on("close", () => setTimeout(() => resolve(status), 100));
            stream.resume();
            stream.end(Buffer.alloc(3 << 20));
        }));
    session.destroy();
    return ends.join(" ");
}

const ended = await uploads(false);
requests = 0;
const destroyed = await uploads(true);
console.log(`streams that end: ${ended}; destroyed: ${destroyed}, requests that reached the server: ${requests}`);
process.exit();
JS
timeout 60 node client.mjs | expect "streams that end: 413 413 413 413 413 413; destroyed: 413 413 413 NGHTTP2_ENHANCE_YOUR_CALM \
NGHTTP2_ENHANCE_YOUR_CALM NGHTTP2_ENHANCE_YOUR_CALM, requests that reached the server: 6"
