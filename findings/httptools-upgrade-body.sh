#!/usr/bin/env bash
# httptools 0.7: of a request with Upgrade and a body, on_message_complete comes at the end of the head.
# The body is not read: HttpParserUpgrade carries the offset of its first byte, so that a server that declines the upgrade
# must see to the body itself (RFC 9110, 7.8 lets a server ignore Upgrade).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages httptools==0.7.1
"$PYTHON" - <<'PY' | expect "complete with b'', upgrade at the end of the head: True"
import httptools


class Reader:
    body = b""
    complete = None

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        self.complete = self.body


data = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\nContent-Length: 4\r\n\r\nbody"
reader = Reader()
try:
    httptools.HttpRequestParser(reader).feed_data(data)
except httptools.HttpParserUpgrade as exc:
    print(f"complete with {reader.complete}, upgrade at the end of the head: {exc.args[0] == data.index(b'body')}")
PY
