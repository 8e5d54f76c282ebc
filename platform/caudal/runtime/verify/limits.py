"""Steps about what queries cost, what is refused, and who sees what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from caudal.runtime.verify.steps import Disproved, NotAllowed, Step, expect
from caudal.warehouse.bigquery.explained import BigQueryError, NotThere
from caudal.warehouse.bigquery.service import BigQuery, credentials

if TYPE_CHECKING:
    from caudal.runtime.verify.ground import Ground

#: A query is billed for this much of each table at the least, and in whole MiB:
#: https://cloud.google.com/bigquery/pricing#on_demand_pricing
_LEAST_BYTES = 10 * 2**20

_DAY = "SELECT item, units FROM {t} WHERE day = '2024-03-01'"


def _dry_run(ground: Ground) -> str:
    estimated = ground.service.estimate(_DAY.replace("{t}", ground.table))
    whole = ground.service.estimate("SELECT * FROM {t} WHERE day >= '2024-01-01'".replace("{t}", ground.table))
    if not 0 < estimated < whole:
        raise Disproved(f"one day of two columns is estimated at {estimated} bytes, all at {whole}")
    ground.ask(_DAY)
    job = ground.service.done[-1]
    expect(job.bytes_processed, estimated, "bytes processed, as the dry run said")
    expect(job.bytes_billed, max(_LEAST_BYTES, -(-estimated // 2**20) * 2**20), "bytes billed")
    return f"estimated {estimated} bytes of {whole}, processed as many, billed {job.bytes_billed:,}"


def _maximum(ground: Ground) -> str:
    said = _refused(lambda: ground.service.query(_DAY.replace("{t}", ground.table), maximum_bytes=1))
    if "more bytes than the limit" not in said and "bytes billed" not in said.lower():
        raise Disproved(f"it was refused for another reason: {said}")
    return "refused before it ran"


def _filter(ground: Ground) -> str:
    said = _refused(lambda: ground.ask("SELECT item FROM {t}"))
    if "day" not in said or "filter" not in said:
        raise Disproved(f"it was refused for another reason: {said}")
    return "refused, and the column is named"


def _rows(ground: Ground) -> str:
    table = f"`{ground.cloud.table('marts.by_shop')}`"
    ground.ask(f"CREATE TABLE {table} AS SELECT * FROM UNNEST([STRUCT('north' AS shop, 1 AS n), ('south', 2)])")
    grantees = "'allAuthenticatedUsers'" if ground.is_google else "'user:local-bigquery@localhost'"
    grantees = grantees.replace("'", '"')
    ground.ask(f"CREATE ROW ACCESS POLICY north ON {table} GRANT TO ({grantees}) FILTER USING (shop = 'north')")
    seen = ground.ask(f"SELECT shop, n FROM {table}")
    ground.ask(f"DROP ALL ROW ACCESS POLICIES ON {table}")
    expect(seen, [("north", 1)], "the rows that the policy lets through")
    return "only the rows that the policy lets through are seen"


def _location(ground: Ground) -> str:
    elsewhere = "US" if ground.cloud.location.upper() != "US" else "EU"
    asked = BigQuery(replace(ground.cloud, location=elsewhere))
    try:
        asked.estimate(_DAY.replace("{t}", ground.table))
    except NotThere as refused:
        if ground.cloud.dataset("loading") not in str(refused):
            raise Disproved(f"the refusal does not name the dataset: {refused}") from refused
        return f"a job in {elsewhere} does not find a dataset in {ground.cloud.location}, and says so"
    raise Disproved(f"a job in {elsewhere} read a table in {ground.cloud.location}")


def _policy_tag(ground: Ground, api: str = "https://datacatalog.googleapis.com") -> str:
    from google.auth.transport.requests import AuthorizedSession
    from google.cloud import bigquery

    session = AuthorizedSession(credentials(ground.cloud))
    place = f"projects/{ground.cloud.project}/locations/{ground.cloud.location.lower()}"

    def made(path: str, body: dict[str, Any]) -> str:
        answer = session.post(f"{api}/v1/{path}", json=body, timeout=30)
        if answer.status_code in {403, 404}:
            said = answer.json().get("error", {}).get("message", answer.status_code)
            raise NotAllowed(f"policy tags cannot be made: {said}. Needed: roles/datacatalog.categoryAdmin")
        answer.raise_for_status()
        return answer.json()["name"]

    title = ground.cloud.datasets.strip("_")
    taxonomy = made(f"{place}/taxonomies", {"displayName": title, "activatedPolicyTypes": ["FINE_GRAINED_ACCESS_CONTROL"]})
    try:
        tag = made(f"{taxonomy}/policyTags", {"displayName": "personal"})
        table = bigquery.Table(
            ground.cloud.table("marts.tagged"),
            [
                bigquery.SchemaField("n", "INTEGER"),
                bigquery.SchemaField("email", "STRING", policy_tags=bigquery.PolicyTagList([tag])),
            ],
        )
        ground.service.client.create_table(table)
        said = _refused(lambda: ground.ask(f"SELECT email FROM `{ground.cloud.table('marts.tagged')}`"))
        expect(ground.ask(f"SELECT n FROM `{ground.cloud.table('marts.tagged')}`"), [], "the column without a tag")
    finally:
        ground.service.client.delete_table(ground.cloud.table("marts.tagged"), not_found_ok=True)
        session.delete(f"{api}/v1/{taxonomy}", timeout=30)
    return f"who may not see the tag's data is refused: {said[:120]}"


def _refused(asked: Callable[[], Any]) -> str:
    try:
        asked()
    except BigQueryError as refused:
        return str(refused)
    raise Disproved("it was not refused")


STEPS = (
    Step("cost", "a dry run says what is processed, and partitions and columns that are not asked for cost nothing", _dry_run),
    Step("limit", "a query that would be billed for more than the limit is refused", _maximum),
    Step("partition filter", "a query that does not say which partitions it reads is refused", _filter),
    Step("rows", "a row access policy decides which rows are seen", _rows),
    Step(
        "location", "a job in another location is refused, with the dataset's name", _location, "another server has one place"
    ),
    Step(
        "policy tag",
        "a column with a policy tag is refused to who may not see it",
        _policy_tag,
        "another server has no Data Catalog",
    ),
)
