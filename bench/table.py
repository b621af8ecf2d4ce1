"""Rows as Markdown: medians of the rounds, and ratios against the baselines."""

from statistics import median

Row = dict[str, object]
_NAMES = (
    "subject",
    "client",
    "pollers",
    "in flight",
    "instances",
    "window",
    "input",
    "tasks",
    "deadlines",
)
"""Columns that say what a row is about; rows that agree in them are rounds of the same."""


def medians(rows: list[Row]) -> list[Row]:
    """One row for each thing that was measured, with the median of its rounds."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in _NAMES), []).append(row)
    return [_median(group) for group in groups.values()]


def _median(group: list[Row]) -> Row:
    found: Row = {name: value for name, value in group[0].items() if name in _NAMES}
    for column in dict.fromkeys(column for row in group for column in row):
        if column not in (*_NAMES, "round"):
            found[column] = median(_number(row[column]) for row in group if column in row)
    return found


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def table(name: str, rows: list[Row]) -> str:
    """A part's medians; where there are many columns, one line for each of them instead."""
    found = medians(rows)
    columns = list(dict.fromkeys(column for row in found for column in row))
    grid = [columns, *([_text(row.get(column)) for column in columns] for row in found)]
    if len(columns) > 6:
        grid = [list(line) for line in zip(*grid, strict=True)]
    lines = [f"| {' | '.join(line)} |" for line in grid]
    lines.insert(1, "|" + " --- |" * len(grid[0]))
    return f"### {name}\n\n" + "\n".join(lines)


def _text(value: object) -> str:
    if not isinstance(value, float):
        return "" if value is None else f"{value}"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def goals(found: dict[str, list[Row]]) -> str:
    """The goals, and what was reached."""
    sides = {str(row["subject"]): row for row in medians(found["sides"])}
    lines = ["### goals", "", "| figure | goal | measured |", "| --- | --- | --- |"]
    for column, against, sign, goal in (
        ("CPU µs/task", "bare boto3 loop", "≤", 0.20),
        ("tasks/s", "afternoon bridge", "≥", 5.0),
        ("steady p50 ms", "afternoon bridge", "≤", 0.6),
        ("steady p99 ms", "afternoon bridge", "≤", 0.6),
    ):
        ours, theirs = sides.get("bridge, curl"), sides.get(against)
        if ours and theirs:
            ratio = _number(ours[column]) / _number(theirs[column])
            lines.append(f"| {column} | {sign} {goal:g} × {against} | {ratio:.2f} |")
    if ours := sides.get("bridge, curl"):
        lines.append(f"| start to first poll | ≤ 1.0 s | {_number(ours['first poll s']):.2f} |")
    if helped := medians(found.get("help", [])):
        lines.append(f"| --help | ≤ 0.15 s | {_number(helped[0]['--help s']):.2f} |")
    lines += [
        f"| 1,000 idle pollers | ≤ 120 MB, ≤ 0.5 % of a core |"
        f" {_number(row['memory MB']):.0f} MB, {_number(row['idle % of a core']):.2f} % |"
        for row in found.get("pollers", [])
        if (row["client"], row["pollers"]) == ("curl", 1000)
    ]
    if memory := [_number(row["memory MB"]) for row in found.get("memory", [])]:
        grown = max(memory) - memory[0]
        lines.append(f"| memory, 4,000 to 20,000 tasks | ≤ 12 MB more | {grown:.1f} MB |")
    if len(shared := medians(found.get("windows", []))) == 2:
        ratios = [
            _number(shared[1][column]) / _number(shared[0][column])
            for column in ("tasks/s", "+30 ms tasks/s")
        ]
        lines.append(
            f"| 2 bridges with windows of 20 | ≥ 0.9 × 1 with a window of 40 |"
            f" {ratios[0]:.2f}; at 30 ms from SWF {ratios[1]:.2f} |"
        )
    flight = {row["in flight"]: row for row in found.get("in-flight", [])}
    if 100 in flight:
        most = max(flight, key=_number)
        ratio = _number(flight[most]["CPU µs/task"]) / _number(flight[100]["CPU µs/task"])
        restart = _number(flight[most]["restart s"])
        lines.append(
            f"| {most:,} in flight | CPU ≤ 1.3 × that at 100; restart ≤ 5 s |"
            f" {ratio:.2f}; {restart:.1f} s |"
        )
    return "\n".join(lines)
