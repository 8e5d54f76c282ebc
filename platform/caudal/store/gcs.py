"""A lake in Google Cloud Storage, over gcsfs. A version is an object's generation.

Reads say `ifGenerationMatch=<generation>` and creating `ifGenerationMatch=0`; the server decides. Each write
is atomic by itself.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from caudal.google_cloud import credentials
from caudal.store.objects import Found, LakeObject, StoreError, StoreUnreachable, checked, is_finished
from caudal.store.remote import (
    CONNECT_TIMEOUT_S,
    PIECE_BYTES,
    READ_TIMEOUT_S,
    RemoteStore,
    Transient,
    bucket_and_prefix,
    client,
    md5_of,
    persistently,
)

#: The most that the server gives at a time.
PAGE_OBJECTS = 1_000

#: What is asked of an object.
_RESOURCE = "generation,size,metadata,md5Hash"

#: Metadata of a created object that tells its creator, whose answer was lost, that it was the one.
_WRITER = "caudal-write"

_REPLACING = "storage.objects.create and storage.objects.delete"


class GoogleStore(RemoteStore):
    """`gs://bucket/prefix`, with Google's application default credentials, or the server that `STORAGE_EMULATOR_HOST` names."""

    def __init__(self, url: str, acts_as: str | None = None) -> None:
        self.url = url
        self.bucket, self.prefix = bucket_and_prefix(url)
        core = client("gcsfs.core", "gcp", url)
        import aiohttp
        from google.auth.exceptions import GoogleAuthError

        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints the trace of each error that it also raises
        emulated = "googleapis.com" not in core._location()  # noqa: SLF001 - gcsfs reads STORAGE_EMULATOR_HOST there
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        try:
            self._client = core.GCSFileSystem(
                token="anon" if emulated else credentials(acts_as) if acts_as else "google_default",
                access="read_write",
                requests_timeout=timeout,
                # The bytes that are stored, also of an object that is stored compressed.
                session_kwargs={"auto_decompress": False, "trust_env": True},
                skip_instance_cache=True,
                use_listings_cache=False,
            )
        except GoogleAuthError as refused:
            raise StoreError(f"{url}: {_CREDENTIALS}") from refused
        self._body = core.UnclosableBytesIO

    def list(self, prefix: str) -> Iterator[LakeObject]:
        below = self.prefix + (f"{prefix.strip('/')}/" if prefix.strip("/") else "")
        token = None
        while True:
            with self._explained("list", "storage.objects.list"):
                page = self._call(
                    "GET", "b/{}/o", self.bucket, prefix=below or None, pageToken=token, maxResults=PAGE_OBJECTS,
                    fields="nextPageToken,items(name,generation,size)",
                )  # fmt: skip
            for item in page.get("items", ()):
                path = item["name"].removeprefix(self.prefix)
                if is_finished(path):
                    yield LakeObject(path, item["generation"], int(item.get("size", 0)))
            token = page.get("nextPageToken")
            if not token:
                return

    def find(self, path: str) -> LakeObject | None:
        found = self._resource(path)
        return LakeObject(path, found["generation"], int(found.get("size", 0))) if found else None

    def digest(self, path: str) -> tuple[LakeObject, bytes] | None:
        """The object, and the MD5 digest that the server keeps of it, empty if it was composed of others; None: no object."""
        found = self._resource(path)
        if found is None:
            return None
        told = base64.b64decode(found.get("md5Hash", ""))
        return LakeObject(path, found["generation"], int(found.get("size", 0))), told

    def create(self, path: str, source: Path) -> bool:
        with self._explained(f"create {checked(path)}", "storage.objects.create"):
            return self._put(path, "0", source)

    def exchange(self, path: str, version: str, source: Path) -> bool:
        with self._explained(f"replace {checked(path)}", _REPLACING):
            return self._put(path, version, source)

    def replace(self, path: str, source: Path) -> None:
        with self._explained(f"replace {checked(path)}", _REPLACING):
            self._upload(path, source, uuid.uuid4().hex)

    def delete(self, path: str) -> None:
        try:
            with self._explained(f"delete {checked(path)}", "storage.objects.delete", missing=None):
                self._call("DELETE", "b/{}/o/{}", self.bucket, self.prefix + path, json_out=False)
        except FileNotFoundError:
            return

    def _resource(self, path: str) -> dict[str, Any] | None:
        try:
            with self._explained(f"look at {checked(path)}", "storage.objects.get", missing=None):
                return self._call("GET", "b/{}/o/{}", self.bucket, self.prefix + path, fields=_RESOURCE)
        except FileNotFoundError:
            return None

    def _download(self, found: Found, into: Path) -> bool:
        from fsspec.asyn import sync

        with self._explained(f"read {found.path}", "storage.objects.get", missing=None):
            return persistently(
                f"{self.url}: reading {found.path}",
                lambda: sync(self._client.loop, self._receive, found, into),
            )

    async def _receive(self, found: Found, into: Path) -> bool:
        from gcsfs.retry import is_retriable, validate_response

        fs, name = self._client, self.prefix + found.path
        url = f"{fs._location}/download/storage/v1/b/{quote(self.bucket, safe='')}/o/{quote(name, safe='')}"  # noqa: SLF001
        digest, size = hashlib.md5(usedforsecurity=False), 0
        try:
            session = await fs._set_session()  # noqa: SLF001 - with gcsfs's credentials, streamed and pinned
            params, headers = {"alt": "media", "ifGenerationMatch": found.version}, fs._get_headers({"Accept-Encoding": "gzip"})  # noqa: SLF001
            async with session.get(url, params=params, headers=headers, timeout=fs.requests_timeout) as answer:
                if answer.status in {404, 412}:
                    return False
                if answer.status >= 400:
                    validate_response(answer.status, await answer.read(), url)
                with into.open("wb") as file:
                    async for piece in answer.content.iter_chunked(1 << 20):
                        file.write(piece)
                        digest.update(piece)
                        size += len(piece)
                told = dict(part.strip().split("=", 1) for part in answer.headers.get("x-goog-hash", "").split(",") if part)
        except Exception as failed:
            if is_retriable(failed) or isinstance(failed, asyncio.TimeoutError):
                raise Transient(str(failed) or type(failed).__name__) from failed
            raise
        if size != found.size_bytes or base64.b64decode(told.get("md5", "")) not in {b"", digest.digest()}:
            raise Transient(f"{size:,} bytes arrived that are not those of the object ({found.size_bytes:,} bytes)")
        return True

    def _put(self, path: str, generation: str, source: Path) -> bool:
        """Make the object if it is of that generation now; "0": if there is none."""
        writer = uuid.uuid4().hex
        try:
            self._upload(path, source, writer, ifGenerationMatch=generation)
        except FileExistsError:
            # Ours, if the answer to the first of several attempts was lost.
            found = self._resource(path)
            return found is not None and found.get("metadata", {}).get(_WRITER) == writer
        return True

    def _upload(self, path: str, source: Path, writer: str, **conditions: str) -> None:
        size = source.stat().st_size
        resource = {
            "name": self.prefix + path,
            "contentType": "application/octet-stream",
            "md5Hash": base64.b64encode(md5_of(source)).decode(),
            "metadata": {_WRITER: writer},
        }
        url = f"{self._client._location}/upload/storage/v1/b/{quote(self.bucket, safe='')}/o"  # noqa: SLF001
        if size > PIECE_BYTES:
            self._upload_in_pieces(url, source, size, resource, conditions)
            return
        boundary = uuid.uuid4().hex
        told = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps(resource)}\r\n"
        told += f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        body = self._body(told.encode() + source.read_bytes() + f"\r\n--{boundary}--\r\n".encode())
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        self._call("POST", url, headers=headers, data=body, uploadType="multipart", json_out=False, **conditions)

    def _upload_in_pieces(
        self, url: str, source: Path, size: int, resource: dict[str, Any], conditions: dict[str, Any]
    ) -> None:
        """A resumable upload. The object appears when the last piece has arrived; the condition is decided then."""
        headers, _ = self._call("POST", url, json=resource, uploadType="resumable", json_out=False, **conditions)
        location, offset = headers["Location"], 0
        with source.open("rb") as content:
            while offset < size:
                content.seek(offset)
                piece = content.read(PIECE_BYTES)
                told = {"Content-Range": f"bytes {offset}-{offset + len(piece) - 1}/{size}"}
                answered, _ = self._call("POST", location, headers=told, data=self._body(piece), json_out=False)
                offset += len(piece)
                if offset < size:
                    # The server keeps what it says it keeps, which may be less than was sent.
                    kept = answered.get("Range", "")
                    offset = int(kept.rpartition("-")[2]) + 1 if kept else 0

    def _call(self, method: str, url: str, *names: str, headers: dict[str, str] | None = None, **given: Any) -> Any:
        given.setdefault("json_out", True)
        return self._client.call(method, url, *names, headers={"Accept-Encoding": "identity"} | (headers or {}), **given)

    @contextmanager
    def _explained(self, what: str, permission: str, missing: str | None = "bucket") -> Generator[None]:
        """Turn gcsfs's errors into a `StoreError` for people.

        Args:
            what: was to be done.
            permission: that it needs.
            missing: what is missing when the server says that something is; None if that is an answer too.

        """
        from gcsfs.retry import HttpError, is_retriable
        from google.auth.exceptions import GoogleAuthError

        place = f"{self.url}: cannot {what}"
        try:
            yield
        except (StoreError, FileExistsError):
            raise
        except FileNotFoundError as absent:
            if missing is None:
                raise
            raise StoreError(
                f"{place}: there is no bucket {self.bucket!r}, or this account may not see it; correct CAUDAL_LAKE"
            ) from absent
        except Exception as failed:
            if isinstance(failed, GoogleAuthError) or getattr(failed, "code", None) in {401, "401"}:
                raise StoreError(f"{place}: {_CREDENTIALS}") from failed
            if is_retriable(failed) or isinstance(failed, asyncio.TimeoutError):
                raise StoreUnreachable(f"{place}: the server does not answer: {failed or type(failed).__name__}") from failed
            if isinstance(failed, OSError) and str(failed).startswith("Forbidden"):
                raise StoreError(f"{place}: this account lacks {permission} on the bucket {self.bucket!r}") from failed
            if isinstance(failed, (HttpError, ValueError)):
                raise StoreError(f"{place}: the server refused: {failed}") from failed
            raise


_CREDENTIALS = (
    "no valid Google credentials; run `gcloud auth application-default login`, or let GOOGLE_APPLICATION_CREDENTIALS name "
    "the key file of a service account, or run where a service account is attached"
)
