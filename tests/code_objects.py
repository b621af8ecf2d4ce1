"""What the interpreter holds of the package: names and texts, without reading its source anew."""

import importlib.util
import pkgutil
from collections.abc import Iterator
from types import CodeType, ModuleType


def modules(package: ModuleType) -> Iterator[tuple[str, CodeType]]:
    """Every module of a package by its dotted name, as it was compiled; none is run."""
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        spec = importlib.util.find_spec(info.name)
        assert spec is not None
        code = spec.loader.get_code(info.name)  # type: ignore[union-attr]
        yield info.name, code


def within(code: CodeType) -> Iterator[CodeType]:
    """The code itself, and that of every class and function in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from within(constant)


def texts(code: CodeType) -> set[str]:
    """Every text that stands in the code as a constant."""
    return {text for each in within(code) for text in _texts(each.co_consts)}


def _texts(constants: object) -> Iterator[str]:
    if isinstance(constants, str):
        yield constants
    elif isinstance(constants, tuple | frozenset):
        for each in constants:
            yield from _texts(each)
