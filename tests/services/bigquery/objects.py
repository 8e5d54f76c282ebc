"""Objects of the Cloud Storage server, through its JSON API: local-bigquery would have DuckDB ask for them as S3 does."""

import contextlib
import json
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import extract, load


class Objects:
    def __init__(self, endpoint: str, folder: Path) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.folder = folder

    def serve(self) -> None:
        """Be where load jobs read from and extract jobs write to."""
        load.paths = self.paths
        extract.written = self.written

    def paths(self, _cursor: object, uri: str) -> list[str]:
        bucket, name = self.parts(uri)
        names = self.matching(bucket, name) if "*" in name else [name]
        if not names:
            raise BigQueryError("notFound", f"Not found: URI {uri}")
        return [self.copied(bucket, each) for each in names]

    @contextlib.contextmanager
    def written(self, uri: str) -> Iterator[str]:
        bucket, name = self.parts(uri)
        with tempfile.NamedTemporaryFile(dir=self.folder) as file:
            yield file.name
            query = urllib.parse.urlencode({"uploadType": "media", "name": name})
            content = Path(file.name).read_bytes()
            self.asked(f"upload/storage/v1/b/{bucket}/o?{query}", uri, content)

    def parts(self, uri: str) -> tuple[str, str]:
        if not uri.startswith("gs://"):
            raise BigQueryError("invalid", f"Invalid URI {uri}: only gs:// is served")
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        return bucket, name

    def matching(self, bucket: str, pattern: str) -> list[str]:
        literal = pattern.replace("[", "[[]").replace("?", "[?]")
        query = {"prefix": pattern.partition("*")[0]}
        found: list[str] = []
        while True:
            content, _ = self.asked(f"storage/v1/b/{bucket}/o?{urllib.parse.urlencode(query)}", f"gs://{bucket}/{pattern}")
            page = json.loads(content)
            found += [item["name"] for item in page.get("items", []) if fnmatchcase(item["name"], literal)]
            if "nextPageToken" not in page:
                return sorted(found)
            query["pageToken"] = page["nextPageToken"]

    def copied(self, bucket: str, name: str) -> str:
        path = f"storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media"
        content, generation = self.asked(path, f"gs://{bucket}/{name}")
        # Folders named `day=2024-01-01` are columns to DuckDB; to BigQuery, only if the job says so, which is not served.
        copy = self.folder / bucket / generation / name.replace("=", "%3D")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        return str(copy)

    def asked(self, path: str, uri: str, content: bytes | None = None) -> tuple[bytes, str]:
        asked = urllib.request.Request(f"{self.endpoint}/{path}", content)
        if content is not None:
            asked.add_header("Content-Type", "application/octet-stream")
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.read(), answer.headers.get("X-Goog-Generation") or "0"
        except urllib.error.HTTPError as refused:
            raise BigQueryError("notFound", f"Not found: URI {uri} (HTTP {refused.code})") from refused
