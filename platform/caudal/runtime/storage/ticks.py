"""Ticks and states of schedules and sensors, and evaluations of automation conditions."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage

from caudal.runtime.storage.stored import Stored, in_one_transaction, known_once_true

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_Dagsters = SqliteScheduleStorage


class TickStorage(Stored, SqliteScheduleStorage):
    """Dagster's schedule storage over kept connections."""

    file_name = "schedules.db"

    @staticmethod
    def make(path: Path) -> None:
        SqliteScheduleStorage.from_local(str(path.parent))

    def connect(self) -> "AbstractContextManager[Connection]":  # ty: ignore[incompatible-method-override]
        return self.database.connection()

    # What reads and then writes.
    add_instigator_state = in_one_transaction(_Dagsters.add_instigator_state)
    update_instigator_state = in_one_transaction(_Dagsters.update_instigator_state)
    delete_instigator_state = in_one_transaction(_Dagsters.delete_instigator_state)
    create_tick = in_one_transaction(_Dagsters.create_tick)
    update_tick = in_one_transaction(_Dagsters.update_tick)
    add_auto_materialize_asset_evaluations = in_one_transaction(_Dagsters.add_auto_materialize_asset_evaluations)

    # What does not change.
    has_built_index = known_once_true(_Dagsters.has_built_index)
    has_secondary_index_table = known_once_true(_Dagsters.has_secondary_index_table)
    has_instigators_table = known_once_true(_Dagsters.has_instigators_table)
    _has_instigators_table = known_once_true(_Dagsters._has_instigators_table)  # noqa: SLF001
    _has_asset_daemon_asset_evaluations_table = known_once_true(_Dagsters._has_asset_daemon_asset_evaluations_table)  # noqa: SLF001
