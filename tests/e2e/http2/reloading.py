"""A browser whose user reloads: pages of two hundred images, and fetches, that are left again and again.

What is begun last is waited for, and all of it has to come; `Page.failures` has what did not. The application is
h2_probe's.
"""

from __future__ import annotations

import json

from tests.e2e.websocket.browser import Page

__all__ = ["AT_ONCE", "IMAGES", "UNSENT", "reload_fetches", "reload_images"]

IMAGES = 200
# No more than a connection may have of streams: Chromium 156 loses those that wait for one when GOAWAY comes. They are
# neither sent elsewhere nor given up.
AT_ONCE = 80

# What Chromium 156 says of a request that it has not sent yet when GOAWAY comes on the connection that it has chosen
# for it (`SpdySession::TryCreateStream`). No server has seen it, and it is not tried again.
UNSENT = "net::ERR_FAILED"

_ALL_DONE = "[...document.images].every(image => image.complete)"
_LOOK = """JSON.stringify([
    [...document.images].map(image => image.naturalWidth),
    [...new Set(performance.getEntriesByType("resource").map(entry => entry.nextHopProtocol))],
])"""

# Each time the rest is left when the first has come; what was left so is no failure, all else is.
_FETCH = """(async () => {{
    const begin = (round, signal) => [...Array({images}).keys()].map(number =>
        fetch(`/image?{name}-${{round}}&${{number}}`, {{signal}}).then(
            async response => response.ok && (await response.blob()).size > 0 ? "answered" : `${{response.status}}`
        ).catch(error => error.name === "AbortError" ? "left" : `${{error}}`));
    const ends = [];
    for (let round = 0; round < {times}; round++) {{
        const leaving = new AbortController();
        const begun = begin(round, leaving.signal);
        await Promise.race(begun);
        leaving.abort();
        ends.push(...await Promise.all(begun));
    }}
    const last = await Promise.all(begin("last"));
    return JSON.stringify([ends, last]);
}})()"""


def reload_images(page: Page, url: str, name: str, times: int, images: int = IMAGES) -> int:
    """Leave the page of images so often while they come, then see all of them; how many were begun.

    `name` makes the addresses others than those of another call.
    """
    all_there = f"document.images.length === {images}"
    for number in range(times):
        page.go(f"{url}/images?{name}-{number},{images}")
        page.wait(all_there)
    before = len(page.failures)
    page.go(f"{url}/images?{name},{images}")
    page.wait(f"{all_there} && {_ALL_DONE}")
    widths, protocols = json.loads(page.run(_LOOK))
    _check(page, before, images - widths.count(9))
    # What was never sent has none.
    assert {*protocols} - {""} == {"h2"}
    return (times + 1) * images


def reload_fetches(page: Page, name: str, times: int, fetches: int = IMAGES) -> int:
    """The same by fetches of the page that is shown; how many were answered."""
    before = len(page.failures)
    ends: list[str]
    ends, last = json.loads(page.run(_FETCH.format(images=fetches, name=name, times=times), promised=True))
    ends += last
    assert "left" not in last
    answered = ends.count("answered")
    _check(page, before, len(ends) - answered - ends.count("left"))
    return answered


def _check(page: Page, before: int, missing: int) -> None:
    """Whether what is missing was never sent, by what has failed since there were so many failures."""
    failures = page.failures[before:]
    assert set(failures) <= {UNSENT}, failures
    assert missing <= len(failures), f"{missing} are missing: {failures}"
