"""Objects of the lake, in a local folder, Google Cloud Storage, S3 or HDFS, behind one interface: `open_store(url)`.

Here too, for the many files that are always local: `write_atomically`, `exclusive_lock` and, in `sqlite`, transactions.
Not here: what the objects mean.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from caudal.store.local import LocalStore, exclusive_lock, list_objects, version_of, write_atomically
from caudal.store.objects import UNFINISHED_SUFFIXES, Found, LakeObject, Store, StoreError, StoreUnreachable, is_unfinished

__all__ = [
    "UNFINISHED_SUFFIXES",
    "Found",
    "LakeObject",
    "LocalStore",
    "Store",
    "StoreError",
    "StoreUnreachable",
    "exclusive_lock",
    "is_unfinished",
    "list_objects",
    "local_folder",
    "open_store",
    "version_of",
    "write_atomically",
]


def open_store(url: str, acts_as: str | None = None) -> Store:
    """The store at `url`. Nothing is asked of it yet; the clients of clouds are imported, which the local one needs none of.

    Args:
        url: a path or `file:///path`, `gs://bucket/prefix`, `s3://bucket/prefix`, `webhdfs://[user@]host:port/prefix`, or
            `swebhdfs://...` for HDFS over TLS; `overlay:///path`, as `caudal.store.overlay` has it.
        acts_as: in Google Cloud, a service account to act as, by its address.

    Raises:
        StoreError: the URL is of no such form, or the client of its store is not installed.

    """
    return _opened(url, acts_as, os.getpid())


def local_folder(url: str) -> Path | None:
    """The folder that a local store's URL names; None for a store that is elsewhere."""
    if "://" not in url:
        return Path(url)
    parts = urlsplit(url, allow_fragments=False)
    if parts.scheme != "file":
        return None
    if parts.netloc not in {"", "localhost"} or not parts.path:
        raise StoreError(f"{url}: a local lake is written file:///folder, with three slashes, or as a plain path")
    return Path(unquote(parts.path))


@functools.lru_cache(maxsize=32)
def _opened(url: str, acts_as: str | None, process: int) -> Store:  # noqa: ARG001 - connections do not survive a fork
    folder = local_folder(url)
    if folder is not None:
        return LocalStore(folder)
    scheme = url.partition("://")[0]
    if scheme == "gs":
        from caudal.store.gcs import GoogleStore

        return GoogleStore(url, acts_as)
    if scheme == "overlay":
        from caudal.store.overlay import OverlayStore

        return OverlayStore(Path(url.removeprefix("overlay://")), acts_as)
    if scheme == "s3":
        from caudal.store.s3 import S3Store

        return S3Store(url)
    if scheme in {"webhdfs", "swebhdfs"}:
        from caudal.store.webhdfs import HdfsStore

        return HdfsStore(url)
    raise StoreError(
        f"{url}: a lake is a folder, or gs://bucket/prefix, s3://bucket/prefix or webhdfs://host:port/prefix; "
        "correct CAUDAL_LAKE"
    )
