#!/usr/bin/env bash
# @fastify/reply-from 12.6 (fastify-http-proxy) with `http2`: where the server says GOAWAY, the next request ends those that run.
# RFC 9113, 6.8: streams up to the last stream identifier of a GOAWAY are still answered. It destroys a session that
# `closed` says it of, with all its streams.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v npm > /dev/null || { echo "npm is not installed (Debian: npm)" >&2; exit 1; }
npm install --silent --no-audit --no-fund --ignore-scripts fastify@5.6.0 @fastify/reply-from@12.6.5 > npm.log
echo "packages: fastify@5.6.0 @fastify/reply-from@12.6.5"
echo "node:     $(node --version)"
cat > proxy.js <<'JS'
const http2 = require("http2");
const Fastify = require("fastify");

// Answers /slow after a second, and says GOAWAY(NO_ERROR) meanwhile, which lets that stream end.
const server = http2.createServer();
server.on("stream", (stream, headers) => {
  if (headers[":path"] === "/slow") {
    setTimeout(() => stream.session.goaway(http2.constants.NGHTTP2_NO_ERROR, stream.id), 200);
    setTimeout(() => { if (!stream.destroyed) { stream.respond({ ":status": 200 }); stream.end("whole"); } }, 1000);
  } else {
    stream.respond({ ":status": 200 });
    stream.end("quick");
  }
});
server.on("sessionError", () => {});
server.listen(0, "127.0.0.1", async () => {
  const proxy = Fastify();
  proxy.register(require("@fastify/reply-from"), { base: `http://127.0.0.1:${server.address().port}`, http2: true });
  proxy.get("/*", (request, reply) => { reply.from(request.url); });
  await proxy.listen({ port: 0, host: "127.0.0.1" });
  const address = `http://127.0.0.1:${proxy.server.address().port}`;
  const ask = (path) => fetch(address + path).then((answer) => answer.status, (error) => error.message);
  const alone = await ask("/slow");
  const slow = ask("/slow");
  await new Promise((resolve) => setTimeout(resolve, 500));
  const quick = await ask("/quick");
  console.log(`alone ${alone}, with another behind the GOAWAY: ${await slow} and ${quick}`);
  process.exit(0);
});
JS
timeout 60 node proxy.js | expect "alone 200, with another behind the GOAWAY: 500 and 200"
