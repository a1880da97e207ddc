"""Write the tables and cards of docs/settings.md, docs/command.md, docs/metrics.md and the architecture from the code,
and the figures of the first page from the tables of docs/performance.md.

Usage: python docs/generate.py [--check]

The options come from `uvicorn_worker.core.config.Config`, what becomes of Gunicorn's settings from
`uvicorn_worker.worker.settings`, the metrics from `uvicorn_worker.board.exposition`, the modules from the first line
of each. Each table stands between two comments in the page; the words around them are written by hand. With --check
nothing is written, and a page that is stale is an error.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from html import escape
from pathlib import Path
from typing import Any

from uvicorn_worker.board.exposition import samples
from uvicorn_worker.board.reading import BoardReading
from uvicorn_worker.cli.options import ALSO, GROUPS, MANY, NOT_ON_THE_LINE
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.figures import COUNTERS
from uvicorn_worker.core.uvicorn_names import MASTERS as UVICORN_MASTERS
from uvicorn_worker.worker.settings import HONOURED, MASTERS, NOT_OURS, REFUSED, ROWS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = Path(__file__).with_name("settings.md")
WORDS = Path(__file__).with_name("words.md")
COMMAND = Path(__file__).with_name("command.md")
FRAMEWORKS = Path(__file__).with_name("frameworks.md")
GRID = Path(__file__).parents[1] / "tests" / "grid" / "results.json"
INDEX = Path(__file__).with_name("index.md")
PERFORMANCE = Path(__file__).with_name("performance.md")
METRICS_PAGE = Path(__file__).with_name("metrics.md")
ARCHITECTURE = Path(__file__).parent / "design" / "architecture.md"
PACKAGE = Path(__file__).parent.parent / "uvicorn_worker"


def options_cards() -> Iterator[str]:
    """A card for each option, below the heading of its section, in the order of their definition.

    They are HTML, so that each has an address of its own (`settings.html#limit_request_body`).
    """
    section = ""
    words = {row.option: row.setting for row in ROWS}
    for item in fields(Config):
        if item.metadata["section"] != section:
            if section:
                yield "</dl>"
            section = item.metadata["section"]
            yield f"\n### {section}\n"
            yield '<dl class="settings">'
        facts = [f"allowed: {html(item.metadata['rule'].allowed)}"]
        if default := default_of(item):
            facts.insert(0, f"default: {html(default)}")
        if item.name in words:
            facts.append(f'Gunicorn: <a href="#gunicorn-{words[item.name]}"><code>{words[item.name]}</code></a>')
        facts.append(f"<code>UVICORN_{item.name.upper()}</code>")
        yield card(item.name, item.name, item.metadata["meaning"], facts)
    yield "</dl>"


def card(anchor: str, name: str, meaning: str, facts: list[str]) -> str:
    """One card: a name that is its own link, what it means, and a line of facts."""
    link = f'<a class="headerlink" href="#{anchor}" title="Link to {name}">¶</a>'
    term = f'<dt id="{anchor}"><code>{name}</code> {link}</dt>'
    listed = "".join(f"<li>{fact}</li> " for fact in facts)
    below = f'<ul class="facts">{listed.strip()}</ul>' if facts else ""
    return f"<div>{term}<dd><p>{html(meaning)}</p>{below}</dd></div>"


def html(text: str) -> str:
    """Text with code between backticks as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def masters_table() -> Iterator[str]:
    """uvicorn's names for what Gunicorn's master does."""
    yield "| uvicorn's name | Gunicorn's setting |"
    yield "|---|---|"
    for name, setting in UVICORN_MASTERS.items():
        yield f"| `{name}` | {f'`{setting}`' if setting else 'none'} |"


def command_table() -> Iterator[str]:
    """The options of the command: its own, and then those of the server core by their sections."""
    for title, group in GROUPS.items():
        yield f"\n### {title}\n"
        yield "| option | meaning |"
        yield "|---|---|"
        for own in group:
            words = ", ".join(own.words.split())
            value = "" if own.kind == "flag" else f" {own.metavar or ('NUMBER' if own.kind == 'int' else 'TEXT')}"
            yield f"| `{words}{value}` | {cell(own.meaning)} |"
    yield "\n### Of the server\n"
    yield "| option | in [Settings](settings.md) |"
    yield "|---|---|"
    for item in fields(Config):
        if item.name not in NOT_ON_THE_LINE:
            name = MANY.get(item.name, (f"--{item.name.replace('_', '-')}", ""))[0]
            also = "".join(f", `{other}`" for other in ALSO.get(item.name, ()))
            yield f"| `{name}`{also} | [`{item.name}`](settings.md#{item.name}) |"
            if item.name == "log_level":
                yield "| `--log-format text` or `json` | the lines of the log: text, or a JSON object for each |"


