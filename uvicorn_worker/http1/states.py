"""The states of a `MessageReader`, whose picture is in reader.py, and what stands for one that is at rest."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

__all__ = ["AT_REST", "BODY", "HEAD", "HELD", "START", "STOPPED", "TRANSITIONS", "Reading"]


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


class AtRest:
    """Stands in the place of the readers of idle connections, which have read nothing of their next message.

    It is one for all, so nothing can be set; a connection that needs a reader makes one.
    """

    __slots__ = ()

    # None of those that a reader can be in.
    state: Final = None
    held: Final = None
    incoming: Final = None

    def end(self) -> None:
        """It knows no connection."""


# As a reader: who looks at `state` first meets nothing else.
AT_REST: Any = AtRest()
