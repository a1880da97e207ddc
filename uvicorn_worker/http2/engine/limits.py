"""What a client of HTTP/2 may do, and how much of it: the limits of the engines, each with its reason.

Those that an operator sets are fields of `Limits`. All others are constants, the same for both engines.
"""

from __future__ import annotations

from dataclasses import dataclass

from uvicorn_worker.core.config import Config
from uvicorn_worker.http2.engine.codes import Setting

__all__ = [
    "ANSWER_BACKLOG",
    "CONTINUATION_LIMIT",
    "CONTROL_BURST",
    "CONTROL_PER_DATA",
    "CONTROL_PER_REQUEST",
    "CONTROL_PER_TICK",
    "CONTROL_SAVED",
    "GAPS_REMEMBERED",
    "HEADER_LIST_SLACK",
    "RESETS_REMEMBERED",
    "RESET_BURST",
    "RESET_PER_STREAM",
    "RESET_PER_TICK",
    "SMALL_DATA",
    "USEFUL_DATA",
    "WINDOW_STREAMS",
    "Limits",
    "note_gap",
]

# Rapid reset (CVE-2023-44487) and its reversal, streams that the client makes us reset (CVE-2025-8671): so many streams
# may end by RST_STREAM, either way, before the connection does; so many more with each tick (half a second), and for
# each stream that ends well. A burst is what a client of many users, or one with deadlines, does in a bad second.
# REFUSED_STREAM does not count, since a client could not know better, nor does the client's reset of a stream whose
# response has begun: that is how streams end that have no end of their own.
RESET_BURST = 4000
RESET_PER_TICK = 100
RESET_PER_STREAM = 1

# Frames that carry nothing of a request, each of which costs us work: PING, SETTINGS, PRIORITY, PRIORITY_UPDATE,
# WINDOW_UPDATE, RST_STREAM of streams that are gone, unknown types, and DATA without data that does not end the
# stream; a stream that is refused counts, too. So many at once, and so many more for each tick. All others must have a
# cause in what the application does: so many for each request that is let in, for each DATA frame of a response, for
# each piece of a body that is taken, and for each response that ends well. Clients that measure the round trip send a
# PING for each DATA frame, however small, and all of them send one or two WINDOW_UPDATEs for it.
CONTROL_BURST = 1000
CONTROL_PER_TICK = 200
CONTROL_PER_REQUEST = 4
CONTROL_PER_DATA = 4
# What was earned and not used is kept up to here, since a client that has read nothing for a while answers all at once.
CONTROL_SAVED = 20000
# A DATA frame that fills the client's window earns nothing below this size: a client that opens its window byte by
# byte would live on what it has cut (data dribble, CVE-2019-9511).
USEFUL_DATA = 256

# Clients have limits of their own: those made with Rust's h2 (reqwest, tonic) end the connection when they have some
# hundred DATA frames of less than 256 bytes that nobody has read yet. So small pieces of one response that leave
# together are one frame, until it has this size: what is joined is copied, and by then most of it is saved.
SMALL_DATA = 1024

# Frames that answer the client's (PING and SETTINGS with ACK, RST_STREAM) and that wait for `data_to_send()`, which
# the protocol does not call while the client does not read.
ANSWER_BACKLOG = 1000

# Streams that we have reset and whose frames may still be on their way; of older ones they are faults.
RESETS_REMEMBERED = 256

# Gaps in the numbers of a client's streams, which say of a number whether it was one of a stream.
GAPS_REMEMBERED = 64

# CONTINUATION flood (CVE-2024-27316): frames of one header block, and its bytes in compressed form, for which the
# hard limit on header lists counts. A client that obeys our settings needs few: its frames hold 16384 bytes.
CONTINUATION_LIMIT = 16

# HPACK bombs: a header list may be so many times as large as SETTINGS_MAX_HEADER_LIST_SIZE says and is still decoded,
# so that its stream alone is refused (431). Beyond, decoding is given up and the connection with it.
HEADER_LIST_SLACK = 2

# The window of a connection, in windows of a stream: streams whose application does not read must not stop others.
WINDOW_STREAMS = 8


def note_gap(gaps: list[range], last: int, stream_id: int) -> None:
    """Add to the gaps in the numbers of a client's streams the one from `last`, 0 for none, to the new one."""
    gaps.append(range(last + 2 if last else 1, stream_id, 2))
    if len(gaps) > GAPS_REMEMBERED:
        del gaps[0]


@dataclass(frozen=True)
class Limits:
    """What the server announces in its SETTINGS, and holds the client to."""

    max_concurrent_streams: int = 100
    initial_window_size: int = 131072
    max_frame_size: int = 16384
    max_header_list_size: int = 65536
    # Whether extended CONNECT (RFC 8441) is announced.
    connect_protocol: bool = True

    @property
    def connection_window(self) -> int:
        """The receive window of the connection; SETTINGS can't say it, so WINDOW_UPDATE does (6.9.2)."""
        return min(max(65535, self.initial_window_size * WINDOW_STREAMS), 2**31 - 1)

    @property
    def header_list_bound(self) -> int:
        """Above this size a header list is not decoded."""
        return self.max_header_list_size * HEADER_LIST_SLACK

    @property
    def settings(self) -> bytes:
        """The payload of our SETTINGS."""
        settings = {
            Setting.ENABLE_PUSH: 0,
            Setting.MAX_CONCURRENT_STREAMS: self.max_concurrent_streams,
            Setting.INITIAL_WINDOW_SIZE: self.initial_window_size,
            Setting.MAX_FRAME_SIZE: self.max_frame_size,
            Setting.MAX_HEADER_LIST_SIZE: self.max_header_list_size,
            Setting.NO_RFC7540_PRIORITIES: 1,
        }
        if self.connect_protocol:
            settings[Setting.ENABLE_CONNECT_PROTOCOL] = 1
        return b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in settings.items())

    @classmethod
    def from_config(cls, config: Config) -> Limits:
        """The limits that the options ask for."""
        return cls(
            max_concurrent_streams=config.http2_max_concurrent_streams,
            initial_window_size=config.http2_initial_window_size,
            max_frame_size=config.http2_max_frame_size,
            max_header_list_size=config.http2_max_header_list_size,
            connect_protocol=config.ws != "none",
        )
