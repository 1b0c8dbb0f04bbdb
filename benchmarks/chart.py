"""A bar chart as an SVG written by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate
from math import log10
from pathlib import Path
from string import Template

TEMPLATE = Path(__file__).with_name("templates") / "chart.svg"
WIDTH, LEFT, RIGHT = 900, 250, 84
TOP, BAR, BETWEEN, HEADING, GROUP = 106, 13, 10, 28, 12
CHARACTER, SWATCHES, APART = 6.3, 34, 24
"""Of the legend, in pixels: about a letter's width, the coloured squares, and the room between entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One kind of bar; ours and others have a colour each."""

    label: str
    ours: str
    others: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """One name with a value for each series, None where there is none."""

    name: str
    values: Sequence[float | None]

    @property
    def is_ours(self) -> bool:
        """Ours stand out."""
        return self.name.startswith("understudy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Groups of bars. Longer than *most* is cut, and says so; with *least*, the scale is logarithmic."""

    title: str
    subtitle: str
    unit: str
    series: Sequence[Series]
    groups: Sequence[tuple[str, Sequence[Bars]]]
    most: float
    least: float = 0.0
    digits: int = 1

    def svg(self) -> str:
        """The whole picture."""
        parts, y = [], TOP
        for title, some in self.groups:
            if title:
                parts.append(
                    f'<text x="28" y="{y + 14}" font-weight="600" fill="#6b7280">{escape(title)}</text>'
                )
                y += HEADING
            top = y - BETWEEN // 2
            for bars in some:
                parts += self._bars(bars, y)
                y += BAR * sum(value is not None for value in bars.values) + BETWEEN
            parts.append(f'<path d="M{LEFT} {top}V{y - BETWEEN // 2}" stroke="#9ca3af" stroke-width="1"/>')
            y += GROUP
        values = {
            "title": escape(self.title),
            "subtitle": escape(self.subtitle),
            "width": WIDTH,
            "height": y + 4,
            "legend": self._legend(),
            "bars": "\n  ".join(parts),
        }
        return Template(TEMPLATE.read_text()).substitute(values)

    def _bars(self, bars: Bars, y: int) -> list[str]:
        there = [
            (series, value)
            for series, value in zip(self.series, bars.values, strict=True)
            if value is not None
        ]
        middle = y + BAR * len(there) / 2 + 4.5
        weight = ' font-weight="700"' if bars.is_ours else ""
        name = escape(bars.name)
        parts = [f'<text x="{LEFT - 12}" y="{middle:.1f}" text-anchor="end"{weight}>{name}</text>']
        for place, (series, value) in enumerate(there):
            top, width = y + place * BAR, self._width(value)
            said = f"{value:,.{self.digits}f}"
            parts.append(
                f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR - 1}" rx="2" '
                f'fill="{series.ours if bars.is_ours else series.others}">'
                f"<title>{name}, {escape(series.label)}: {said} {self.unit}</title></rect>"
            )
            parts.append(
                f'<text x="{LEFT + width + 7:.1f}" y="{top + 10}" font-size="11.5" fill="#374151">'
                f"{said}{' ▸' if value > self.most else ''}</text>"
            )
        return parts

    def _width(self, value: float) -> float:
        value = min(value, self.most)
        share = value / self.most
        if self.least:
            share = log10(max(value, self.least) / self.least) / log10(self.most / self.least)
        return share * (WIDTH - LEFT - RIGHT)

    def _legend(self) -> str:
        if len(self.series) == 1:
            return ""
        widths = [SWATCHES + CHARACTER * len(series.label) + APART for series in self.series]
        return "".join(
            f'<rect x="{x:.0f}" y="72" width="12" height="12" rx="2" fill="{series.ours}"/>'
            f'<rect x="{x + 14:.0f}" y="72" width="12" height="12" rx="2" fill="{series.others}"/>'
            f'<text x="{x + 32:.0f}" y="82.5" font-size="12.5" fill="#374151">{escape(series.label)}</text>'
            for x, series in zip(accumulate(widths, initial=28.0), self.series, strict=False)
        )
