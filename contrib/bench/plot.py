"""A growth plot as SVG: seconds against topics, both logarithmic, a line for each contender."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 560, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 90, 40, 44
COLOURS = {"clm": "#0b6e4f", "limit": "#888888", "stat": "#bbbbbb", "ninja": "#3366aa", "CLM": "#c0392b"}


def growth(title: str, series: dict[str, list[tuple[float, float]]]) -> str:
    """The plot of some series of (topics, seconds)."""
    points = [point for line in series.values() for point in line]
    # A little room, so that no point lies on an edge.
    left, right = math.log10(min(x for x, _ in points)) - 0.08, math.log10(max(x for x, _ in points)) + 0.08
    low, high = math.floor(math.log10(min(y for _, y in points))), math.ceil(math.log10(max(y for _, y in points)))
    high = max(high, low + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - left) / (right - left)
        up = (math.log10(y) - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        _, y = at(10**left, 10**power)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    for topics in sorted({x for x, _ in points}):
        x, _ = at(topics, 10**low)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{topics:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">topics</text>')
    ends: list[float] = []
    for name, line in sorted(series.items(), key=lambda item: item[1][-1][1]):
        places = [at(x, y) for x, y in line]
        colour = COLOURS.get(name, "#000000")
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        # Names one above the other, where lines end near one another.
        end = places[-1][1]
        while any(abs(end - other) < 13 for other in ends):
            end -= 1
        ends.append(end)
        parts.append(f'<text x="{places[-1][0] + 8:.1f}" y="{end + 4:.1f}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])
