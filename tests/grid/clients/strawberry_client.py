"""A query by HTTP and a subscription by WebSocket, which is left while it is quiet."""

from __future__ import annotations

import json
import sys

import httpx
from websockets.sync.client import connect

host = sys.argv[1]
answer = httpx.post(f"http://{host}/graphql/", json={"query": '{ hello(name: "grid") }'}, trust_env=False)
assert answer.json()["data"] == {"hello": "hello grid"}, answer.text

with connect(f"ws://{host}/graphql/", subprotocols=["graphql-transport-ws"], proxy=None) as socket:
    socket.send(json.dumps({"type": "connection_init"}))
    assert json.loads(socket.recv(20))["type"] == "connection_ack"
    query = {"query": "subscription { gated }"}
    socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": query}))
    assert json.loads(socket.recv(20))["payload"]["data"] == {"gated": "first"}
    httpx.get(f"http://{host}/go", trust_env=False)
    assert json.loads(socket.recv(20))["payload"]["data"] == {"gated": "last"}
print("subscription-left")