def default_of(item: Field[Any]) -> str:
    """The default of an option, with its unit where it is a number."""
    default = item.default if item.default_factory is MISSING else item.default_factory()
    if item.name == "app":
        return ""
    unit = item.metadata["unit"]
    number = isinstance(default, (int, float)) and not isinstance(default, bool)
    return f"`{default!r}` {unit}" if number and unit else f"`{default!r}`"


def settings_cards() -> Iterator[str]:
    """What becomes of each Gunicorn setting, in alphabetical order."""
    rows = {row.setting: f"option `{row.option}`" + (f"; {row.note}" if row.note else "") for row in ROWS}
    rows |= HONOURED
    rows |= dict.fromkeys(MASTERS, "Gunicorn's master sees to it")
    rows |= {setting: f"no effect: {why}" for setting, why in NOT_OURS.items()}
    for setting, fine, what_to_do in REFUSED:
        values = ", ".join(f"`{value!r}`" for value in fine if value is not None)
        rows[setting] = f"another value than {values} stops the start: {what_to_do}"
    yield '<dl class="settings">'
    for setting, what in sorted(rows.items()):
        # What is an option is told there.
        named = re.sub(r"^option `(\w+)`", r'option <a href="#\1">`\1`</a>', escape(what, quote=False))
        text = re.sub(r"`([^`]+)`", r"<code>\1</code>", named)
        yield card(f"gunicorn-{setting}", setting, "", []).replace("<p></p>", f"<p>{text}</p>")
    yield "</dl>"


def metrics_table() -> Iterator[str]:
    """What is scraped, in the order of a scrape."""
    yield "| metric | type | unit | labels | meaning |"
    yield "|---|---|---|---|---|"
    none = dict.fromkeys((each.name for each in COUNTERS), 0)
    nothing = BoardReading(master=0, up=0, wanted=0, workers=[], totals=none, served=0, p50=0, p90=0, p99=0)
    for metric, found in samples(nothing):
        labels = "; ".join(
            f"`{label}`: {values}" if values else f"`{label}`"
            for label in (*metric.labels, *(["le"] if metric.kind == "histogram" else []))
            for values in [", ".join(dict.fromkeys(each[label] for each, _ in found if label in each))]
        )
        labels = labels.replace(", inf", ", +Inf")
        yield f"| `{metric.full_name}` | {metric.kind} | {metric.unit} | {labels} | {cell(metric.meaning)} |"


def modules_tables() -> Iterator[str]:
    """Each module with the first line of what it says of itself, room by room, from below."""
    order = [
        "core", "board", "logs", "proxies", "tls", "interfaces", "http1", "http2", "websocket", "switching", "server",
        "worker", "master", "cli", "middleware", "lifespan", "loops", "protocols", "supervisors",
    ]  # fmt: skip
    found = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    rooms = sorted({path.parts[0] for path in found if len(path.parts) > 1}, key=order.index)
    for room in [*rooms, ""]:
        modules = [path for path in found if (path.parts[0] if len(path.parts) > 1 else "") == room]
        name = f"`{room}/`" if room else "Beside the rooms"
        yield f"\n### {name}\n"
        yield "| module | what it is |"
        yield "|---|---|"
        for path in modules:
            says = ast.get_docstring(ast.parse((PACKAGE / path).read_text("utf-8"))) or ""
            first = says.partition("\n")[0].rstrip(".")
            yield f"| `{path.relative_to(room) if room else path}` | {cell(first)} |"


def frameworks_table() -> Iterator[str]:
    """What was seen of each framework, all ways of serving it together."""
    seen = json.loads(GRID.read_text("utf-8"))["frameworks"]
    features = list(
        dict.fromkeys(feature for result in seen.values() for way in result["seen"].values() for feature in way)
    )
    yield f"| framework | versions | {' | '.join(features)} |"
    yield f"|---|---|{'---|' * len(features)}"
    for name, result in seen.items():
        words = [_together([way.get(feature, "") for way in result["seen"].values()]) for feature in features]
        yield f"| {name} | {_versions(result)} | {' | '.join(words)} |"


def frameworks_notes() -> Iterator[str]:
    """What is to be said of some of them, and what does not work, in the words of the test."""
    for name, result in json.loads(GRID.read_text("utf-8"))["frameworks"].items():
        failed = [
            f"{feature} ({way}): {word}"
            for way, words in result["seen"].items()
            for feature, word in words.items()
            if word.startswith("no")
        ]
        if result["note"] or failed:
            yield f"- {name}: {' '.join([result['note'], *failed]).strip()}"


def tools_table() -> Iterator[str]:
    """What was seen of each tool of operation."""
    yield "| tool | versions | what it needs | works |"
    yield "|---|---|---|---|"
    for name, result in json.loads(GRID.read_text("utf-8"))["tools"].items():
        yield f"| {name} | {_versions(result)} | {cell(result['needs'])} | {cell(result['seen']['tool'][''])} |"


