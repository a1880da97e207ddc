"""Closing a socket of an SO_REUSEPORT group without a reset.

Each socket of such a group has an accept queue of its own. When one is closed, Linux resets what is in its queue and
the handshakes that are under way for it, unless the sysctl `net.ipv4.tcp_migrate_req` (Linux 5.14) says that they
move to the others. Without it, new handshakes are kept away first, so that those under way can end and be accepted.
"""

from __future__ import annotations

import logging
import socket
import struct
import sys
from array import array
from pathlib import Path

__all__ = ["SETTLE_SECONDS", "kernel_migrates", "refuse_handshakes"]

# How long the queue is still read after new handshakes were kept away, so that those under way can end: a round trip
# on one continent. A client whose SYN is dropped meanwhile sends it again after a second, and to another socket.
SETTLE_SECONDS = 0.1

_MIGRATES = Path("/proc/sys/net/ipv4/tcp_migrate_req")
# The socket module does not name it (asm-generic/socket.h).
_SO_ATTACH_FILTER = 26

# Classic BPF on the TCP header (linux/filter.h): drop a packet with SYN and without ACK, keep all others.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the flags
    (0x54, 0, 0, 0x12),  # of them SYN and ACK
    (0x15, 0, 1, 0x02),  # is it SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep
)


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
    code = array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_DROP_SYN), code.buffer_info()[0])
        )
    except OSError as exc:
        logging.getLogger("uvicorn.error").debug("The socket takes no filter: %s", exc)
        return False
    return True
