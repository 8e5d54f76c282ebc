"""The storage that `dagster.yaml` names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from caudal.runtime.storage.events import EventStorage
from caudal.runtime.storage.runs import RunStorage
from caudal.runtime.storage.ticks import TickStorage

if TYPE_CHECKING:
    from dagster._config.config_schema import UserConfigSchema


class LocalStorage(DagsterStorage, ConfigurableClass):
    """Runs, events and ticks on one machine, in the folder `database` of Dagster's home.

        storage:
          custom: {module: caudal.runtime.storage, class: LocalStorage}

    `config: {base_dir: /elsewhere}` names another folder than Dagster's home.
    """

    def __init__(self, base_dir: str | None = None, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._runs = RunStorage(base_dir)
        self._events = EventStorage(base_dir)
        self._ticks = TickStorage(base_dir)
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> LocalStorage:
        return cls(inst_data=inst_data, **config_value)

    @property
    def run_storage(self) -> RunStorage:
        return self._runs

    @property
    def event_log_storage(self) -> EventStorage:
        return self._events

    @property
    def schedule_storage(self) -> TickStorage:
        return self._ticks
