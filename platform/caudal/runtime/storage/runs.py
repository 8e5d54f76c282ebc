"""Runs, their tags, snapshots of jobs, backfills and the daemon's heartbeats and cursors."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage

from caudal.runtime.storage.stored import Stored, in_one_transaction, known_once_true

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_Dagsters = SqliteRunStorage


class RunStorage(Stored, SqliteRunStorage):
    """Dagster's run storage over kept connections."""

    file_name = "runs.db"

    @staticmethod
    def make(path: Path) -> None:
        SqliteRunStorage.from_local(str(path.parent))

    def connect(self) -> "AbstractContextManager[Connection]":  # ty: ignore[incompatible-method-override]
        return self.database.connection()

    def _check_for_version_066_migration_and_perform(self) -> None:
        """There is no such file."""

    def has_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> bool:
        """Without reading all of it, as Dagster does."""
        return self._has_snapshot_id(execution_plan_snapshot_id)

    # What reads and then writes.
    _core_add_run = in_one_transaction(_Dagsters._core_add_run)  # noqa: SLF001
    handle_run_event = in_one_transaction(_Dagsters.handle_run_event)
    add_run_tags = in_one_transaction(_Dagsters.add_run_tags)
    delete_run = in_one_transaction(_Dagsters.delete_run)
    add_daemon_heartbeat = in_one_transaction(_Dagsters.add_daemon_heartbeat)
    add_backfill = in_one_transaction(_Dagsters.add_backfill)
    update_backfill = in_one_transaction(_Dagsters.update_backfill)
    set_cursor_values = in_one_transaction(_Dagsters.set_cursor_values)
    get_run_storage_id = in_one_transaction(_Dagsters.get_run_storage_id)
    replace_job_origin = in_one_transaction(_Dagsters.replace_job_origin)

    # What does not change.
    has_built_index = known_once_true(_Dagsters.has_built_index)
    has_run_stats_index_cols = known_once_true(_Dagsters.has_run_stats_index_cols)
    has_bulk_actions_selector_cols = known_once_true(_Dagsters.has_bulk_actions_selector_cols)
    has_backfill_id_column = known_once_true(_Dagsters.has_backfill_id_column)
    has_bulk_action_job_name_column = known_once_true(_Dagsters.has_bulk_action_job_name_column)
    has_backfill_tags_table = known_once_true(_Dagsters.has_backfill_tags_table)
