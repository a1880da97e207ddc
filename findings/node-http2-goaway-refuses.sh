#!/usr/bin/env bash
# Node 20: a request that is made while a GOAWAY is being read fails with REFUSED_STREAM, though no server has refused it.
# RFC 9113, 6.8: with 2^31-1 as the last stream a GOAWAY only warns. What a program has asked for then, but nghttp2 has not written yet,
# it ends itself, by the code of a server: nothing of it is sent. So it can be asked again, on a new session, even a POST.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v node > /dev/null || { echo "node is not installed (Debian: nodejs)" >&2; exit 1; }
echo "packages: none"
echo "node:     $(node --version)"
cat > client.mjs <<'JS'
import http2 from "node:http2";
import net from "node:net";

const frame = (type, flags, stream, payload = "") => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head.writeUInt8(type, 3);
    head.writeUInt8(flags, 4);
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, Buffer.from(payload)]);
};
const [DATA, HEADERS, RESET, SETTINGS, GOAWAY] = [0, 1, 3, 4, 7];

// It answers the first request, and warns in the same write.
const asked = [];
let resets = 0;
const server = net.createServer((socket) => {
    let buffer = Buffer.alloc(0);
    let preface = 24;
    socket.on("error", () => {});
    socket.write(frame(SETTINGS, 0, 0));
    socket.on("data", (data) => {
        buffer = Buffer.concat([buffer, data]);
        if (buffer.length < preface) return;
        buffer = buffer.subarray(preface);
        preface = 0;
        while (buffer.length >= 9 && buffer.length >= 9 + buffer.readUIntBE(0, 3)) {
            const [type, flags, stream] = [buffer[3], buffer[4], buffer.readUInt32BE(5)];
            buffer = buffer.subarray(9 + buffer.readUIntBE(0, 3));
            if (type === SETTINGS && !(flags & 1)) socket.write(frame(SETTINGS, 1, 0));
            if (type === RESET) resets++;
            if (type !== HEADERS) continue;
            asked.push(stream);
            const warning = frame(GOAWAY, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
            const answer = [frame(HEADERS, 4, stream, Buffer.from([0x88])), frame(DATA, 0, stream, "x"), frame(DATA, 1, stream, "y")];
            socket.write(Buffer.concat(asked.length === 1 ? [answer[0], answer[1], warning, answer[2]] : answer));
        }
    });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const session = http2.connect(`http://127.0.0.1:${server.address().port}`);

const ask = (path, onData) => new Promise((resolve) => {
    const stream = session.request({ ":path": path });
    let text = "";
    stream.setEncoding("utf8");
    stream.on("data", (data) => { text += data; onData?.(); });
    stream.on("end", () => resolve(text));
    stream.on("error", (error) => resolve(error.message.match(/NGHTTP2_\w+/)?.[0] ?? error.code));
});
let second;
const first = await ask("/first", () => (second ??= ask("/second")));
console.log(`first: ${first}, second: ${await second}, streams that the server has seen: ${asked.join(" ")}, resets: ${resets}`);
process.exit();
JS
timeout 60 node client.mjs | expect "first: xy, second: NGHTTP2_REFUSED_STREAM, streams that the server has seen: 1, resets: 0"
