#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""The output of bench_recovery as a plot.

usage: recovery_plot.py <OUTPUT >PLOT.svg

Reads the lines "link: TEXT", "undisturbed: MBIT ..." and "table: RTT NAME..." followed by
"table: NUMBER MBIT..."; the rest is not looked at. Exit status 1 if they do not make a table.
"""

import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 900, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 90
# Told apart without colours as well.
STYLES = (
    ("#888888", "none"),
    ("#8c564b", "1 3"),
    ("#d62728", "8 4"),
    ("#1f77b4", "none"),
    ("#2ca02c", "3 3"),
    ("#9467bd", "10 3 2 3"),
)
Point = tuple[int, float]


def read(lines: list[str]) -> tuple[str, float, dict[str, list[Point]]]:
    """Title, undisturbed goodput, and points by name."""
    title, undisturbed = "", 0.0
    names: list[str] = []
    curves: dict[str, list[Point]] = {}
    for line in lines:
        kind, _, rest = line.strip().partition(": ")
        words = rest.split()
        if kind == "link":
            title = rest
        elif kind == "undisturbed":
            undisturbed = float(words[0])
        elif kind == "table" and not names:
            names = words[1:]
            curves = {name: [] for name in names}
        elif kind == "table":
            if len(words) != len(names) + 1:
                raise ValueError(f"a row of {len(words)} columns: {line}")
            for name, value in zip(names, words[1:]):
                curves[name].append((int(words[0]), float(value)))
    if not undisturbed or not names or not all(curves.values()):
        raise ValueError("no table of goodput")
    if len(names) > len(STYLES):
        raise ValueError(f"{len(names)} curves, and lines for {len(STYLES)}")
    return title, undisturbed, curves


def draw(title: str, undisturbed: float, curves: dict[str, list[Point]]) -> list[str]:
    """The lines of the SVG file."""
    rtts = [rtt for rtt, _ in next(iter(curves.values()))]
    top = 1.15 * max(undisturbed, *(value for points in curves.values() for _, value in points))
    step = (WIDTH - LEFT - RIGHT) / max(len(rtts) - 1, 1)

    def x_of(rtt: int) -> float:
        return LEFT + rtts.index(rtt) * step

    def y_of(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)

    def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'

    def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
        return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(WIDTH / 2, 25, title),
        text(LEFT, TOP - 8, "Mbit/s", "end"),
        text(WIDTH / 2, HEIGHT - BOTTOM + 38, "round trips after the move; 1 begins when the new socket may send"),
    ]
    ticks = 5
    for i in range(ticks + 1):
        value = top * i / ticks
        out.append(line(LEFT, y_of(value), WIDTH - RIGHT, y_of(value), 'stroke="#dddddd"'))
        out.append(text(LEFT - 8, y_of(value) + 4, f"{value:.0f}", "end"))
    for rtt in rtts:
        out.append(text(x_of(rtt), HEIGHT - BOTTOM + 18, str(rtt)))
    goal = y_of(0.9 * undisturbed)
    out.append(line(LEFT, goal, WIDTH - RIGHT, goal, 'stroke="#ff7f0e" stroke-width="1"'))
    out.append(text(WIDTH - RIGHT, goal - 4, "90 % of undisturbed", "end"))
    if 1 in rtts and rtts.index(1) > 0:
        moved = x_of(1) - step / 2
        out.append(line(moved, TOP, moved, HEIGHT - BOTTOM, 'stroke="#000000" stroke-dasharray="2 2"'))
    for (name, points), (colour, dashes), i in zip(curves.items(), STYLES, range(len(STYLES))):
        style = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        path = " ".join(f"{x_of(rtt):.1f},{y_of(value):.1f}" for rtt, value in points)
        out.append(f'<polyline fill="none" {style} points="{path}"/>')
        at = LEFT + i * (WIDTH - LEFT - RIGHT) / len(STYLES)
        out.append(line(at, HEIGHT - 22, at + 40, HEIGHT - 22, style))
        out.append(text(at + 46, HEIGHT - 18, name, "start"))
    out.append("</svg>")
    return out


def main() -> int:
    try:
        print("\n".join(draw(*read(sys.stdin.readlines()))))
    except ValueError as error:
        print(f"recovery_plot.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
