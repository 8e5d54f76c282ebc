"""Putting something around the function of a step: before it starts, while it runs, at each of its events, and at its end."""

import functools
import inspect
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeGuard

import dagster as dg

_ENDED = object()


@dataclass(frozen=True)
class Around:
    """What is around one run of a step.

    Attributes:
        first: the events that come before it starts; may raise what keeps it from starting.
        running: entered whenever the step runs, and left at each of its events.
        failed: is told an error of the step, which is raised after that, unless it raises another.
        told: makes of an event what Dagster is told.

    """

    first: Callable[[], Iterable[Any]] = tuple
    running: Callable[[], AbstractContextManager[object]] = nullcontext
    failed: Callable[[Exception], None] = lambda error: None  # noqa: ARG005
    told: Callable[[Any], Any] = lambda event: event


Enter = Callable[[dg.OpExecutionContext], AbstractContextManager[Around]]


def surround(step: object, enter: Enter, mark: str, outputs: Sequence[Any] = ()) -> None:
    """Have `enter` be around the function of an asset or check, in place, unless something with that mark is.

    What is made of a graph of ops, and what is asynchronous, is left as it is. Called without Dagster, the function is as it
    was.

    Args:
        outputs: definitions of what the function returns; needed if it returns and `Around.first` has events.

    """
    if not can_surround(step, mark):
        return
    compute: Any = step.op.compute_fn
    surrounded = _surrounded(compute.decorated_fn, enter, outputs)
    setattr(surrounded, mark, True)
    step.op._compute_fn = type(compute)(surrounded)  # noqa: SLF001


def can_surround(step: object, mark: str) -> TypeGuard[dg.AssetsDefinition]:
    """Whether `surround` does anything to the step."""
    from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction

    op = step.node_def if isinstance(step, dg.AssetsDefinition) and step.is_executable else None
    if not isinstance(op, dg.OpDefinition) or not isinstance(op.compute_fn, DecoratedOpFunction):
        return False
    function = op.compute_fn.decorated_fn
    is_asynchronous = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    return not hasattr(function, mark) and not is_asynchronous


def _surrounded(function: Callable[..., Any], enter: Enter, outputs: Sequence[Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stepwise(*args: Any, **kwargs: Any) -> Generator[Any]:
            context = _context()
            if context is None:
                yield from function(*args, **kwargs)
                return
            with enter(context) as around:
                yield from around.first()
                going = function(*args, **kwargs)
                while True:
                    event = _run(around, lambda: next(going, _ENDED))
                    if event is _ENDED:
                        return
                    yield around.told(event)

        return stepwise

    if outputs:
        from dagster._core.execution.plan.compute_generator import validate_and_coerce_op_result_to_iterator

        @functools.wraps(function)
        def after_others(*args: Any, **kwargs: Any) -> Generator[Any]:
            context = _context()
            if context is None:
                yield function(*args, **kwargs)
                return
            with enter(context) as around:
                yield from around.first()
                result = around.told(_run(around, lambda: function(*args, **kwargs)))
                yield from validate_and_coerce_op_result_to_iterator(result, context, outputs)

        return after_others

    @functools.wraps(function)
    def at_once(*args: Any, **kwargs: Any) -> Any:
        context = _context()
        if context is None:
            return function(*args, **kwargs)
        with enter(context) as around:
            deque(around.first(), maxlen=0)
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
