"""A bar chart as SVG: one bar per figure, and a mark at what is aimed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "chart"]

ROW, BAR, LABEL, SCALE, MARGIN = 24, 14, 290, 420, 16
GOOD, BAD, PLAIN, INK, GRID = "#2f855a", "#c05621", "#718096", "#1a202c", "#cbd5e0"


@dataclass(frozen=True)
class Bar:
    """One figure; `aim` None: shown for comparison."""

    label: str
    value: float
    aim: float | None = None

    @property
    def colour(self) -> str:
        if self.aim is None:
            return PLAIN
        return GOOD if self.value <= self.aim else BAD


def chart(title: str, bars: Sequence[Bar], longest: float) -> str:
    """Draw the bars below each other; those longer than `longest` are cut, with their number beside."""
    height = MARGIN * 2 + ROW * (len(bars) + 2)
    width = LABEL + SCALE + 90
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="{MARGIN + 10}" font-size="14">{escape(title)}</text>',
    ]
    top = MARGIN + ROW
    one = LABEL + SCALE / longest
    bottom = top + ROW * len(bars)
    parts.append(f'<line x1="{one:.1f}" y1="{top}" x2="{one:.1f}" y2="{bottom}" stroke="{GRID}"/>')
    for number, bar in enumerate(bars):
        parts += _bar(bar, top + ROW * number, longest)
    legend = "The line stands at 1, the yardstick itself; the mark on a bar is the most it may be."
    parts.append(f'<text x="{MARGIN}" y="{bottom + ROW}" fill="{PLAIN}">{legend}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _bar(bar: Bar, y: int, longest: float) -> list[str]:
    length = SCALE * min(bar.value, longest) / longest
    middle = y + BAR / 2 + 4
    parts = [
        f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{bar.colour}"/>',
        f'<text x="{LABEL + length + 6:.1f}" y="{middle}">{bar.value:.2f}</text>',
    ]
    if bar.aim is not None:
        x = LABEL + SCALE * min(bar.aim, longest) / longest
        parts.append(
            f'<line x1="{x:.1f}" y1="{y - 3}" x2="{x:.1f}" y2="{y + BAR + 3}" stroke="{INK}" stroke-width="2"/>'
        )
    return parts
