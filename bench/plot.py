"""The comparison as a picture (SVG): a panel for each figure, a bar for each subject."""

from html import escape
from typing import Any

from bench.table import medians

PANELS = (
    ("CPU µs/task", "CPU of the process, µs a task", "less is better"),
    ("tasks/s", "burst, tasks a second", "more is better"),
    ("steady p50 ms", "p50 at 50 a second, ms", "less is better"),
    ("steady p99 ms", "p99 at 50 a second, ms", "less is better"),
)
COLOURS = ("#9aa5b1", "#c39b62", "#6f9fd8", "#1f5fa8")
WIDTH, PANEL, BAR, LEFT, RIGHT = 760, 150, 22, 140, 90


def plot(rows: list[dict[str, Any]]) -> str:
    """The medians as bars, and each round as a tick on them."""
    height = PANEL * len(PANELS) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, (column, title, better) in enumerate(PANELS):
        parts += _panel(rows, column, f"{title} ({better})", number * PANEL + 24)
    return "\n".join([*parts, "</svg>\n"])


def _panel(rows: list[dict[str, Any]], column: str, title: str, top: int) -> list[str]:
    found = medians(rows)
    most = max(row[column] for row in rows)
    scale = (WIDTH - LEFT - RIGHT) / most
    parts = [f'<text x="{LEFT}" y="{top}" font-weight="bold">{escape(title)}</text>']
    for place, row in enumerate(found):
        y = top + 10 + place * (BAR + 5)
        value = float(row[column])  # type: ignore[arg-type]
        middle = y + BAR / 2
        parts += [
            f'<text x="{LEFT - 8}" y="{middle + 4:.0f}" text-anchor="end">'
            f"{escape(str(row['subject']))}</text>",
            f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR}"'
            f' fill="{COLOURS[place % len(COLOURS)]}"/>',
        ]
        rounds = [each[column] for each in rows if each["subject"] == row["subject"]]
        parts += [
            f'<line x1="{LEFT + each * scale:.1f}" x2="{LEFT + each * scale:.1f}" y1="{y + 4}"'
            f' y2="{y + BAR - 4}" stroke="#222"/>'
            for each in rounds
        ]
        end = LEFT + max(*rounds, value) * scale + 6
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
        parts.append(f'<text x="{end:.0f}" y="{middle + 4:.0f}">{shown}</text>')
    return parts
