"""The door between HTTP/2 as bytes and HTTP/2 as requests: `Engine`, a connection without I/O.

    transport ─► receive_data() ─► events ─► protocol ─► streams ─► application
    transport ◄─ data_to_send() ◄─────────── respond(), send_*(), reset(), goaway() ...

Two engines stand behind it, one around the h2 library (`h2.py`) and one of our own. The same tests run over
both (tests/http2/test_engine_*.py), and they agree on every byte of input: the same requests are accepted, the same
faults get the same codes.

Who does what
-------------

The engine is RFC 9113 for one connection:

- The client's preface, our SETTINGS, and the WINDOW_UPDATE that gives the connection the window of
  `Limits.connection_window`. What we announce binds the client from its ACK on (6.5.3).
- Frames: sizes, flags, padding, stream identifiers and their order, states of streams (5.1), HEADERS with
  CONTINUATION. Unknown frames and settings are ignored.
- HPACK both ways. Decoding obeys `Limits.header_list_bound`. No response depends on the dynamic table.
- Header lists of requests and trailers by `http2/engine/request_heads.py`; the body against Content-Length (8.1.1).
- Faults. One of a stream (5.4.2) resets that stream alone and gives `StreamReset`; one of the connection (5.4.1)
  queues GOAWAY with the code, the last stream and the reason as debug data, and gives `ConnectionFailed` behind all
  events that came before it. `receive_data()` never raises for what a client has sent.
- Flow control as accounting: windows both ways, SETTINGS_INITIAL_WINDOW_SIZE and its changes, overflow. It sends no
  more than the client's windows let it, and waits for nothing: what does not fit is the protocol's to keep.
- Concurrency: a stream above `Limits.max_concurrent_streams`, or above the last stream of a GOAWAY that we have
  sent, gets REFUSED_STREAM and no event. A stream counts from its HEADERS until both sides have ended it or one has
  reset it.
- Abuse limits, as counted in limits.py: resets, control frames, answers that the client does not read,
  CONTINUATION, sizes of header lists. Each ends in ENHANCE_YOUR_CALM.
- Answers that need no decision: SETTINGS and PING with ACK, WINDOW_UPDATE for padding and for DATA of streams that
  are gone.

The protocol (protocol.py) and its streams are HTTP and ASGI: scopes, receive and send, what is a valid response,
whose turn it is to send (priorities, fairness), time (the engine knows no clock but `tick()`), the limits of `Config`
on heads and bodies, drain, the access log, WebSocket.

Rules for whoever calls
-----------------------

- A call for a stream that is gone, or after the connection has failed, does nothing: the event that says so may
  still be on its way through the protocol.
- `send_data()` and `respond()` take what is in the window; asking for more is a fault of the caller's (ValueError in
  `send_data()`; `respond()` answers False).
- Response fields are given as `prepare()` has made them, one by one, and have been checked before: prepared fields
  are remembered and used again on every connection, so that a field that is sent often costs one look-up. `:status`
  is the engine's to put in front.
- Nothing is sent before `data_to_send()` is asked, once for all frames of a turn of the event loop. It is not asked
  while the client does not read.

What it has to cost: eight connections with sixteen streams each, a GET answered with 13 bytes, take 5 to 7 us of CPU
for a request in all. So there is one event for a request and one call for its answer, header lists are built once
and given whole, and an engine may give the same `RequestHead` for the same header block again.
"""

from __future__ import annotations

from typing import Any, Protocol

from uvicorn_worker.http2.engine.events import Event

__all__ = ["Engine"]


class Engine(Protocol):
    """The server's side of one HTTP/2 connection; see the module's text for the contract."""

    last_stream_id: int
    """The highest stream that the client has opened, 0 for none: what GOAWAY says."""

    @staticmethod
    def prepare(name: bytes, value: bytes) -> Any:
        """A response field in the form that the sending calls take; `name` is in lower case, both were checked.

        The same for all connections: the protocol keeps it, for as long as it likes.
        """

    # Begin -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Queue our preface: SETTINGS, and WINDOW_UPDATE of the connection. The first call of all."""

    def open_upgraded(self, settings: bytes) -> None:
        """After `start()`, for a connection that was upgraded from HTTP/1.1 (RFC 7540, 3.2).

        `settings` is the decoded payload of HTTP2-Settings, which counts as acknowledged; raises ValueError where it
        is not one. Stream 1 is then half-closed (remote): its request is the one that asked for the upgrade, and is
        not given as an event. The client still sends its preface.
        """

    # Receive -----------------------------------------------------------------------------------------

    @property
    def greeted(self) -> bool:
        """Whether all of the client's preface has come."""

    def receive_data(self, data: bytes | memoryview) -> list[Event]:
        """Take bytes of the client, the preface first; give what they mean, in their order.

        A memoryview is one of a buffer that others read into as well: nothing of it is kept. The frames that this
        makes necessary are queued. After `ConnectionFailed` nothing is read.
        """

    def acknowledge(self, stream_id: int, size: int) -> None:
        """The application has taken `size` bytes of what `DataReceived` gave, or nobody ever will.

        Gives the credit back, to the connection and, while it is open for the client, to the stream; when half of
        a window has been taken, so that not each read makes a frame.
        """

    def tick(self) -> bool:
        """Half a second has passed; what limits.py gives back with time is given back. True: there was nothing."""

    def forget(self) -> None:
        """The connection is idle: nothing is kept that only spares work when a request comes again."""

    # Send --------------------------------------------------------------------------------------------

    def respond(self, stream_id: int, status: int, fields: list[Any], body: bytes) -> bool:
        """Send a whole response, and end the stream: HEADERS, then DATA unless `body` is empty.

        False, and nothing is sent, where the body does not fit in the windows.
        """

    def send_headers(self, stream_id: int, status: int, fields: list[Any], end_stream: bool) -> None:
        """Send the head of a response; or of an informational one (1xx), any number of times before it."""

    def send_data(self, stream_id: int, data: bytes | memoryview, end_stream: bool) -> None:
        """Send a piece of the body, cut into frames of the size that the client takes.

        `data` is no larger than `window()`, and may be empty with `end_stream`. It may not be copied: it must
        not change before it was sent. Small pieces of one stream that nothing else is queued between are one frame.
        """

    def send_trailers(self, stream_id: int, fields: list[Any]) -> None:
        """Send trailers, and end the stream."""

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream with RST_STREAM. What was queued for it is sent before."""

    def goaway(self, last_stream_id: int, code: int = 0, debug: bytes = b"") -> None:
        """Send GOAWAY. Streams above `last_stream_id` that come get REFUSED_STREAM from now on.

        `MAX_STREAM_ID` is the warning that refuses nothing yet (6.8). Reading and running streams go on.
        """

    def ping(self, payload: bytes) -> None:
        """Send PING with eight bytes, which `PongReceived` brings back."""

    def window(self, stream_id: int) -> int:
        """How many bytes of DATA may be sent on a stream now; of its window and the connection's the smaller one.

        0 where there is none, or a change of settings has made it negative, or the stream is gone.
        """

    def connection_window(self) -> int:
        """How many bytes of DATA may be sent on the connection now."""

    @property
    def has_data(self) -> bool:
        """Whether anything is queued."""

    def data_to_send(self) -> list[bytes | memoryview]:
        """All that is queued, in order, as pieces of which none is empty; the queue is empty afterwards."""
