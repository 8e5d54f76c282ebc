"""Servers that speak as Google Cloud Storage and as BigQuery, and their clients."""

import base64
import json
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.google_cloud import GoogleCloud
from tests.services.servers import ROOT, answers, free_port, installed, started

if TYPE_CHECKING:
    from google.cloud.bigquery import Client
    from google.cloud.bigquery_storage import BigQueryReadClient

PROJECT = "caudal-tests"


@dataclass(frozen=True)
class Storage:
    """A Cloud Storage server; `url` is what STORAGE_EMULATOR_HOST is to be."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bucket(self) -> str:
        """A new bucket's name."""
        name = f"b{uuid.uuid4().hex}"
        asked = urllib.request.Request(
            f"{self.url}/storage/v1/b?project={PROJECT}",
            json.dumps({"name": name}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(asked, timeout=60).close()
        return name

    def put(self, uri: str, content: bytes) -> None:
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        url = f"{self.url}/upload/storage/v1/b/{bucket}/o?{query}"
        asked = urllib.request.Request(url, content, {"Content-Type": "application/octet-stream"})
        urllib.request.urlopen(asked, timeout=60).close()


@dataclass(frozen=True)
class BigQuery:
    """A BigQuery server that reads `gs://` from `storage`. Nobody has to say who they are; see `client(member=...)`."""

    rest_url: str
    grpc_address: str
    project: str
    storage: Storage

    @property
    def port(self) -> int:
        return int(self.rest_url.rpartition(":")[2])

    def settings(self, location: str = "US", bucket: str = "lakes", **given: Any) -> GoogleCloud:
        """Of a new environment here, whose datasets are its own."""
        begin = f"t{uuid.uuid4().hex[:8]}_"
        return GoogleCloud(self.project, location, bucket, begin, **{"bigquery_url": self.rest_url, **given})

    def client(self, member: str | None = None) -> "Client":
        """A client; as `member`, an e-mail address, where given: who it is decides which rows a policy shows."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client
        from google.oauth2.credentials import Credentials

        who = Credentials(token_of(member)) if member else AnonymousCredentials()
        return Client(self.project, who, client_options={"api_endpoint": self.rest_url})

    def reader(self) -> "BigQueryReadClient":
        """A client of the Storage Read API."""
        import grpc
        from google.cloud.bigquery_storage import BigQueryReadClient
        from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=grpc.insecure_channel(self.grpc_address)))

    def dataset(self) -> str:
        """A new dataset's name."""
        name = f"d{uuid.uuid4().hex}"
        self.client().create_dataset(name)
        return name


def token_of(member: str) -> str:
    """An access token that says, unsigned, who asks; the server believes it."""
    claims = base64.urlsafe_b64encode(json.dumps({"email": member}).encode()).decode().rstrip("=")
    return f"unsigned.{claims}.unsigned"


@contextmanager
def storage_server(folder: Path) -> Iterator[Storage]:
    """With the bucket `lakes` from the start."""
    port = free_port()
    command = [installed("gcs/server"), "-port", port, "-bucket", "lakes"]
    with started(command, folder / "storage.log", ready=lambda _: answers(port, "/storage/v1/b/lakes/o")):
        yield Storage(port)


@contextmanager
def bigquery_server(folder: Path, storage: Storage) -> Iterator[BigQuery]:
    rest, grpc = free_port(), free_port()
    command = [installed("bigquery/venv/bin/python"), ROOT / "tests/services/bigquery/serve.py"]
    command += ["--port", rest, "--grpc-port", grpc, "--data", folder / "bigquery", "--project", PROJECT]
    command += ["--storage", storage.url]
    with started(command, folder / "bigquery.log", ready=lambda _: answers(rest, "/bigquery/v2/projects")):
        yield BigQuery(f"http://127.0.0.1:{rest}", f"127.0.0.1:{grpc}", PROJECT, storage)
