"""The daemon of automation conditions, which rests while nothing happens.

Dagster's own evaluates every condition at each tick, news or not: for the reference company a fifth of a core, for ever. What
conditions look at is the event log, the definitions and the clock. So this one ticks as Dagster's does while there are new
events or definitions and for a while after, since a condition may come true some ticks after what made it so; otherwise once a
minute, for conditions on the time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from dagster._core.definitions.run_request import InstigatorType
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.asset_daemon import AssetDaemon

#: How long after the last news it goes on. A tick is due every 5 s.
LIVELY_S = 20.0
#: A condition on the time is seen this late at most.
REST_S = 60.0


class RestingAssetDaemon(AssetDaemon):
    """Dagster's, but for the ticks that could see nothing new."""

    def __init__(self, settings: Mapping[str, Any], pre_sensor_interval_seconds: int) -> None:
        super().__init__(settings, pre_sensor_interval_seconds)
        self._seen: object = None
        self._news_s = self._ticked_s = 0.0

    def _run_iteration_impl(
        self,
        workspace_process_context: IWorkspaceProcessContext,
        threadpool_executor: ThreadPoolExecutor | None,
        amp_tick_futures: dict[str | None, Future[Any]],
        debug_crash_flags: Any,
    ) -> None:
        if self._may_rest(workspace_process_context):
            return
        super()._run_iteration_impl(workspace_process_context, threadpool_executor, amp_tick_futures, debug_crash_flags)

    def _may_rest(self, context: IWorkspaceProcessContext) -> bool:
        now, seen = time.monotonic(), _all_that_conditions_see(context)
        if seen != self._seen:
            self._seen, self._news_s = seen, now
        if now - self._news_s > LIVELY_S and now - self._ticked_s < REST_S:
            return True
        self._ticked_s = now
        return False


def _all_that_conditions_see(context: IWorkspaceProcessContext) -> object:
    instance = context.instance
    sensors = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    entries = context.create_request_context().get_code_location_entries().items()
    return (
        instance.event_log_storage.get_maximum_record_id(),
        tuple((name, getattr(entry.code_location, "server_id", None)) for name, entry in entries),
        tuple(sorted((each.selector_id, each.status.value) for each in sensors)),
    )
