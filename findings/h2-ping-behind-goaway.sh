#!/usr/bin/env bash
# h2 4.4: a PING behind a GOAWAY is a protocol error, whichever side has sent the GOAWAY.
# RFC 9113, 6.8: a GOAWAY begins the graceful end of a connection, on which open streams go on, and 6.7: PING is allowed at
# any time. Servers send GOAWAY and then measure by PING when the client must have read it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages h2==4.4.1 hyperframe==6.1.0
"$PYTHON" - <<'PY' | expect "received: Invalid input ConnectionInputs.RECV_PING in state ConnectionState.CLOSED, sent: Invalid input ConnectionInputs.RECV_PING in state ConnectionState.CLOSED"
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame, PingFrame

REQUEST = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")]


def try_it(who):
    client, server = (H2Connection(H2Configuration(client_side=side)) for side in (True, False))
    client.initiate_connection()
    server.initiate_connection()
    client.send_headers(1, REQUEST, end_stream=True)
    server.receive_data(client.data_to_send())
    if who == "received":
        server.receive_data(GoAwayFrame(0, last_stream_id=0, error_code=0).serialize())
    else:
        server.close_connection(last_stream_id=1)
    try:
        server.receive_data(PingFrame(0, opaque_data=b"12345678").serialize())
    except ProtocolError as exc:
        return f"{who}: {exc}"
    return f"{who}: answered"


print(", ".join(map(try_it, ("received", "sent"))))
PY
