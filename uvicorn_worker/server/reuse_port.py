"""Closing a socket of an SO_REUSEPORT group without a reset.

Each socket of such a group has an accept queue of its own. When one is closed, Linux resets what is in its queue and
the handshakes that are under way for it, unless the sysctl `net.ipv4.tcp_migrate_req` (Linux 5.14) says that they
move to the others. Without it, new handshakes are kept away first, so that those under way can end and be accepted:

    new connections ─► the first socket of the group, which the master holds and all workers read
                                 │  what comes to the leaving one all the same is dropped, and sent again by the client
    handshakes under way ─► 0.1 s in which they end ─► the queue is emptied ─► closed ─► by the hash again
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import sys
from array import array
from pathlib import Path

__all__ = ["SETTLE_SECONDS", "kernel_migrates", "refuse_handshakes", "spread_by_hash", "steer_to_first"]

# How long the queue is still read after new handshakes were kept away, so that those under way can end: a round trip
# on one continent. A client whose SYN is dropped meanwhile sends it again after a second, and to another socket.
SETTLE_SECONDS = 0.1

_MIGRATES = Path("/proc/sys/net/ipv4/tcp_migrate_req")
# The socket module does not name them (asm-generic/socket.h).
_SO_ATTACH_FILTER = 26
_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68

# Classic BPF on the TCP header (linux/filter.h): drop a packet with SYN and without ACK, keep all others.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the flags
    (0x54, 0, 0, 0x12),  # of them SYN and ACK
    (0x15, 0, 1, 0x02),  # is it SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep
)

# What such a program returns for the whole group is the number of the socket that gets the connection. Sockets are
# numbered in the order in which they began to listen; the last one takes the number of one that was closed.
_FIRST = ((0x06, 0, 0, 0),)


def kernel_migrates() -> bool:
    """Whether Linux moves what is in the queue of a closed socket to the others of its group."""
    try:
        return _MIGRATES.read_bytes().strip() == b"1"
    except OSError:
        return False


def refuse_handshakes(listener: socket.socket) -> bool:
    """Let the kernel drop each new SYN for this socket; whether it does."""
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return _attach(listener, _SO_ATTACH_FILTER, _DROP_SYN)


def steer_to_first(member: socket.socket) -> bool:
    """Let the kernel give all new connections of a group to its first socket; whether it does."""
    return sys.platform == "linux" and _attach(member, _SO_ATTACH_REUSEPORT_CBPF, _FIRST)


def spread_by_hash(member: socket.socket) -> None:
    """The end of `steer_to_first` for the group; also where it was not, or where another worker has ended it."""
    with contextlib.suppress(OSError):
        member.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)


def _attach(sock: socket.socket, option: int, program: tuple[tuple[int, int, int, int], ...]) -> bool:
    code = array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HL", len(program), code.buffer_info()[0]))
    except OSError as exc:
        logging.getLogger("uvicorn.error").debug("The socket takes no filter: %s", exc)
        return False
    return True
