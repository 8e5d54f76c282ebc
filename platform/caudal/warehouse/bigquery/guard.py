"""Production's tables are not written to from a branch's environment: each request is looked at before it is sent.

What a request would change is told by its address and body, and of statements by `targets`. What is no dataset of the branch's
own is refused, whoever asks, and nothing is sent. Reading is free. In Google Cloud itself a service account of branches without
roles on production's datasets says the same: docs/guide/google-cloud.md.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caudal.google_cloud import label
from caudal.warehouse.bigquery.explained import BigQueryRefused

if TYPE_CHECKING:
    from google.cloud import bigquery

    from caudal.google_cloud import GoogleCloud

_DATASETS = re.compile(r"/projects/(?P<project>[^/]+)/datasets(?:/(?P<dataset>[^/:]+))?")


def _words(told: str) -> frozenset[str]:
    return frozenset(told.split())


#: Jobs by what their configuration calls the tables that they write.
_WRITTEN = (("load", "destinationTable"), ("copy", "destinationTable"), ("query", "destinationTable"))

#: Words that begin a statement which changes nothing but variables and temporary tables, or what follows them does.
_HARMLESS = _words(
    "SELECT WITH FROM ( BEGIN COMMIT ROLLBACK DECLARE SET IF ELSEIF ELSE END WHILE LOOP REPEAT UNTIL FOR CASE WHEN "
    "BREAK LEAVE CONTINUE ITERATE RETURN RAISE ASSERT EXCEPTION DESCRIBE EXPLAIN"
)
_CHANGING = _words("CREATE DROP ALTER TRUNCATE INSERT UPDATE DELETE MERGE LOAD EXPORT GRANT REVOKE UNDROP")

_KNOWN = _HARMLESS | _CHANGING | {";"}

#: What stands between such a word and the name of what it changes.
_BETWEEN = _words(
    "OR REPLACE TEMP TEMPORARY AGGREGATE EXTERNAL MATERIALIZED SNAPSHOT TABLE TABLES VIEW SCHEMA DATASET FUNCTION "
    "PROCEDURE MODEL IF NOT EXISTS INTO FROM DATA OVERWRITE"
)
#: After these the name follows the next ON: CREATE ROW ACCESS POLICY p ON t, GRANT r ON TABLE t.
_ON = frozenset({"GRANT", "REVOKE", "POLICY", "POLICIES", "INDEX"})

_KINDS = _BETWEEN | _ON | {"CREATE", "DROP", "ALL", "ROW", "ACCESS", "SEARCH", "VECTOR"}

#: What else may come before a statement; the words stand within expressions too.
_BEFORE_STATEMENTS = frozenset({"BEGIN", "THEN", "ELSE", "LOOP", "DO", "REPEAT"})

#: What these change is in other texts.
_HIDING = frozenset({"CALL", "EXECUTE"})

#: What is no dataset's: ALTER PROJECT, CREATE RESERVATION.
_WIDER = frozenset({"PROJECT", "ORGANIZATION", "CAPACITY", "RESERVATION", "ASSIGNMENT", "BI_CAPACITY", "CONNECTION"})

#: What GoogleSQL is made of, as far as names are to be told from texts.
TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/)
    |(?P<text>(?:\b[rRbB]{1,2})?(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<name>(?:`[^`]+`|[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*)(?:\s*\.\s*(?:`[^`]+`|[A-Za-z0-9_]+))*)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


def guarded(client: type[bigquery.Client], cloud: GoogleCloud) -> type[bigquery.Client]:
    """Google's client; for a branch's environment one that sends nothing that would change what is not the branch's.

    All requests of the library pass three methods of the client. Datasets that it makes say that they are the branch's, and
    what is in them expires.
    """
    if cloud.of_production is None:
        return client

    class GuardedClient(client):  # ty: ignore[unsupported-base]
        def _call_api(self, retry: Any, *arguments: Any, **given: Any) -> Any:
            method, path, body = given.get("method", "GET"), given.get("path", ""), given.get("data")
            look(cloud, method, path, body)
            if method == "POST" and path.endswith("/datasets"):
                given["data"] = _marked(cloud, body or {})
            return super()._call_api(retry, *arguments, **given)

        def _do_resumable_upload(self, stream: Any, metadata: Any, *arguments: Any, **given: Any) -> Any:
            look(cloud, "POST", "/jobs", metadata)
            return super()._do_resumable_upload(stream, metadata, *arguments, **given)

        def _do_multipart_upload(self, stream: Any, metadata: Any, *arguments: Any, **given: Any) -> Any:
            look(cloud, "POST", "/jobs", metadata)
            return super()._do_multipart_upload(stream, metadata, *arguments, **given)

    return GuardedClient


def _marked(cloud: GoogleCloud, dataset: Mapping[str, Any]) -> dict[str, Any]:
    expires_ms = str(int(cloud.branch_days * 86_400_000))
    labels = {**dataset.get("labels", {}), "branch": label(cloud.branch or "")}
    return {"defaultTableExpirationMs": expires_ms, **dataset, "labels": labels}


def look(cloud: GoogleCloud, method: str, path: str, body: Mapping[str, Any] | None) -> None:
    """Raise `BigQueryRefused` if the request would change anything but the branch's own datasets and folder."""
    if method in {"GET", "HEAD"}:
        return
    body = body or {}
    if path.endswith(("/jobs", "/queries")):
        job = body.get("configuration", {})
        for kind, name in _WRITTEN:
            if written := job.get(kind, {}).get(name):
                _refuse_table(cloud, written)
        for uri in _extracted(job):
            if not uri.startswith(cloud.folder("")):
                _refuse(cloud, uri)
        query = job.get("query") or (body if path.endswith("/queries") else {})
        if default := query.get("defaultDataset"):
            _refuse_table(cloud, default)
        if not job.get("dryRun") and "query" in query:
            refuse_statements(cloud, query["query"])
        return
    found = _DATASETS.search(path)
    reference = body.get("datasetReference", {})
    dataset = (found and found["dataset"]) or reference.get("datasetId")
    if dataset and not path.endswith(":getIamPolicy"):
        project = (found and found["project"]) or reference.get("projectId")
        _refuse_table(cloud, {"projectId": project, "datasetId": dataset})


