#!/usr/bin/env bash
# superagent 10.4 (npm): an answer that comes while a stream is still piped into the request is lost.
# It begins to listen for the response when the upload has ended; what a server has said before (401, 413) is dumped by Node, and
# neither 'response' nor 'error' is told. RFC 9112, 9.3 and 9.5: a client should watch for an answer while it sends a body.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v npm > /dev/null || { echo "npm is not installed (Debian: npm)" >&2; exit 1; }
npm install --silent --no-audit --no-fund --ignore-scripts superagent@10.4.2 got@14.6.6 > npm.log
echo "packages: superagent@10.4.2 got@14.6.6"
echo "node:     $(node --version)"
cat > client.mjs <<'JS'
import http from "node:http";
import { Readable } from "node:stream";
import got from "got";
import superagent from "superagent";

// It reads the whole upload, and answers before or after that.
const server = http.createServer((request, response) => {
    if (request.url === "/early") response.writeHead(413).end("too large");
    request.resume().on("end", () => request.url === "/late" && response.writeHead(413).end("too large"));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const address = `http://127.0.0.1:${server.address().port}`;

const upload = () => Readable.from((async function* () {
    for (let count = 0; count < 20; count++) {
        yield Buffer.alloc(1000);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
})());
const within = (promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, 5000, "nothing in 5 s"))]);
const bySuperagent = (path) => within(new Promise((resolve) => {
    const request = superagent.post(address + path).ok(() => true);
    request.on("response", (response) => resolve(response.status)).on("error", (error) => resolve(error.code));
    upload().pipe(request);
}));
const byGot = (path) => within(new Promise((resolve) => {
    const request = got.stream.post(address + path, { throwHttpErrors: false, retry: { limit: 0 } });
    request.on("response", (response) => resolve(response.statusCode)).on("error", (error) => resolve(error.code)).resume();
    upload().pipe(request);
}));
const seen = [];
for (const path of ["/late", "/early"]) seen.push(`${path}: got ${await byGot(path)}, superagent ${await bySuperagent(path)}`);
console.log(seen.join("; "));
process.exit();
JS
timeout 60 node client.mjs | expect "/late: got 413, superagent 413; /early: got 413, superagent nothing in 5 s"
