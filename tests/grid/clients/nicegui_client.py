"""The page, and the connection that its script opens."""

from __future__ import annotations

import asyncio
import re
import sys
import urllib.request

import socketio

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


async def main() -> None:
    text = opener.open(f"http://{sys.argv[1]}/page", timeout=20).read().decode()
    assert "hello grid" in text
    (client_id,) = set(re.findall(r"'client_id': '([^']+)'", text))
    client = socketio.AsyncClient()
    query = f"client_id={client_id}&next_message_id=0&implicit_handshake=false&document_id=grid&tab_id=grid"
    await client.connect(
        f"http://{sys.argv[1]}?{query}", socketio_path="/_nicegui_ws/socket.io", transports=["websocket"]
    )
    data = {"client_id": client_id, "document_id": "grid", "tab_id": "grid", "next_message_id": 0, "old_tab_id": None}
    assert await client.call("handshake", data, timeout=20) is True
    await client.disconnect()


asyncio.run(main())
