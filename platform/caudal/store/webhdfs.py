"""A lake in HDFS, over WebHDFS, which name nodes and HttpFS gateways speak. A version is file id, length and time.

Content goes to a hidden name beside its own and is renamed. Hadoop 3 is needed: older ones do not list in pages.
"""

from __future__ import annotations

import functools
import getpass
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from caudal.store.objects import Found, LakeObject, StoreError, StoreUnreachable, checked, is_unfinished
from caudal.store.remote import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, RemoteStore, Transient, client, persistently

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

#: Where name nodes of Hadoop 3 listen.
DEFAULT_PORT = 9870

#: What a server says that is starting, or is not the active one of its pair.
_PASSING = {"RetriableException", "StandbyException", "SafeModeException"}


class _Refused(Exception):
    """The server's answer: the name of a Java exception, and its message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class HdfsStore(RemoteStore):
    """`webhdfs://[user@]host:port/prefix`; `swebhdfs://` over TLS. Without a user it is the one who is logged in."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url, allow_fragments=False)
        if not parts.hostname or parts.query or parts.password:
            raise StoreError(f"{url.partition('?')[0]}: a lake in HDFS is written webhdfs://user@host:{DEFAULT_PORT}/folder")
        self.root = parts.path.strip("/")
        client("requests", "hdfs", url)
        self._client = client("fsspec.implementations.webhdfs", "hdfs", url).WebHDFS(
            host=parts.hostname,
            port=parts.port or DEFAULT_PORT,
            user=parts.username or getpass.getuser(),
            use_https=parts.scheme == "swebhdfs",
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        session = self._client.session
        session.request = functools.partial(session.request, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))

    def list(self, prefix: str) -> Iterator[LakeObject]:
        pending = [prefix.strip("/")]
        while pending:
            folder = pending.pop()
            for status in self._entries(folder):
                name = status["pathSuffix"]
                path = f"{folder}/{name}" if folder else name
                if not name or is_unfinished(name):
                    continue
                if status["type"] == "DIRECTORY":
                    pending.append(path)
                elif status["type"] == "FILE":
                    yield LakeObject(path, _version(status), status["length"])

    def find(self, path: str) -> LakeObject | None:
        status = self._status(checked(path))
        return LakeObject(path, _version(status), status["length"]) if status and status["type"] == "FILE" else None

    def create(self, path: str, source: Path) -> bool:
        if self.find(path) is not None:
            return False
        with self._explained(f"create {path}"), self._beside(path, source) as temporary:
            try:
                return self._rename(temporary, path, "NONE")
            except _Refused as refused:
                if refused.kind != "FileAlreadyExistsException":
                    raise
                return False

    def replace(self, path: str, source: Path) -> None:
        with self._explained(f"replace {path}"), self._beside(path, source) as temporary:
            if not self._rename(temporary, path, "OVERWRITE"):
                raise StoreError(
                    f"{self.url}: cannot replace {path}: this server (an HttpFS gateway?) does not rename over a file, and "
                    "removing the old one first would lose both if it stopped in between; let CAUDAL_LAKE name the name node"
                )

    def delete(self, path: str) -> None:
        with self._explained(f"delete {path}"):
            self._ask("DELETE", "DELETE", checked(path), recursive="false")

    def _entries(self, folder: str) -> Iterator[dict[str, Any]]:
        after: dict[str, str] = {}
        while True:
            with self._explained(f"list {folder}"):
                try:
                    answer = self._ask("GET", "LISTSTATUS_BATCH", folder, **after).json()["DirectoryListing"]
                except _Refused as refused:
                    if refused.kind == "FileNotFoundException":
                        return
                    raise
            entries = answer["partialListing"]["FileStatuses"]["FileStatus"]
            yield from entries
            if not answer["remainingEntries"] or not entries:
                return
            after = {"startAfter": entries[-1]["pathSuffix"]}

    def _status(self, path: str) -> dict[str, Any] | None:
        with self._explained(f"look at {path}"):
            try:
                return self._ask("GET", "GETFILESTATUS", path).json()["FileStatus"]
            except _Refused as refused:
                if refused.kind in {"FileNotFoundException", "ParentNotDirectoryException"}:
                    return None
                raise

    def _download(self, found: Found, into: Path) -> bool:
        """A file id never comes back: what has it afterwards as in the listing is the file that was read in between."""
        with self._explained(f"read {found.path}"):

            def receive() -> bool:
                size = 0
                try:
                    with self._once("GET", "OPEN", found.path, stream=True) as answer, into.open("wb") as file:
                        for piece in answer.iter_content(1 << 20):
                            size += file.write(piece)
                except _Refused as refused:
                    if refused.kind == "FileNotFoundException":
                        return False
                    raise
                if not self.unchanged(found.path, found.version):
                    return False
                if size != found.size_bytes:
                    raise Transient(f"{size:,} bytes arrived of {found.size_bytes:,}")
                return True

            return self._again(f"reading {found.path}", receive)

    @contextmanager
    def _beside(self, path: str, source: Path) -> Generator[tuple[str, int]]:
        """The content under a hidden name, and its file id. What is left of it is removed afterwards."""
        folder, _, name = checked(path).rpartition("/")
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.tmp".lstrip("/")
        size = source.stat().st_size

        def send() -> None:
            told = self._once("PUT", "CREATE", temporary, {"overwrite": "true"}, allow_redirects=False)
            with source.open("rb") as content:
                headers = {"Content-Type": "application/octet-stream"}
                where = told.headers["Location"]
                _accepted(self._client.session.put(where, data=content if size else b"", headers=headers))

        try:
            self._again(f"sending {path}", send)
            status = self._status(temporary)
            if status is None or status["length"] != size:
                raise StoreError(f"{self.url}: {path}: {size:,} bytes were sent and others arrived; send it again")
            yield temporary, status["fileId"]
        finally:
            with suppress(StoreError, _Refused):
                self._ask("DELETE", "DELETE", temporary, recursive="false")

    def _rename(self, temporary: tuple[str, int], path: str, option: str) -> bool:
        """Give the file its name; False if an HttpFS, which takes no option, found one there."""
        name, file_id = temporary
        try:
            answer = self._ask("PUT", "RENAME", name, destination=self._place(path), renameoptions=option)
        except _Refused as refused:
            # Renamed already, if the answer to the first of several attempts was lost.
            status = self._status(path) if refused.kind == "FileNotFoundException" else None
            if status is None or status["fileId"] != file_id:
                raise
            return True
        return answer.json().get("boolean", True) if answer.content else True

    def _place(self, path: str) -> str:
        return "/" + "/".join(part for part in (self.root, path) if part)

    def _ask(self, method: str, operation: str, path: str, **given: str) -> requests.Response:
        return self._again(f"{operation} of {path or 'the lake'}", lambda: self._once(method, operation, path, given))

    def _again(self, what: str, attempt: Callable[[], T]) -> T:
        import requests

        def once() -> T:
            try:
                return attempt()
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as broken:
                raise Transient(str(broken)) from broken

        return persistently(f"{self.url}: {what}", once)

    def _once(
        self,
        method: str,
        operation: str,
        path: str,
        given: dict[str, str] | None = None,
        *,
        stream: bool = False,
        allow_redirects: bool = True,
    ) -> requests.Response:
        answer = self._client.session.request(
            method,
            self._client.url + quote(self._place(path), safe="/"),
            params={"op": operation} | self._client.pars | (given or {}),
            stream=stream,
            allow_redirects=allow_redirects,
        )
        return _accepted(answer)

    @contextmanager
    def _explained(self, what: str) -> Generator[None]:
        """Turn what the server refused into a `StoreError` for people: `what` was to be done."""
        place = f"{self.url}: cannot {what}"
        try:
            yield
        except StoreUnreachable as silent:
            raise StoreUnreachable(
                f"{silent}. Is CAUDAL_LAKE's host and port the web address of a running name node?"
            ) from silent
        except _Refused as refused:
            if refused.kind in {"AccessControlException", "SecurityException"}:
                raise StoreError(f"{place}: {str(refused).splitlines()[0]}") from refused
            if refused.kind == "401":
                raise StoreError(f"{place}: the cluster asks for Kerberos, which this store does not speak") from refused
            raise StoreError(f"{place}: the server refused: {refused.kind}: {refused}") from refused


def _accepted(answer: requests.Response) -> requests.Response:
    """The answer, unless it says that something failed."""
    if answer.status_code < 400:
        return answer
    try:
        told = answer.json()["RemoteException"]
        refused = _Refused(told["exception"], told["message"])
    except (ValueError, KeyError, TypeError):
        refused = _Refused(str(answer.status_code), answer.reason)
    if refused.kind in _PASSING or answer.status_code in {429, 502, 503, 504}:
        raise Transient(f"{refused.kind}: {refused}")
    raise refused


def _version(status: dict[str, Any]) -> str:
    return f"{status['fileId']}-{status['length']}-{status['modificationTime']}"
