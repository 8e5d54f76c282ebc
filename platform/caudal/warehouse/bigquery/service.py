"""Asking BigQuery: every job has an id that is the same when it is asked again, labels, and its cost noted.

A job's id is its transaction. Whoever asks for an id that exists is given that job, whatever became of the process that asked
first; BigQuery remembers ids for six months. A job that failed wrote nothing, so that its next attempt has the next id.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from caudal.google_cloud import GoogleCloud, label
from caudal.google_cloud import credentials as default_credentials
from caudal.warehouse.bigquery import account
from caudal.warehouse.bigquery.costs import DryRun
from caudal.warehouse.bigquery.explained import BigQueryUnreachable, error_of, explained
from caudal.warehouse.bigquery.guard import guarded
from caudal.warehouse.bigquery.jobs import Job, told_of
from caudal.warehouse.bigquery.loads import load_config, parquet_of

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud import bigquery

#: Attempts at a job that fails for reasons that pass, each under an id of its own.
ATTEMPTS = 4

#: How long a request is tried again while the server is busy.
BUSY_S = 120.0


class BigQuery:
    """One environment's BigQuery, for one piece of work.

    Attributes:
        done: the jobs that were done, in order, for whoever tells what they cost.

    """

    def __init__(self, cloud: GoogleCloud, labels: Mapping[str, str] | None = None) -> None:
        """Connect to nothing yet.

        Args:
            labels: of each job: `asset`, `run`, `owner`; made fit for BigQuery. Those of the `account` that is open here come
                by themselves.

        """
        self.cloud = cloud
        self.account = account.current()
        self.labels = {"caudal": label(cloud.datasets.strip("_")), **_fit(self.account.labels), **_fit(labels)}
        self.done: list[Job] = []

    @cached_property
    def client(self) -> bigquery.Client:
        """Google's client, with the credentials of the environment."""
        from google.api_core.client_options import ClientOptions
        from google.cloud import bigquery

        cloud = self.cloud
        with explained(cloud, f"connect to BigQuery in {cloud.project}"):
            options = ClientOptions(api_endpoint=cloud.bigquery_url) if cloud.bigquery_url else None
            return guarded(bigquery.Client, cloud)(
                project=cloud.project, credentials=credentials(cloud), location=cloud.location, client_options=options
            )

    @cached_property
    def busy(self) -> Any:
        """How requests are tried again: on 429, 5xx and broken connections, with growing pauses."""
        from google.cloud.bigquery.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(BUSY_S)

    def query(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        *,
        what: str = "",
        job_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        maximum_bytes: int | None = None,
        into: str | None = None,
    ) -> bigquery.table.RowIterator:
        """The rows of one GoogleSQL statement, or script, once it is done.

        Args:
            parameters: google-cloud-bigquery's query parameters.
            what: what it does, for messages.
            job_id: makes it happen once, however often it is asked.
            maximum_bytes: refused if it would be billed for more; by default what the settings say. An account may allow less.
            into: `project.dataset.table` that the rows replace, with WRITE_TRUNCATE; else they are only answered.

        """
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(query_parameters=list(parameters), labels={**self.labels, **_fit(labels)})
        limit = self.cloud.maximum_bytes if maximum_bytes is None else maximum_bytes
        if self.account.purse is not None:
            limit = self.account.purse.query(lambda: self.dry_run(sql, what, parameters).bytes_billed, limit)
        if limit is not None:
            config.maximum_bytes_billed = limit
        if into is not None:
            config.destination, config.write_disposition = bigquery.TableReference.from_string(into), "WRITE_TRUNCATE"
        what = what or _beginning(sql)
        ask = self.client.query
        return self._run(what, job_id, lambda name: ask(sql, config, job_id=name, retry=self.busy, job_retry=None))

    def estimate(self, sql: str, what: str = "") -> int:
        """The bytes that a statement would process, by a dry run, which is free.

        Raises:
            BigQueryRefused: the statement is wrong.

        """
        return self.dry_run(sql, what).bytes_processed

    def dry_run(self, sql: str, what: str = "", parameters: Sequence[Any] = ()) -> DryRun:
        """What BigQuery says of a statement beforehand, free of charge.

        Raises:
            NotThere: a table that it reads does not exist.
            BigQueryRefused: the statement is wrong.

        """
        job = self._dry(sql, what, parameters)
        return DryRun(int(job.total_bytes_processed or 0), len(job.referenced_tables))

    def load(
        self,
        uris: Sequence[str],
        table: str,
        *,
        job_id: str,
        schema: Sequence[bigquery.SchemaField],
        replace: bool = False,
        **properties: Any,
    ) -> Job:
        """Load Parquet objects into `project.dataset.table`, all or none, free of charge.

        Args:
            replace: put them in the place of all rows; else they are added.
            properties: of `bigquery.LoadJobConfig`, such as `time_partitioning`, `clustering_fields`.

        """
        config = load_config(schema, self.labels, replace=replace, **properties)
        what = f"load {len(uris)} parts into {table}"
        self._run(
            what,
            job_id,
            lambda name: self.client.load_table_from_uri(list(uris), table, job_id=name, job_config=config, retry=self.busy),
        )
        return self.done[-1]

    def load_rows(self, rows: pa.Table, table: str, *, job_id: str | None = None, replace: bool = True) -> Job:
        """Load rows that Python made into `project.dataset.table`, free of charge."""
        from caudal.warehouse.bigquery.arrow_fields import fields_of

        config, written = load_config(fields_of(rows.schema), self.labels, replace=replace), parquet_of(rows)
        self._run(
            f"load {rows.num_rows:,} rows into {table}",
            job_id,
            lambda name: self.client.load_table_from_file(written, table, rewind=True, job_id=name, job_config=config),
        )
        return self.done[-1]

    def columns_of(self, sql: str) -> Sequence[bigquery.SchemaField]:
        """The columns that a query would answer, by a dry run, which is free.

        Raises:
            BigQueryRefused: the query is wrong.

        """
        return self._dry(sql).schema or ()

    def kind_of(self, table: str) -> str | None:
        """`TABLE`, `VIEW` or another of BigQuery's words for what `project.dataset.table` is; None if it is not there."""
        from google.api_core import exceptions

        with explained(self.cloud, f"look at {table}"):
            try:
                return self.client.get_table(table, retry=self.busy).table_type
            except exceptions.NotFound:
                return None

    def note(self, job: Job) -> None:
        """Count a job that has ended, or a session by which a table is going to be read, unless there is no money for it."""
        if job.kind == "read" and self.account.purse is not None:
            self.account.purse.read(job.bytes_processed)
        self.done.append(job)
        self.account.jobs.append(job)

    def happened(self, job_id: str, *, or_never: bool = False) -> bool:
        """Whether one of the attempts at the job of that id has ended well. Waits for one that is running.

        Args:
            or_never: take the id of the next attempt, if none has, so that a request of a process that died, which is still on
                its way, comes too late.

        """
        for attempt in range(ATTEMPTS):
            name = _attempt(job_id, attempt)
            job = self._existing(name)
            if job is None and (not or_never or (job := self._forestalled(name)) is None):
                return False
            if self._ended(job):
                return True
        return False

    def _dry(self, sql: str, what: str = "", parameters: Sequence[Any] = ()) -> bigquery.QueryJob:
        from google.cloud import bigquery

        with explained(self.cloud, what or _beginning(sql)):
            config = bigquery.QueryJobConfig(
                dry_run=True, use_query_cache=False, labels=self.labels, query_parameters=list(parameters)
            )
            return self.client.query(sql, config, retry=self.busy)

    def _run(self, what: str, job_id: str | None, begin: Callable[[str], Any]) -> Any:
        """What the job answers. One that exists is waited for; another attempt follows one that failed in a way that passes."""
        from google.api_core import exceptions

        first = job_id or f"caudal-{uuid.uuid4().hex}"
        for attempt in range(ATTEMPTS):
            name, was_there = _attempt(first, attempt), False
            with explained(self.cloud, what):
                try:
                    job = begin(name)
                except exceptions.Conflict:
                    job, was_there = self.client.get_job(name, location=self.cloud.location, retry=self.busy), True
            try:
                answered = job.result(retry=self.busy)
            except exceptions.GoogleAPICallError as failed:
                error = error_of(self.cloud, what, failed)
                # Somebody may have mended meanwhile what an attempt of another process failed for.
                if (was_there or isinstance(error, BigQueryUnreachable)) and attempt + 1 < ATTEMPTS:
                    continue
                raise error from failed
            self.note(told_of(job, was_there=was_there))
            return answered
        raise BigQueryUnreachable(f"{what}: {ATTEMPTS} attempts failed", "attempts")

    def _existing(self, name: str) -> Any | None:
        from google.api_core import exceptions

        with explained(self.cloud, f"look for the job {name}"):
            try:
                return self.client.get_job(name, location=self.cloud.location, retry=self.busy)
            except exceptions.NotFound:
                return None

    def _forestalled(self, name: str) -> Any | None:
        """Take a job's id for a query that fails, so that no other gets it; the job that has it already, if one has."""
        from google.api_core import exceptions
        from google.cloud import bigquery

        with explained(self.cloud, f"take the job id {name}"):
            config = bigquery.QueryJobConfig(labels=self.labels)
            try:
                self.client.query("SELECT ERROR('given up')", config, job_id=name, retry=self.busy, job_retry=None)
            except exceptions.Conflict:
                return self.client.get_job(name, location=self.cloud.location, retry=self.busy)
        return None

    def _ended(self, job: Any) -> bool:
        from google.api_core import exceptions

        with explained(self.cloud, f"wait for the job {job.job_id}"):
            try:
                job.result(retry=self.busy)
            except exceptions.GoogleAPICallError:
                if job.error_result is None:
                    raise
                return False
        return True


def credentials(cloud: GoogleCloud) -> Any:
    """Google's application default credentials, as the service account that is to be impersonated, if one is."""
    if cloud.bigquery_url:
        from google.auth.credentials import AnonymousCredentials

        return AnonymousCredentials()
    return default_credentials(cloud.impersonate)


def _attempt(job_id: str, attempt: int) -> str:
    return job_id if attempt == 0 else f"{job_id}-{attempt + 1}"


def _fit(labels: Mapping[str, str] | None) -> dict[str, str]:
    return {key: label(value) for key, value in (labels or {}).items() if value}


def _beginning(sql: str) -> str:
    first = " ".join(sql.split())
    return first if len(first) <= 80 else f"{first[:80]}..."