def _together(words: list[str]) -> str:
    """One word for all ways: the worst of them."""
    if any(word.startswith("no") for word in words):
        return "**no**"
    return next((word for word in words if word not in ("yes", "")), "yes" if any(words) else "–")  # noqa: RUF001


def _versions(result: dict[str, Any]) -> str:
    packages = [f"{name} {version}" for name, version in result["versions"].items() if name != "gunicorn"]
    return ", ".join(packages[:2]) or f"Python {result['python']}"


def words_page() -> str:
    """The page of other servers' options, from docs/words.toml."""
    lines = [
        "# Words of other servers",
        "",
        "What the options of other servers' commands are called here: a setting of Gunicorn's, or an option. Made by",
        "docs/generate.py from docs/words.toml. For Gunicorn's `-k asgi` the words are Gunicorn's own:",
        "[Settings and options](settings.md) says what becomes of each.",
    ]
    for server, table in tomllib.loads(WORDS.with_suffix(".toml").read_text("utf-8")).items():
        lines += ["", f"## {server} {table['version']}", "", f"| {server} | here |", "|---|---|"]
        lines += [f"| `--{option}` | {cell(text)} |" for option, text in table["options"].items()]
    return "\n".join(lines) + "\n"


def measured(section: str, server: str) -> list[str]:
    """The cells behind the first server's name that begins so, in a scenario's table of docs/performance.md."""
    below = PERFORMANCE.read_text("utf-8").partition(f"\n### {section}: ")[2].partition("\n#")[0]
    for line in below.splitlines():
        if line.startswith(f"| {server}"):
            return [each.strip() for each in line.strip("|").split("|")][1:]
    raise SystemExit(f"{PERFORMANCE} has no row of {server} in {section}")


def numbers_table() -> Iterator[str]:
    """The three numbers of the first page, as they stand on the page that they lead to."""
    cpu = {name: measured("get", name)[1] for name in ("this project", "uvicorn-worker", "Gunicorn")}
    rates = [round(float(measured("h2-get", name)[0].replace(",", "")), -3) for name in ("this project", "Granian")]
    memory = re.search(r"An idle keep-alive connection takes about ([\d,]+) bytes", PERFORMANCE.read_text("utf-8"))
    if memory is None:
        raise SystemExit(f"{PERFORMANCE} does not say what an idle connection takes")
    get = "get-get-13-bytes-of-text-host-header-only"
    h2 = "h2-get-http2-get-13-bytes-of-text-8-connections-with-16-streams-each"
    yield "| | | |"
    yield "|---|---|---|"
    yield (
        f"| **{cpu['this project']} µs** | of CPU for a small request, where uvicorn's worker takes "
        f"{cpu['uvicorn-worker']} and Gunicorn's own {cpu['Gunicorn']} | [HTTP/1.1](performance.md#{get}) |"
    )
    yield (
        f"| **{rates[0]:,.0f}** | small requests a second over HTTP/2, on one core; Granian answers {rates[1]:,.0f} "
        f"| [HTTP/2](performance.md#{h2}) |"
    )
    yield f"| **{memory[1]} bytes** | for an idle connection | [Memory](performance.md#memory) |"


def cell(text: str) -> str:
    """`text` as a cell of a table takes it."""
    return text.replace("|", "\\|")


def page_with(page: str, path: Path, **tables: Iterator[str]) -> str:
    """The page with each table in its place."""
    for name, lines in tables.items():
        text = "\n".join(lines).strip("\n")
        pattern = rf"(<!-- {name}: made by docs/generate.py -->\n).*?(<!-- end of {name} -->)"
        page, found = re.subn(pattern, lambda match: f"{match[1]}\n{text}\n\n{match[2]}", page, flags=re.DOTALL)  # noqa: B023 - called at once
        if found != 1:
            raise SystemExit(f"{path} has no place for the table {name}")
    return page


def made_pages() -> Iterator[tuple[Path, str]]:
    """Each page, as it is to be."""
    tables: dict[Path, dict[str, Iterator[str]]] = {
        PAGE: {"masters": masters_table(), "options": options_cards(), "settings": settings_cards()},
        COMMAND: {"command": command_table()},
        INDEX: {"numbers": numbers_table()},
        METRICS_PAGE: {"metrics": metrics_table()},
        ARCHITECTURE: {"modules": modules_tables()},
        FRAMEWORKS: {"frameworks": frameworks_table(), "notes": frameworks_notes(), "tools": tools_table()},
    }
    for path, named in tables.items():
        yield path, page_with(path.read_text("utf-8"), path, **named)
    yield WORDS, words_page()


def main() -> None:
    for path, text in made_pages():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, "utf-8")
        elif path.read_text("utf-8") != text:
            raise SystemExit(f"{path} is stale: run 'make docs', and commit it")


if __name__ == "__main__":
    main()
