"""Where a line of the log is explained: the entries of docs/troubleshooting.md."""

from __future__ import annotations

__all__ = ["explained"]


def explained(entry: str) -> str:
    """The words that lead from a line to its entry, which has the symptom, its cause, and what to do.

    `entry` is the anchor of its heading; a test holds that it is there.
    """
    return f"(docs/troubleshooting.md#{entry})"
