"""Where tasks and threads stand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

from uvicorn_worker.logs.await_chain import describe_holder, describe_task, describe_thread, describe_threads


async def inner(event: asyncio.Event) -> None:
    await event.wait()


async def outer(event: asyncio.Event) -> None:
    await inner(event)


async def chain_of(event: asyncio.Event, coroutine: object) -> list[str]:
    task = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lines = describe_task(task)
    event.set()
    await task
    return lines


def names(lines: list[str]) -> list[str]:
    return [line.rpartition(" in ")[2] for line in lines]


def test_the_chain_goes_down_to_what_is_waited_for() -> None:
    async def main() -> list[str]:
        event = asyncio.Event()
        return await chain_of(event, outer(event))

    lines = asyncio.run(main())
    # PyPy has frames for futures, too.
    assert names(lines)[:3] == ["outer", "inner", "Event.wait"]
    assert lines[0].partition(":")[0].endswith("test_await_chain.py")


def test_a_task_that_waits_for_another_is_told_with_it() -> None:
    async def main() -> list[str]:
        event = asyncio.Event()

        async def waits() -> None:
            await asyncio.ensure_future(outer(event))

        return await chain_of(event, waits())

    lines = asyncio.run(main())
    assert lines[-1].startswith("waits for the task ")
    assert "in inner" in lines[-1]


def test_gathered_ones_are_counted() -> None:
    async def main() -> list[str]:
        event = asyncio.Event()

        async def waits() -> None:
            await asyncio.gather(outer(event), outer(event))

        return await chain_of(event, waits())

    assert asyncio.run(main())[-1] == "waits for 2 tasks that it has gathered"


def test_an_async_generator_ends_the_chain_where_python_hides_what_it_awaits() -> None:
    async def main() -> list[str]:
        event = asyncio.Event()

        async def generate() -> AsyncIterator[int]:
            await event.wait()
            yield 1

        async def waits() -> None:
            async for _ in generate():
                pass

        return await chain_of(event, waits())

    assert names(asyncio.run(main()))[0].endswith("waits")


def test_there_is_nothing_to_say_of_no_task_and_of_one_that_is_done() -> None:
    async def main() -> list[str]:
        task = asyncio.ensure_future(asyncio.sleep(0))
        await task
        return describe_task(task)

    assert describe_task(None) == []
    assert asyncio.run(main()) == []


def test_threads_at_work_are_told_and_others_are_not() -> None:
    begun, end = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        end.wait()

    def works(depth: int = 5) -> None:
        if depth:
            works(depth - 1)
        else:
            job()

    thread = threading.Thread(target=works, name="at-work")
    ours = threading.Thread(target=works, name="uvicorn-worker-x")
    thread.start()
    ours.start()
    begun.wait()
    lines = describe_threads(threading.get_ident())
    stack = describe_thread(thread.ident)
    end.set()
    thread.join()
    ours.join()
    assert "thread at-work" in lines
    assert "thread uvicorn-worker-x" not in lines
    assert any(line.endswith("in job") for line in stack)
    assert describe_thread(None) == []


def test_who_holds_a_loop_is_told_without_the_way_to_it() -> None:
    """The frames of who has started the loop, and of the loop itself, say nothing of it."""
    told: list[list[str]] = []

    def blocks() -> None:
        thread = threading.Thread(target=lambda: told.append(describe_holder(main_thread, 30)))
        thread.start()
        thread.join()

    async def handler() -> None:
        blocks()

    async def main() -> None:
        await asyncio.ensure_future(handler())
        asyncio.get_running_loop().call_soon(blocks)
        await asyncio.sleep(0)

    main_thread = threading.get_ident()
    asyncio.run(main())
    # Where no loop is at work, all of it is.
    blocks()
    assert [names(stack)[0] for stack in told[:2]] == ["handler", "blocks"]
    assert "test_who_holds_a_loop_is_told_without_the_way_to_it" in names(told[2])
    assert describe_holder(0, 30) == []
