"""How many files may be open: the limit is raised as far as it may be, and servers inherit it."""

from __future__ import annotations

import resource


def raise_limit(wanted: int) -> int:
    """The number that may be open now: at least *wanted*, or what the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    for limits in ((wanted, hard if hard == unlimited else max(hard, wanted)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (OSError, ValueError):
            continue  # Only who may do anything raises the hard limit.
        break
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
