"""What a server has in flight, and where the task of each request stands: what SIGUSR2 writes to the error log."""

from __future__ import annotations

import os
import threading
import time

from uvicorn_worker.logs.await_chain import describe_holder, describe_task, describe_threads
from uvicorn_worker.logs.in_flight import census, describe_cycles, running_task
from uvicorn_worker.server.server import Server

__all__ = ["describe_flight"]

# How many requests are named.
_NAMED = 100


def describe_flight(server: Server) -> str:
    """One block: a line for each request, the oldest first, and below it the chain of what its task awaits.

    Then the threads that are at work, where applications may stand that are no coroutines. Called in the main thread,
    between any two steps of the loop, or within one.
    """
    if not server.started:
        return f"Process {os.getpid()} does not serve yet."
    runtime = server.own_runtime
    now = time.monotonic()
    cycles = sorted(runtime.cycles, key=lambda cycle: cycle.started)
    lines = [f"In flight in process {os.getpid()}: {census(cycles, runtime.connections, server.own_acceptor.pending)}"]
    running = running_task(runtime.loop)
    for cycle in cycles[:_NAMED]:
        lines += [f"  {line}" for line in describe_cycles([cycle], now, running)]
        # What awaits can't be seen of a task that runs: it is what this has interrupted.
        runs = running is not None and cycle.task in (running, None)
        stands = describe_holder(threading.get_ident()) if runs else describe_task(cycle.task)
        lines += [f"    {line}" for line in stands]
    if len(cycles) > _NAMED:
        lines.append(f"  and {len(cycles) - _NAMED} more")
    threads = describe_threads(threading.get_ident())
    if threads:
        lines += ["  Threads at work:", *(f"    {line}" for line in threads)]
    return "\n".join(lines)
