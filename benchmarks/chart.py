"""The bar chart of the CPU figures, as an SVG written by hand."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from figures import Row
from traffic import Headers

TEMPLATE = Path(__file__).with_name("templates") / "chart.svg"
WIDTH, LEFT, RIGHT = 900, 236, 74
TOP, BAR, BETWEEN, GROUP = 92, 13, 12, 40
COLOURS = {  # (ours, constant) and so on; both stand out on the light background in either theme
    (True, Headers.CONSTANT): "#6d28d9",
    (True, Headers.CHANGING): "#a78bfa",
    (False, Headers.CONSTANT): "#4b5563",
    (False, Headers.CHANGING): "#a8b0bc",
}


def chart(tables: Mapping[Headers, Sequence[Row]], mirrors: set[str]) -> str:
    """Two bars for each proxy, one for each kind of client; plain proxies first, then those that mirror."""
    cpu = {headers: {row.target: row.cpu_us for row in some} for headers, some in tables.items()}
    targets = [row.target for row in tables[Headers.CONSTANT]]
    most = max(value for some in cpu.values() for value in some.values())
    scale = (WIDTH - LEFT - RIGHT) / most
    parts, y = [], TOP
    for title, group in (
        ("without mirror", [name for name in targets if name not in mirrors]),
        ("every request mirrored", [name for name in targets if name in mirrors]),
    ):
        parts.append(f'<text x="28" y="{y + 14}" font-weight="600" fill="#6b7280">{title}</text>')
        y += 28
        for name in group:
            parts += _bars(name, y, {headers: some[name] for headers, some in cpu.items()}, scale)
            y += 2 * BAR + BETWEEN
        y += GROUP - 28
    return _frame(parts, height=y + 4, bottom=y - 8)


def _bars(name: str, y: int, values: Mapping[Headers, float], scale: float) -> list[str]:
    is_ours = name.startswith("understudy")
    weight = ' font-weight="700"' if is_ours else ""
    parts = [f'<text x="{LEFT - 12}" y="{y + BAR + 5}" text-anchor="end"{weight}>{escape(name)}</text>']
    for place, (headers, value) in enumerate(values.items()):
        top, width, colour = y + place * BAR, value * scale, COLOURS[is_ours, headers]
        parts.append(
            f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR - 1}" rx="2" fill="{colour}">'
            f"<title>{escape(name)}, {headers} headers: {value:.1f} µs</title></rect>"
        )
        parts.append(
            f'<text x="{LEFT + width + 7:.1f}" y="{top + 10}" font-size="11.5" fill="#374151">'
            f"{value:.1f}</text>"
        )
    return parts


def _frame(parts: Sequence[str], *, height: int, bottom: int) -> str:
    legend = "".join(
        f'<rect x="{x}" y="54" width="12" height="12" rx="2" fill="{COLOURS[True, headers]}"/>'
        f'<rect x="{x + 14}" y="54" width="12" height="12" rx="2" fill="{COLOURS[False, headers]}"/>'
        f'<text x="{x + 34}" y="64.5" font-size="12.5" fill="#374151">{text}</text>'
        for x, headers, text in (
            (LEFT, Headers.CONSTANT, "the same headers on every request"),
            (LEFT + 290, Headers.CHANGING, "a header that changes every time"),
        )
    )
    values = {
        "width": WIDTH,
        "height": height,
        "left": LEFT,
        "top": TOP - 6,
        "bottom": bottom,
        "middle": LEFT + 30,
        "legend": legend,
        "bars": "\n  ".join(parts),
    }
    return Template(TEMPLATE.read_text()).substitute(values)
