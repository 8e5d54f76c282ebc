"""Events of all runs, what is known of each asset and check, dynamic partitions and the slots of pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetEventTagsTable,
    AssetKeyTable,
    DynamicPartitionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from caudal.runtime.storage.stored import Stored, in_one_transaction, known_once_true
from caudal.runtime.storage.watching import Watching

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry
    from sqlalchemy.engine import Connection

_Dagsters = ConsolidatedSqliteEventLogStorage


class EventStorage(Stored, ConsolidatedSqliteEventLogStorage):
    """Dagster's event log in one file over kept connections, each event with all that follows from it one transaction."""

    file_name = "event_log.db"

    def __init__(self, base_dir: str | None = None) -> None:
        # Not the parent's: that makes the file where it is said, and here that is not known yet.
        SqlEventLogStorage.__init__(self)
        self._folder = base_dir
        self._inst_data = None
        self._secondary_index_cache: dict[str, bool] = {}
        self._watching: Watching | None = None

    @staticmethod
    def make(path: Path) -> None:
        # A number is never given twice: whoever reads on from the last event that he saw would miss one.
        options = SqlEventLogStorageTable.dialect_options["sqlite"]
        options["autoincrement"] = True
        try:
            ConsolidatedSqliteEventLogStorage(str(path.parent)).dispose()
        finally:
            options["autoincrement"] = False

    def get_db_path(self) -> str:
        return str(self.database.path)

    def _connect(self) -> AbstractContextManager[Connection]:  # ty: ignore[incompatible-method-override]
        return self.database.connection()

    def index_transaction(self) -> AbstractContextManager[Connection]:  # ty: ignore[incompatible-method-override]
        return self.database.transaction()

    def dispose(self) -> None:
        if self._watching is not None:
            self._watching.close()
            self._watching = None
        self._obs = None
        super().dispose()

    # Storing

    def store_event(self, event: EventLogEntry) -> None:
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """All of them, in this order, or none."""
        rows = [self._event_to_row(event) for event in events]
        with self.database.transaction() as connection:
            ids = [connection.execute(_INSERT, row).lastrowid for row in rows]
            self._note_assets(connection, events, ids)
            for event, event_id in zip(events, ids, strict=True):
                if event.dagster_event is not None and event.dagster_event_type in ASSET_CHECK_EVENTS:
                    self.store_asset_check_event(event, event_id)

    def _note_assets(self, connection: Connection, events: Sequence[EventLogEntry], ids: Sequence[int]) -> None:
        """What is known of each asset: of several events of one kind about the same asset, the last one tells."""
        of_assets = []
        newest: dict[tuple[str, Any], tuple[EventLogEntry, int]] = {}
        for event, event_id in zip(events, ids, strict=True):
            told = event.dagster_event
            if told is not None and told.event_type in ASSET_EVENTS and told.asset_key:
                of_assets.append((event, event_id))
                newest[told.asset_key.to_string(), told.event_type] = (event, event_id)
        if not of_assets:
            return
        self._store_asset_event_tags(connection, *zip(*of_assets, strict=True))
        known: dict[str, dict[str, Any]] = {}
        for (asset_key, _), (event, event_id) in sorted(newest.items(), key=lambda each: each[1][1]):
            values = self._get_asset_entry_values(event, event_id, has_asset_key_index_cols=True)
            if values:
                known.setdefault(asset_key, {}).update(values)
        for asset_key, values in known.items():
            statement = insert(AssetKeyTable).values(asset_key=asset_key, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=[AssetKeyTable.c.asset_key], set_=values))

    def delete_events(self, run_id: str) -> None:
        events = SqlEventLogStorageTable
        with self.database.transaction() as connection:
            ids = select(events.c.id).where(events.c.run_id == run_id)
            connection.execute(AssetEventTagsTable.delete().where(AssetEventTagsTable.c.event_id.in_(ids)))
            connection.execute(events.delete().where(events.c.run_id == run_id))
            self.free_concurrency_slots_for_run(run_id)

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        rows = [{"partitions_def_name": partitions_def_name, "partition": key} for key in partition_keys]
        if rows:
            with self.database.transaction() as connection:
                connection.execute(insert(DynamicPartitionsTable).on_conflict_do_nothing(), rows)

    # What reads and then writes. Two processes that looked for a free slot at once took the same one.
    wipe = in_one_transaction(_Dagsters.wipe)
    wipe_asset = in_one_transaction(_Dagsters.wipe_asset)
    store_asset_check_event = in_one_transaction(_Dagsters.store_asset_check_event)
    initialize_concurrency_limit_to_default = in_one_transaction(_Dagsters.initialize_concurrency_limit_to_default)
    set_concurrency_slots = in_one_transaction(_Dagsters.set_concurrency_slots)
    delete_concurrency_limit = in_one_transaction(_Dagsters.delete_concurrency_limit)
    claim_concurrency_slot = in_one_transaction(_Dagsters.claim_concurrency_slot)
    assign_pending_steps = in_one_transaction(_Dagsters.assign_pending_steps)
    free_concurrency_slots_for_run = in_one_transaction(_Dagsters.free_concurrency_slots_for_run)
    free_concurrency_slot_for_step = in_one_transaction(_Dagsters.free_concurrency_slot_for_step)

    # What does not change.
    has_secondary_index = known_once_true(_Dagsters.has_secondary_index)
    _has_asset_key_col_on_connection = known_once_true(_Dagsters._has_asset_key_col_on_connection)  # noqa: SLF001
    has_asset_key_col = known_once_true(_Dagsters.has_asset_key_col)

    @known_once_true
    def has_table(self, table_name: str) -> bool:
        with self.database.connection() as connection:
            return bool(connection.dialect.has_table(connection, table_name))

    # Watching

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        if self._watching is None:
            self._watching = Watching(self)
        self._watching.add(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: Any) -> None:
        if self._watching is not None:
            self._watching.remove(run_id, handler)

    @property
    def watched(self) -> Mapping[str, int]:
        """How many look at each run."""
        return self._watching.watched if self._watching else {}


_INSERT = SqlEventLogStorageTable.insert()
