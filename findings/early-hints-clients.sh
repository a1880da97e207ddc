#!/usr/bin/env bash
# requests 2.34 (Python's http.client), async-http 0.59 (Ruby) and Mono 6.8: a 103 Early Hints is taken for the response.
# What comes behind it is left in the connection: requests has a new one for the next request, async-http gives each answer to the
# next request, and Mono takes the final response, head and all, for the body of the 103.
# RFC 9110, 15.2: a client must be able to parse one or more 1xx responses before the final one, even if it does not expect
# any; RFC 8297, 3, knows that clients of HTTP/1.1 may fail. httpx and curl give the final response.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
for program in ruby mcs mono; do
    command -v "$program" > /dev/null || { echo "$program is not installed (Debian: ruby-async-http, mono-mcs)" >&2; exit 1; }
done
packages requests==2.34.2 urllib3==2.8.0 httpx==0.28.1
ruby -e 'require "async/http/version"; puts "async-http #{Async::HTTP::VERSION}"'
mono --version | head -n 1
cat > server.py <<'PY'
import socket
import threading

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"


def serve(sock):
    with sock, sock.makefile("rb") as requests:
        while line := requests.readline():
            path = line.split()[1]
            while requests.readline().strip():
                pass
            sock.sendall((HINT if path != b"/plain" else b"") + b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))


listener = socket.create_server(("127.0.0.1", 0))
with open("port", "w") as file:
    file.write(str(listener.getsockname()[1]))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
PY
cat > client.py <<'PY'
import sys

import httpx
import requests

address = f"http://127.0.0.1:{sys.argv[1]}"
with requests.Session() as session, httpx.Client() as client:
    for name, agent in ("requests", session), ("httpx", client):
        print(name, *(f"{path}: {(answer := agent.get(address + path)).status_code} '{answer.text}'" for path in ("/plain", "/a", "/b")), end="; ")
PY
cat > client.rb <<'RB'
require "async"
require "async/http/client"
require "async/http/endpoint"

Async do
  client = Async::HTTP::Client.new(Async::HTTP::Endpoint.parse("http://127.0.0.1:#{ARGV[0]}"))
  puts %w[/plain /a /b].map { |path| answer = client.get(path); "#{path}: #{answer.status} #{answer.read.inspect}" }.join(", ")
  client.close
end
RB
cat > client.cs <<'CS'
using System;
using System.IO;
using System.Net;

class Client {
    static void Main(string[] arguments) {
        foreach (var path in new[] { "/plain", "/a" }) {
            var request = (HttpWebRequest) WebRequest.Create("http://127.0.0.1:" + arguments[0] + path);
            using (var answer = (HttpWebResponse) request.GetResponse())
                Console.Write(path + ": " + (int) answer.StatusCode + " " + new StreamReader(answer.GetResponseStream()).ReadLine() + "; ");
        }
        Console.WriteLine();
    }
}
CS
mcs client.cs
"$PYTHON" server.py 2> server.log &
server=$!
for _ in $(seq 100); do
    [[ -s port ]] && break
    sleep 0.1
done
port=$(cat port)
seen="$("$PYTHON" client.py "$port")async-http $(timeout 30 ruby client.rb "$port"); Mono $(timeout 30 mono client.exe "$port")"
kill "$server"
wait
echo "$seen" | expect "requests /plain: 200 '/plain' /a: 103 '' /b: 103 ''; httpx /plain: 200 '/plain' /a: 200 '/a' /b: 200 '/b'; \
async-http /plain: 200 \"/plain\", /a: 103 nil, /b: 200 \"/a\"; Mono /plain: 200 /plain; /a: 103 HTTP/1.1 200 OK;"
