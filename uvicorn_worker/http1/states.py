"""The states of a `MessageReader`; the picture is in reader.py."""

from __future__ import annotations

from enum import Enum

__all__ = ["BODY", "HEAD", "HELD", "START", "STOPPED", "TRANSITIONS", "Reading"]


class Reading(Enum):
    """What is being read."""

    START = "nothing: the next byte begins a message"
    HEAD = "a head, be it a single byte of it"
    BODY = "the body of `incoming`"
    HELD = "what comes is kept, and is not looked at for now"
    STOPPED = "nothing more is read: refused, ended by the client, closed, or left to another protocol"


START, HEAD, BODY, HELD, STOPPED = Reading

# The table of the picture above; a test holds the fuzzer's conversations against it.
TRANSITIONS = {
    START: frozenset([HEAD, BODY, HELD, STOPPED]),
    HEAD: frozenset([BODY, HELD, STOPPED]),
    BODY: frozenset([START, STOPPED]),
    HELD: frozenset([START, HEAD, STOPPED]),
    STOPPED: frozenset[Reading](),
}
