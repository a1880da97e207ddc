#!/usr/bin/env bash
# Tcl 8.6's http package 2.9: on a connection that is used again, an answer that comes before the end of the upload is never read: the call
# ends by its timeout, or with "eof" when the server closes the idle connection. On a new connection the same answer is read.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v tclsh > /dev/null || { echo "tclsh is not installed (Debian: tcl)" >&2; exit 1; }
packages
cat > client.tcl <<'TCL'
package require http
proc status {path args} {
    set token [http::geturl http://127.0.0.1:$::port$path -timeout 3000 -keepalive 1 {*}$args]
    set seen "[http::status $token] [http::ncode $token]"
    http::cleanup $token
    return $seen
}
set port [lindex $argv 0]
set upload [string repeat x 300000]
set first [status / -query $upload]
status /
puts "a new connection: [string trim $first]; one that is used again: [string trim [status / -query $upload]]; http [package require http]"
TCL
cat > look.py <<'PY'
import socket
import subprocess
import threading


def serve(connection):
    reader = connection.makefile("rb")
    while line := reader.readline():
        length = 0
        while (field := reader.readline()) not in (b"\r\n", b""):
            if field.lower().startswith(b"content-length:"):
                length = int(field.split(b":")[1])
        # The answer leaves when a part of the body is here; the rest is read and dropped.
        reader.read(min(length, 100_000))
        status = b"413 Content Too Large" if line.startswith(b"POST") else b"200 OK"
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nok")
        reader.read(max(0, length - 100_000))


listener = socket.create_server(("127.0.0.1", 0))


def accept():
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
subprocess.run(["tclsh", "client.tcl", str(listener.getsockname()[1])], check=True, timeout=60)
PY
"$PYTHON" look.py | expect "a new connection: ok 413; one that is used again: timeout"
