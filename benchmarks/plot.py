"""Small charts as SVG, to be put into a page of the documentation: its colours are theirs, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

__all__ = ["bars", "lines"]

Series = tuple[str, Sequence[tuple[float, float]]]

# Readable on white and on black; the first is ours.
_COLOURS = ("#3f7fd6", "#c4701c", "#2f9e6e", "#b0569f", "#8a7d2f", "#7a6fd0")
_WIDTH = 640
_TEXT = 'fill="currentColor" font-size="12.5" font-family="sans-serif"'


def bars(title: str, unit: str, rows: Sequence[tuple[str, float]], *, ours: str = "this project") -> str:
    """Horizontal bars, one for each row of name and value; those of `ours` stand out."""
    height, left, top = 26, 250, 34
    most = max(value for _, value in rows)
    scale = (_WIDTH - left - 80) / most
    parts = [_title(title)]
    for at, (name, value) in enumerate(rows):
        y = top + at * height
        mine = name.startswith(ours)
        colour = _COLOURS[0] if mine else "currentColor"
        opacity = "" if mine else ' opacity="0.35"'
        weight = ' font-weight="bold"' if mine else ""
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end" {_TEXT}{weight}>{escape(name)}</text>')
        width = max(value * scale, 1)
        parts.append(f'<rect x="{left}" y="{y + 3}" width="{width:.1f}" height="17" fill="{colour}"{opacity}/>')
        parts.append(
            f'<text x="{left + width + 6:.1f}" y="{y + 16}" {_TEXT}{weight}>{_number(value)} {escape(unit)}</text>'
        )
    return _svg(top + len(rows) * height + 8, title, parts)


def lines(title: str, x_name: str, y_name: str, series: Sequence[Series], *, log_x: bool = True) -> str:
    """A line for each series of points; `log_x`: the same distance for each doubling."""
    left, right, top, bottom = 66, 150, 58, 300
    xs = sorted({x for _, points in series for x, _ in points})
    low, high = (math.log2(xs[0]), math.log2(xs[-1])) if log_x else (xs[0], xs[-1])
    most = _nice(max(y for _, points in series for _, y in points))

    def at_x(x: float) -> float:
        return left + ((math.log2(x) if log_x else x) - low) / (high - low) * (_WIDTH - left - right)

    def at_y(y: float) -> float:
        return bottom - y / most * (bottom - top)

    parts = [_title(title)]
    for step in range(5):
        y = most * step / 4
        parts.append(
            f'<line x1="{left}" x2="{_WIDTH - right}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" stroke="currentColor" '
            f'opacity="0.2"/><text x="{left - 8}" y="{at_y(y) + 4:.1f}" text-anchor="end" {_TEXT}>{_number(y)}</text>'
        )
    parts += [f'<text x="{at_x(x):.1f}" y="{bottom + 20}" text-anchor="middle" {_TEXT}>{_number(x)}</text>' for x in xs]
    middle = (left + _WIDTH - right) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 42}" text-anchor="middle" {_TEXT}>{escape(x_name)}</text>')
    parts.append(f'<text x="8" y="{top - 16}" {_TEXT}>{escape(y_name)}</text>')
    ends: list[float] = []
    for (name, points), colour in zip(series, _COLOURS, strict=False):
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        y = at_y(points[-1][1])
        while any(abs(y - other) < 16 for other in ends):
            y -= 16
        ends.append(y)
        label = f'<tspan fill="{colour}">{escape(name)}</tspan>'
        parts.append(f'<text x="{at_x(points[-1][0]) + 10:.1f}" y="{y + 4:.1f}" {_TEXT}>{label}</text>')
    return _svg(bottom + 52, title, parts)


def _svg(height: int, title: str, parts: list[str]) -> str:
    box = f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    return "\n".join(["<figure>", head, *parts, "</svg>", "</figure>"]) + "\n"


def _title(text: str) -> str:
    return f'<text x="8" y="18" font-weight="bold" {_TEXT}>{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 or value == int(value) else f"{value:.1f}"


def _nice(value: float) -> float:
    """The next round number at or above."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8, 10) if step * power >= value)
