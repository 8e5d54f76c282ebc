"""A lake in S3 or a store that speaks its protocol, over s3fs. A version is ETag, length and time of an object.

Reads say `If-Match`, creating says `If-None-Match: *`; the server decides. Every write is atomic by itself.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from caudal.store.objects import Found, LakeObject, StoreError, StoreUnreachable, checked, is_finished
from caudal.store.remote import (
    ATTEMPTS,
    CONNECT_TIMEOUT_S,
    PIECE_BYTES,
    READ_TIMEOUT_S,
    RemoteStore,
    Transient,
    bucket_and_prefix,
    client,
    persistently,
)

T = TypeVar("T")

#: Metadata of a created object that tells its creator, whose answer was lost, that it was the one.
_WRITER = "caudal-write"

#: The most pieces that an object may be sent in.
MOST_PIECES = 10_000


class S3Store(RemoteStore):
    """`s3://bucket/prefix`, with the credentials, region and endpoint that AWS's own chain finds: `AWS_PROFILE`, roles, ..."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bucket, self.prefix = bucket_and_prefix(url)
        s3fs = client("s3fs", "s3", url)
        self._client = s3fs.S3FileSystem(
            config_kwargs={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": READ_TIMEOUT_S,
                "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            },
            skip_instance_cache=True,
            use_listings_cache=False,
        )

    def list(self, prefix: str) -> Iterator[LakeObject]:
        below = self.prefix + (f"{prefix.strip('/')}/" if prefix.strip("/") else "")
        more: dict[str, str] = {}
        while True:
            with self._explained("list", "s3:ListBucket"):
                page = self._ask("list_objects_v2", Prefix=below, **more)
            for item in page.get("Contents", ()):
                path = item["Key"].removeprefix(self.prefix)
                if is_finished(path):
                    yield LakeObject(path, _version(item, item["Size"]), item["Size"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def find(self, path: str) -> LakeObject | None:
        found = self._head(path)
        return LakeObject(path, _version(found, found["ContentLength"]), found["ContentLength"]) if found else None

    def create(self, path: str, source: Path) -> bool:
        writer, path = uuid.uuid4().hex, checked(path)
        with self._explained(f"create {path}", "s3:PutObject"):
            created = persistently(f"{self.url}: creating {path}", lambda: self._create(path, source, writer))
        if created:
            return True
        return self._wrote(path, writer)  # It did, if the answer to the first of several attempts was lost.

    def replace(self, path: str, source: Path) -> None:
        with self._explained(f"replace {checked(path)}", "s3:PutObject and s3:AbortMultipartUpload"):
            self._upload(path, source, uuid.uuid4().hex)

    def delete(self, path: str) -> None:
        with self._explained(f"delete {checked(path)}", "s3:DeleteObject"):
            self._ask("delete_object", Key=self.prefix + path)

    def _create(self, path: str, source: Path, writer: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._upload(path, source, writer, IfNoneMatch="*")
        except ClientError as refused:
            if _code(refused) in {"PreconditionFailed", "412"}:
                return False
            if _code(refused) in {"ConditionalRequestConflict", "409"}:
                raise Transient("another request was creating or deleting the object at the same time") from refused
            raise
        return True

    def _head(self, path: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        with self._explained(f"look at {checked(path)}", "s3:GetObject (and s3:ListBucket, to tell missing from hidden)"):
            try:
                return self._ask("head_object", Key=self.prefix + path)
            except ClientError as refused:
                if _code(refused) in {"404", "NoSuchKey", "NotFound"}:
                    return None
                raise

    def _download(self, found: Found, into: Path) -> bool:
        with self._explained(f"read {found.path}", "s3:GetObject"):
            return persistently(
                f"{self.url}: reading {found.path}", lambda: self._run(lambda s3: self._receive(s3, found, into))
            )

    async def _receive(self, s3: Any, found: Found, into: Path) -> bool:
        from botocore.exceptions import ClientError

        etag = found.version.rsplit("-", 2)[0]
        try:
            answer = await s3.get_object(Bucket=self.bucket, Key=self.prefix + found.path, IfMatch=f'"{etag}"')
            body = answer["Body"]
            async with body:
                size = answer["ContentLength"]
                if _version(answer, size) != found.version:
                    return False
                arrived = 0
                with into.open("wb") as file:
                    while piece := await body.read(1 << 20):
                        file.write(piece)
                        arrived += len(piece)
        except ClientError as refused:
            if _code(refused) in {"404", "NoSuchKey", "412", "PreconditionFailed"}:
                return False
            raise
        except Exception as failed:
            if _may_pass(failed):
                raise Transient(str(failed) or type(failed).__name__) from failed
            raise
        if arrived != size:
            raise Transient(f"{arrived:,} bytes arrived of {size:,}")
        return True

    def _upload(self, path: str, source: Path, writer: str, **conditions: str) -> None:
        given = {"Key": self.prefix + path}
        size = source.stat().st_size
        if size <= PIECE_BYTES:
            self._ask("put_object", **given, Body=source.read_bytes(), Metadata={_WRITER: writer}, **conditions)
            return
        upload = self._ask("create_multipart_upload", **given, Metadata={_WRITER: writer})["UploadId"]
        piece_bytes = max(PIECE_BYTES, -(-size // MOST_PIECES))
        try:
            parts = []
            with source.open("rb") as content:
                while piece := content.read(piece_bytes):
                    number = len(parts) + 1
                    sent = self._ask("upload_part", **given, UploadId=upload, PartNumber=number, Body=piece)
                    parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            self._ask("complete_multipart_upload", **given, UploadId=upload, MultipartUpload={"Parts": parts}, **conditions)
        except BaseException as failed:
            if _code(failed) == "NoSuchUpload" and self._wrote(path, writer):
                return  # The answer to the first of several attempts was lost.
            self._abandon(given["Key"], upload)
            raise

    def _wrote(self, path: str, writer: str) -> bool:
        """Whether the object is that of this writer."""
        found = self._head(path)
        return found is not None and found["Metadata"].get(_WRITER) == writer

    def _abandon(self, key: str, upload: str) -> None:
        """Free the pieces. Where that fails too, the bucket's rule for incomplete uploads does."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._ask("abort_multipart_upload", Key=key, UploadId=upload)
        except (BotoCoreError, ClientError):
            return

    def _ask(self, method: str, **given: Any) -> dict[str, Any]:
        return self._run(lambda s3: getattr(s3, method)(Bucket=self.bucket, **given))

    def _run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        from fsspec.asyn import sync

        async def run() -> T:
            await self._client.set_session()
            return await work(await self._client.get_s3(self.bucket))

        return sync(self._client.loop, run)

    @contextmanager
    def _explained(self, what: str, permission: str) -> Generator[None]:
        """Turn botocore's errors into a `StoreError` for people: `what` was to be done, which needs `permission`."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError, ProfileNotFound

        place = f"{self.url}: cannot {what}"
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as missing:
            raise StoreError(f"{place}: no AWS credentials ({missing}); {_CREDENTIALS}") from missing
        except ClientError as refused:
            code, status = _code(refused), refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code == "NoSuchBucket":
                raise StoreError(f"{place}: this endpoint has no bucket {self.bucket!r}; correct CAUDAL_LAKE") from refused
            if code in {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401"}:
                raise StoreError(f"{place}: the AWS credentials are not valid ({code}); {_CREDENTIALS}") from refused
            if code in {"AccessDenied", "403", "Forbidden"}:
                raise StoreError(f"{place}: these credentials lack {permission} on the bucket {self.bucket!r}") from refused
            if status >= 500 or status == 429 or code in {"SlowDown", "RequestTimeout"}:
                raise StoreUnreachable(f"{place}: the server does not answer: {refused}") from refused
            raise StoreError(f"{place}: the server refused: {refused}") from refused
        except Exception as failed:
            if _may_pass(failed):
                raise StoreUnreachable(f"{place}: the server does not answer: {failed or type(failed).__name__}") from failed
            if isinstance(failed, BotoCoreError):
                raise StoreError(f"{place}: {failed}") from failed
            raise


_CREDENTIALS = (
    "let AWS_PROFILE name a profile, run `aws configure`, or run where a role is attached; "
    "AWS_ENDPOINT_URL names a server that is not Amazon's"
)


def _version(told: dict[str, Any], size: int) -> str:
    """`<ETag>-<length>-<seconds>`: listings tell fractions of a second, and single objects do not."""
    modified: datetime = told["LastModified"]
    return f"{told['ETag'].strip(chr(34))}-{size}-{int(modified.timestamp())}"


def _code(refused: BaseException) -> str:
    """What the server called the error; empty for an error that is not the server's."""
    return str(getattr(refused, "response", {}).get("Error", {}).get("Code", ""))


def _may_pass(failed: Exception) -> bool:
    import aiohttp
    from botocore import exceptions

    return isinstance(
        failed,
        exceptions.HTTPClientError
        | exceptions.IncompleteReadError
        | aiohttp.ClientError
        | asyncio.TimeoutError
        | ConnectionError,
    )
