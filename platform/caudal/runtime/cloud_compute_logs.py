"""What steps print, kept in the bucket of the environment `gcp`, so that it can be read where the step did not run.

Not dagster-gcp's log manager: each process that opens an instance would ask the bucket whether it exists, need the permission
for that, and import 130 MiB. This one asks for nothing before there is something to keep or to show, acts as the environment
says, and captures without processes beside each step, as `caudal.runtime.compute_logs` does.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dagster._core.storage.cloud_storage_compute_log_manager import (
    PollingComputeLogSubscriptionManager,
    TruncatingCloudStorageComputeLogManager,
)
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION
from dagster._serdes import ConfigurableClass

from caudal.runtime.compute_logs import ComputeLogs

if TYPE_CHECKING:
    from dagster._core.storage.compute_log_manager import ComputeIOType
    from dagster._serdes import ConfigurableClassData

    from caudal.google_cloud import GoogleCloud
    from caudal.store import Store

#: How often what a step has printed so far is put into the bucket, in seconds.
UPLOAD_S = 30


class CloudComputeLogs(TruncatingCloudStorageComputeLogManager, ConfigurableClass):
    """Compute logs in the folder `compute_logs` of the environment, under the names that Dagster's managers give them."""

    def __init__(self, cloud: GoogleCloud, staging: str | None = None, inst_data: ConfigurableClassData | None = None) -> None:
        """Connect to nothing yet.

        Args:
            cloud: the environment.
            staging: the folder of what is being printed; by default one of this user's in the temporary folder.
            inst_data: of `caudal.runtime.compute_logs.ComputeLogs`, which makes this one where it is needed.

        """
        self._url, self._acts_as = cloud.folder("compute_logs"), cloud.impersonate
        self._local = ComputeLogs(staging or str(Path(tempfile.gettempdir()) / f"caudal-{os.getuid()}" / "compute_logs"))
        self._subscriptions = PollingComputeLogSubscriptionManager(self)
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        return ComputeLogs.config_type()

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Any:
        return ComputeLogs.from_config_value(inst_data, config_value)

    @property
    def local_manager(self) -> ComputeLogs:
        return self._local

    @property
    def upload_interval(self) -> int:
        return UPLOAD_S

    @property
    def _store(self) -> Store:
        from caudal.store import open_store

        return open_store(self._url, self._acts_as)

    def _path(self, log_key: Sequence[str], io_type: ComputeIOType, *, partial: bool = False) -> str:
        return "/".join(log_key) + f".{IO_TYPE_EXTENSION[io_type]}" + (".partial" if partial else "")

    def _upload_file_obj(self, data: IO[bytes], log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> None:
        source = Path(data.name)
        if not (partial and source.stat().st_size == 0):
            self._store.replace(self._path(log_key, io_type, partial=partial), source)

    def download_from_cloud_storage(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> None:
        into = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type], partial=partial))
        into.parent.mkdir(parents=True, exist_ok=True)
        store = self._store
        while (found := store.find(self._path(log_key, io_type, partial=partial))) is not None:
            fetched = store.fetch(found, into.parent)
            if fetched is not None:  # else it was replaced meanwhile
                fetched.replace(into)
                return
        into.touch()

    def cloud_storage_has_logs(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> bool:
        return self._store.find(self._path(log_key, io_type, partial=partial)) is not None

    def delete_logs(self, log_key: Sequence[str] | None = None, prefix: Sequence[str] | None = None) -> None:
        self._local.delete_logs(log_key, prefix)
        store = self._store
        if log_key:
            paths = [self._path(log_key, kind, partial=partial) for kind in IO_TYPE_EXTENSION for partial in (False, True)]
        else:
            paths = [found.path for found in store.list("/".join(prefix or ()))]
        for path in paths:
            store.delete(path)

    def get_log_keys_for_log_key_prefix(self, log_key_prefix: Sequence[str], io_type: ComputeIOType) -> list[list[str]]:
        ending = f".{IO_TYPE_EXTENSION[io_type]}"
        names = (found.path.rpartition("/")[2] for found in self._store.list("/".join(log_key_prefix)))
        return [[*log_key_prefix, name.removesuffix(ending)] for name in names if name.endswith(ending)]

    def display_path_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str:
        return f"{self._url}/{self._path(log_key, io_type)}"

    def download_url_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str | None:
        """Through the webserver, which asks who may: never an address that anybody could use."""
        return self._local.get_captured_log_download_url(log_key, io_type)

    def on_subscribe(self, subscription: Any) -> None:
        self._subscriptions.add_subscription(subscription)

    def on_unsubscribe(self, subscription: Any) -> None:
        self._subscriptions.remove_subscription(subscription)

    def dispose(self) -> None:
        self._subscriptions.dispose()
        self._local.dispose()
