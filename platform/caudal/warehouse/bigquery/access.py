"""What a table is guarded with before readers see it: policy tags on classified columns, and row access policies.

Both are put on a table of the candidate. A clone or snapshot takes them along, so that a published table is never without, not
for a moment. https://cloud.google.com/bigquery/docs/column-level-security and row-level-security-intro
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caudal.warehouse.bigquery import names
from caudal.warehouse.bigquery.explained import explained

if TYPE_CHECKING:
    from google.cloud import bigquery

    from caudal.contracts.access import Access
    from caudal.warehouse.bigquery.service import BigQuery

#: The policy by which the platform's own account sees every row: who does not cannot copy or change such a table.
ALL_ROWS = "caudal_all_rows"


def guard(service: BigQuery, table: str, access: Access, *, may_have_policies: bool = False) -> None:
    """Guard `table`, `project.dataset.table`, as declared.

    Args:
        may_have_policies: it began as a copy of another, with row access policies that may not be declared any more.

    """
    _tag(service, table, access.classified)
    if access.rows or may_have_policies:
        statements = policy_statements(table, access, own_account(service) if access.rows else "")
        service.query(";\n".join(statements) + ";", what=f"say who sees which rows of {table}")


def policy_statements(table: str, access: Access, own: str) -> list[str]:
    """The statements that give the table these policies and no others.

    Args:
        own: the platform's account, `serviceAccount:...` or `user:...`.

    """
    return [f"DROP ALL ROW ACCESS POLICIES ON `{table}`", *created(table, access, own)]


def created(table: str, access: Access, own: str, *, if_not_there: bool = False) -> list[str]:
    """The statements that give the table these policies, which it does not have, unless `if_not_there`."""
    if not access.rows:
        return []
    everyone = [(ALL_ROWS, (own,), "TRUE"), *((p.name, p.grantees, p.filter) for p in access.rows)]
    there = "IF NOT EXISTS " if if_not_there else ""
    return [
        f"CREATE ROW ACCESS POLICY {there}`{name}` ON `{table}` "
        f"GRANT TO ({', '.join(names.text(g) for g in grantees)}) FILTER USING ({condition})"
        for name, grantees, condition in everyone
    ]


def tagged(
    fields: Sequence[bigquery.SchemaField], classified: Mapping[str, str], tags: Mapping[str, str], above: str = ""
) -> list[bigquery.SchemaField]:
    """The columns, each with the policy tag of its classification; without one where it has none, or that has no tag."""
    from google.cloud import bigquery

    found = []
    for each in fields:
        path = f"{above}{each.name}"
        told: dict[str, Any] = each.to_api_repr()
        told.pop("policyTags", None)
        if each.fields:
            told["fields"] = [inner.to_api_repr() for inner in tagged(each.fields, classified, tags, f"{path}.")]
        elif (tag := tags.get(classified.get(path, ""))) is not None:
            told["policyTags"] = {"names": [tag]}
        found.append(bigquery.SchemaField.from_api_repr(told))
    return found


def _tag(service: BigQuery, table: str, classified: Mapping[str, str]) -> None:
    tags = dict(service.cloud.policy_tags)
    if not tags:
        return
    with explained(service.cloud, f"put policy tags on the columns of {table}"):
        found = service.client.get_table(table, retry=service.busy)
        wanted = tagged(found.schema, classified, tags)
        if [field.to_api_repr() for field in wanted] != [field.to_api_repr() for field in found.schema]:
            found.schema = wanted
            service.client.update_table(found, ["schema"], retry=service.busy)


def own_account(service: BigQuery) -> str:
    """Who the platform is to BigQuery."""
    if service.cloud.impersonate:
        return f"serviceAccount:{service.cloud.impersonate}"
    (row,) = service.query("SELECT SESSION_USER() AS account", what="ask who the platform is")
    account = row["account"]
    return f"{'serviceAccount' if account.endswith('.gserviceaccount.com') else 'user'}:{account}"