def refuse_statements(cloud: GoogleCloud, sql: str) -> None:
    """Raise `BigQueryRefused` if one of the statements would change what is not the branch's, or hides what it would change."""
    for target in targets(sql):
        parts = [part for part in target.name.replace("`", "").replace(" ", "").split(".") if part]
        if target.is_dataset:
            project, dataset = (parts[-2] if len(parts) > 1 else cloud.project), parts[-1]
        elif len(parts) > 1:
            project, dataset = (parts[-3] if len(parts) > 2 else cloud.project), parts[-2]
        else:
            continue  # A temporary table: the client sets no default dataset.
        if project != cloud.project or not dataset.startswith(cloud.datasets):
            _refuse(cloud, ".".join(parts))


@dataclass(frozen=True)
class Target:
    """What a statement changes, as it is named there."""

    name: str
    is_dataset: bool = False


_UNKNOWN = Target("what.cannot.be.told")


def targets(sql: str) -> Iterator[Target]:
    """What the statements of a script change.

    Raises:
        BigQueryRefused: a statement calls or composes others, or is of no known kind: nobody can say what it changes.

    """
    words = [m for m in TOKEN.finditer(sql) if m.lastgroup != "skip"]
    told = [m.group().upper() if m.lastgroup in {"name", "other"} else "" for m in words]
    for place, word in enumerate(told):
        before = told[place - 1] if place else ";"
        begins, may_begin = before == ";", before in _BEFORE_STATEMENTS
        if word in _CHANGING and (begins or may_begin) and not (before == "THEN" and _of_merge(told, place)):
            yield _target(words, told, place)
        elif (word in _HIDING and may_begin) or (begins and word not in _KNOWN and not _labels(told, place)):
            raise BigQueryRefused(
                f"{sql.strip()[:80]}: in a branch's environment a statement that begins with {word} is refused, since nobody "
                "can say beforehand which tables it changes",
                "branch",
            )


def _target(words: list[re.Match[str]], told: list[str], place: int) -> Target:
    end = next((i for i in range(place, len(told)) if told[i] == ";"), len(told))
    if told[place] == "EXPORT" or not _WIDER.isdisjoint(told[place + 1 : place + 2]):
        return _UNKNOWN
    kinds = list(itertools.takewhile(_KINDS.__contains__, told[place:end]))
    if not _ON.isdisjoint(kinds):
        place = next((i for i in range(place, end) if told[i] == "ON"), end)
    for i in range(place + 1, end):
        if told[i] not in _BETWEEN:
            is_dataset = not {"SCHEMA", "DATASET"}.isdisjoint(told[place:i])
            return Target(words[i].group(), is_dataset) if words[i].lastgroup == "name" else _UNKNOWN
    return _UNKNOWN


def _of_merge(told: list[str], place: int) -> bool:
    """Whether UPDATE, INSERT or DELETE after THEN is a branch of a MERGE, whose target was told before."""
    begun = next((i for i in range(place - 1, -1, -1) if told[i] in {";", "MERGE"}), -1)
    return begun >= 0 and told[begun] == "MERGE"


def _labels(told: list[str], place: int) -> bool:
    """Whether the word labels a block: `name: BEGIN`."""
    return told[place + 1 : place + 2] == [":"]


def _extracted(job: Mapping[str, Any]) -> list[str]:
    extract = job.get("extract", {})
    return [uri for uri in [*extract.get("destinationUris", ()), extract.get("destinationUri")] if uri]


def _refuse_table(cloud: GoogleCloud, reference: Mapping[str, Any]) -> None:
    dataset, project = str(reference.get("datasetId", "")), str(reference.get("projectId") or cloud.project)
    # A dataset that begins with `_` is BigQuery's own, for what a query answers.
    if not dataset.startswith("_") and (project != cloud.project or not dataset.startswith(cloud.datasets)):
        _refuse(cloud, f"{project}.{dataset}")


def _refuse(cloud: GoogleCloud, what: str) -> None:
    raise BigQueryRefused(
        f"{what} is not of the branch whose environment this is ({cloud.project}.{cloud.datasets}...): it is not written to. "
        "Unset CAUDAL_BRANCH to work in production",
        "branch",
    )
