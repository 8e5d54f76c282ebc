"""Every step of a code location ends in time, and is tried again only if that is worth it, by one mechanism only.

- An asset with the metadata `caudal/timeout_s`, or an op with that tag, is ended after so many seconds. A step of several
  assets may take as long as the longest of them.
- A transient failure is tried again within the run, after a wait, as `failures.WAITS_S` says. A retry policy that the author
  gave an asset is followed instead.
- A permanent failure is not tried again: not by the step, and not by Dagster's retries of runs, which are told by the run's
  tag `dagster/retry_on_asset_or_op_failure`.
- Any other failed run, or one whose worker died, is tried once more by Dagster's retries of runs, as `run_retries` in
  `dagster.yaml` says; unless somebody else answers for what it was doing. Files that a lake sensor's run did not load are asked
  for again by the sensor, and an asset whose condition of automation looks at failures by that. Then the retries of runs are
  told to leave the run alone, by its tag `dagster/max_retries`.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import dagster as dg

from caudal.lake.watch import DATASETS_TAG
from caudal.runtime.around import Around, surround
from caudal.runtime.failures import Kind, judge, wait_s

#: Metadata of an asset, or tag of an op: after so many seconds the step is ended.
TIMEOUT = "caudal/timeout_s"

_NO_RETRY = {"dagster/retry_on_asset_or_op_failure": "false"}
_MAX_RETRIES = "dagster/max_retries"
_GUARDED = "_caudal_guarded"


def guard(definitions: dg.Definitions) -> dg.Definitions:
    """The same, with every asset and check guarded in place. What is made of a graph of ops is left as it is."""
    for step in (*(definitions.assets or ()), *(definitions.asset_checks or ())):
        surround(step, _guarded, _GUARDED)
    return definitions


@contextmanager
def _guarded(context: dg.OpExecutionContext) -> Generator[Around]:
    """A time limit, and errors judged."""
    with ExitStack() as limited, _answered_for(context):
        yield Around(running=_limit(context, limited), failed=lambda error: _fail(context, error))


def _fail(context: dg.OpExecutionContext, error: Exception) -> None:
    """Ask for another attempt, or see to it that there is none; returns where the error is to be raised as it is.

    Raises:
        dg.RetryRequested: it is worth it.
        dg.Failure: the author's retry policy would try again what cannot succeed.

    """
    if isinstance(error, dg.RetryRequested):
        return
    kind = judge(error)
    own_policy = context.get_step_execution_context().op_retry_policy is not None
    if kind is Kind.PERMANENT:
        context.instance.add_run_tags(context.run_id, _NO_RETRY)
        if own_policy and not isinstance(error, dg.Failure):
            raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error
    elif kind is Kind.TRANSIENT and not own_policy:
        pause_s = wait_s(context.retry_number)
        if pause_s is not None:
            raise dg.RetryRequested(max_retries=context.retry_number + 1, seconds_to_wait=pause_s) from error


@contextmanager
def _answered_for(context: dg.OpExecutionContext) -> Generator[None]:
    """Tell the retries of runs who tries this step again, before it may die, and as long as it has not succeeded."""
    if not context.instance.run_retries_enabled or not context.has_assets_def:
        yield
        return
    usual = str(context.instance.run_retries_max_retries)
    by_sensor = DATASETS_TAG in context.run.tags and any(key.path[0] == "raw" for key in context.selected_asset_keys)
    by_automation = any(_looks_at_failures(each) for each in context.assets_def.automation_conditions_by_key.values())
    _say_retries(context, "0" if by_sensor or by_automation else usual, usual)
    yield
    if by_sensor:  # what is below is no business of the sensor's any more
        _say_retries(context, usual, usual)


def _say_retries(context: dg.OpExecutionContext, count: str, usual: str) -> None:
    run = context.instance.get_run_by_id(context.run_id)
    if run is not None and run.tags.get(_MAX_RETRIES, usual) != count:
        context.instance.add_run_tags(context.run_id, {_MAX_RETRIES: count})


def _looks_at_failures(condition: dg.AutomationCondition) -> bool:
    return condition.name == "execution_failed" or any(_looks_at_failures(each) for each in condition.children)


def _limit(context: dg.OpExecutionContext, limited: ExitStack) -> Callable[[], Any]:
    from caudal.runtime.deadline import Deadline

    seconds = timeout_s(context)
    if seconds is None:
        return nullcontext
    run, instance = context.run, context.instance

    def stuck(message: str) -> None:
        now = instance.get_run_by_id(run.run_id)
        if now is not None and not now.is_finished:
            instance.report_run_failed(now, f"{message}. Its run is ended.")

    return limited.enter_context(Deadline(seconds, _name(context), stuck)).running


def timeout_s(context: dg.OpExecutionContext) -> float | None:
    """The limit that is declared for the step.

    Raises:
        ValueError: it is no positive number.

    """
    said: list[Any] = [context.op_def.tags[TIMEOUT]] if TIMEOUT in context.op_def.tags else []
    if not said and context.has_assets_def:
        specs = context.assets_def.specs_by_key
        found = [specs[key].metadata.get(TIMEOUT) for key in context.selected_asset_keys if key in specs]
        # What is declared for some of a step's assets is no limit for the others.
        said = found if all(each is not None for each in found) else []
    return max((_seconds(each, context) for each in said), default=None)


def _seconds(said: Any, context: dg.OpExecutionContext) -> float:
    value = getattr(said, "value", said)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"`{TIMEOUT}` of {_name(context)} is {value!r}; expected a number of seconds above 0")
    return seconds


def _name(context: dg.OpExecutionContext) -> str:
    keys: Iterable[dg.AssetKey] = context.selected_asset_keys if context.has_assets_def else ()
    names = sorted(key.to_user_string() for key in keys)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more or context.op_def.name
