"""Run by test_sentry_modules: breaks something in each module of the daemon, and logs that.

Prints one JSON object: by module, the function that broke. What is secret comes by the environment,
for Sentry shows lines of source.
"""

import importlib
import inspect
import json
import logging
import os
import pkgutil
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import bridge
from bridge.telemetry.logs import configure_logging
from bridge.telemetry.redact import register_secret
from bridge.telemetry.sentry import flush, process_span, publish_span, start_sentry, task_scope

GIVEN = json.loads(os.environ["GIVEN"])
log = logging.getLogger("bridge.provoked")


class Provoked(Exception):
    """What a bomb raises; its text quotes all that must never be sent."""


def explode(*_: object, **__: object) -> Any:
    task = {"taskToken": GIVEN["token"], "input": GIVEN["input"], "result": GIVEN["result"]}
    headers = {"swf-task-token": GIVEN["token"], "details": GIVEN["input"]}
    reply = json.dumps({**task, "details": {"deep": [GIVEN["result"]]}})
    raise Provoked(
        f"cannot use {task!r}, {headers!r}, {reply}, {reply.encode()!r}, {json.dumps(reply)},"
        f" {GIVEN['url']} or {GIVEN['token']}: Value '{GIVEN['result']}' at 'result' failed"
    )


class Bomb:
    """Whatever is done with it raises."""

    def __getattr__(self, _name: str) -> Any:
        explode()

    __call__ = __iter__ = __len__ = __bool__ = __enter__ = __exit__ = __getitem__ = __setitem__ = (
        explode
    )
    __contains__ = __str__ = __repr__ = __bytes__ = __hash__ = __eq__ = __lt__ = __le__ = explode
    __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __or__ = __and__ = explode
    __mul__ = __mod__ = __int__ = __float__ = __index__ = __fspath__ = __format__ = explode
    __await__ = __next__ = explode


def callables(module: types.ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions of a module and the methods of its classes, to be called without an object."""
    for name, found in sorted(vars(module).items()):
        if getattr(found, "__module__", "") != module.__name__:
            continue
        if inspect.isfunction(found):
            yield name, inspect.unwrap(found)
        elif inspect.isclass(found):
            for method, member in sorted(vars(found).items()):
                function = getattr(member, "__func__", None) or getattr(member, "fget", member)
                if inspect.isfunction(function):
                    yield f"{name}.{method}", inspect.unwrap(function)


def call(function: Callable[..., Any]) -> None:
    """Call it with bombs for all that it wants, and begin what it returns."""
    given: list[Bomb] = []
    named: dict[str, Bomb] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = Bomb()
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            given.append(Bomb())
    if not given and not named:
        return
    made = function(*given, **named)
    if inspect.iscoroutine(made):
        try:
            made.send(None)
        finally:
            made.close()
    elif inspect.isgenerator(made):
        next(made)
    elif isinstance(made, AbstractContextManager):
        made.__enter__()


def broke(module: types.ModuleType, function: Callable[..., Any]) -> bool:
    """Whether it broke, in a frame of the module; then that is logged, in the scope of a task."""
    with task_scope("demo", "demo", module.__name__), publish_span("x", "y"), process_span({}, "q"):
        try:
            call(function)
        except Provoked as error:
            frames, trace = set(), error.__traceback__
            while trace is not None:
                frames.add(trace.tb_frame.f_code.co_filename)
                trace = trace.tb_next
            if module.__file__ in frames:
                fields = {"taskToken": GIVEN["token"], "input": GIVEN["input"], "of": GIVEN["url"]}
                log.debug("it.begins", extra=fields)
                log.info("it.breaks", extra={**fields, "body": json.dumps(fields)})
                event = f"provoked.in.{module.__name__}"
                log.exception(event, extra=fields)
                return True
        except BaseException:  # another way to break, which quotes nothing
            return False
    return False


def main() -> None:
    configure_logging("DEBUG", "json")
    register_secret(GIVEN["url"])
    start_sentry(GIVEN["dsn"], traces_sample_rate=1.0)
    found = {}
    for name in sorted(each.name for each in pkgutil.walk_packages(bridge.__path__, "bridge.")):
        if name.split(".")[1] in ("__main__", "cli", "local", "conformance"):
            continue
        module = importlib.import_module(name)
        if not hasattr(module, "__path__"):
            ways = (way for way, function in callables(module) if broke(module, function))
            found[name] = next(ways, "")
            flush(10)  # what waits beyond a hundred is dropped
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
