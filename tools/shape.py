"""The shape of the package, counted from its imports: `make shape`.

Rooms are the packages in `bridge` and the modules beside them, folders the packages at any depth.
An arrow is a room that imports from another, a floor is a step of the longest chain of arrows, and
a circle is a set of modules that reach each other by imports. Imports for type checkers alone count
too: they are read, if not run.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LONG = 350
"""Lines that no file should have more of."""

Graph = Mapping[str, set[str]]


def modules(package: Path) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules of the package that a file names in an import, wherever in it that stands."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            named = [each if each in known else node.module for each in named]
        else:
            continue
        yield from (each for each in named if each in known)


def room(module: str) -> str:
    """The room in which a module is."""
    return module.split(".")[1] if "." in module else module


def circles(graph: Graph) -> list[set[str]]:
    """The sets of nodes that reach each other (strongly connected components of two and more)."""
    reach = {node: _reached(graph, node) for node in graph}
    found: list[set[str]] = []
    for node in graph:
        together = {other for other in reach[node] if node in reach.get(other, set())}
        if len(together) > 1 and together not in found:
            found.append(together)
    return found


def _reached(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        for each in graph.get(left.pop(), set()) - found:
            found.add(each)
            left.append(each)
    return found


def floors(graph: Graph) -> int:
    """The rooms of the longest chain in which each imports the next; 0 where there is a circle."""
    height: dict[str, int] = {}
    try:
        for node in TopologicalSorter(graph).static_order():
            height[node] = 1 + max((height[below] for below in graph.get(node, ())), default=0)
    except CycleError:
        return 0
    return max(height.values(), default=0)


def main(package: Path) -> int:
    """Print the figures; 1 where there is a circle or a file that is too long."""
    files = modules(package)
    by_module = {name: set(imports(file, files)) - {name} for name, file in files.items()}
    by_room: dict[str, set[str]] = {}
    for name, imported in by_module.items():
        if name != package.name:
            by_room.setdefault(room(name), set()).update(map(room, imported - {package.name}))
    for name, below in by_room.items():
        below.discard(name)
    lines = {file: file.read_text().count("\n") for file in files.values()}
    long = {file: count for file, count in lines.items() if count > LONG}
    rounds = [*circles(by_room), *circles(by_module)]
    print(f"{len(files)} modules of {sum(lines.values())} lines in {len(by_room)} rooms")
    print(f"{sum(map(len, by_room.values()))} arrows between rooms on {floors(by_room)} floors")
    print(f"{sum(map(len, by_module.values()))} imports between modules")
    print(f"{len([*package.glob('*.py')])} modules at the top")
    folders = Counter(file.parent for file in files.values() if file.name != "__init__.py")
    print(f"{len(folders)} folders, of {max(folders.values())} modules at most")
    for each in rounds:
        print(f"circle: {' '.join(sorted(each))}")
    for file, count in long.items():
        print(f"over {LONG} lines: {file.relative_to(package.parent)} {count}")
    return 1 if rounds or long else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "bridge"))
