"""Putting something around the function of a step: before it starts, while it runs, at each of its events, and at its end."""

import functools
import inspect
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import dagster as dg

_ENDED = object()


@dataclass(frozen=True)
class Around:
    """What is around one run of a step.

    Attributes:
        running: entered whenever the step runs, and left at each of its events.
        failed: is told an error of the step, which is raised after that, unless it raises another.
        told: makes of an event what Dagster is told.

    """

    running: Callable[[], AbstractContextManager[object]] = nullcontext
    failed: Callable[[Exception], None] = lambda error: None  # noqa: ARG005
    told: Callable[[Any], Any] = lambda event: event


Enter = Callable[[dg.OpExecutionContext], AbstractContextManager[Around]]


def surround(step: object, enter: Enter, mark: str) -> None:
    """Have `enter` be around the function of an asset or check, in place, unless something with that mark is.

    What is made of a graph of ops, and what is asynchronous, is left as it is. Called without Dagster, the function is as it
    was.
    """
    from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

    op = step.node_def if isinstance(step, dg.AssetsDefinition) and step.is_executable else None
    if not isinstance(op, dg.OpDefinition):
        return
    compute = op.compute_fn
    if not isinstance(compute, DecoratedOpFunction) or hasattr(compute.decorated_fn, mark):
        return
    if inspect.iscoroutinefunction(compute.decorated_fn) or inspect.isasyncgenfunction(compute.decorated_fn):
        return
    surrounded = _surrounded(compute.decorated_fn, enter)
    setattr(surrounded, mark, True)
    op._compute_fn = type(compute)(surrounded)  # noqa: SLF001


def _surrounded(function: Callable[..., Any], enter: Enter) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stepwise(*args: Any, **kwargs: Any) -> Generator[Any]:
            context = _context()
            if context is None:
                yield from function(*args, **kwargs)
                return
            with enter(context) as around:
                going = function(*args, **kwargs)
                while True:
                    event = _run(around, lambda: next(going, _ENDED))
                    if event is _ENDED:
                        return
                    yield around.told(event)

        return stepwise

    @functools.wraps(function)
    def at_once(*args: Any, **kwargs: Any) -> Any:
        context = _context()
        if context is None:
            return function(*args, **kwargs)
        with enter(context) as around:
            return around.told(_run(around, lambda: function(*args, **kwargs)))

    return at_once


def _run(around: Around, going: Callable[[], Any]) -> Any:
    try:
        with around.running():
            return going()
    except Exception as error:
        around.failed(error)
        raise


def _context() -> dg.OpExecutionContext | None:
    try:
        return dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:  # not in a run
        return None
