"""What the account that Caudal acts as must be allowed in Google Cloud, and why: the one declaration of it.

`caudal doctor` asks for each, the table in docs/guide/google-cloud.md is made of it, and deploy/terraform grants the same
roles; tests hold both to this page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class On(StrEnum):
    """What a permission is granted on."""

    PROJECT = "project"
    BUCKET = "bucket"
    DATASET = "dataset"
    SUBSCRIPTION = "subscription"
    ACCOUNT = "account"


@dataclass(frozen=True)
class Permission:
    """One permission.

    Attributes:
        name: Google's.
        on: what it is granted on.
        role: the smallest predefined role that brings it.
        why: what Caudal does with it.

    """

    name: str
    on: On
    role: str
    why: str


_USER = "roles/bigquery.user"
_OBJECTS, _BUCKET, _OWNER = "roles/storage.objectUser", "roles/storage.legacyBucketReader", "roles/bigquery.dataOwner"

PERMISSIONS = (
    Permission("bigquery.jobs.create", On.PROJECT, _USER, "every load, query, copy and dry run is a job"),
    Permission("bigquery.datasets.create", On.PROJECT, _USER, "datasets of the environment, and one for each candidate"),
    Permission(
        "bigquery.readsessions.create", On.PROJECT, _USER, "features, profiles and serving read by the Storage Read API"
    ),
    Permission("bigquery.readsessions.getData", On.PROJECT, _USER, "the rows of such a session"),
    Permission("storage.buckets.get", On.BUCKET, _BUCKET, "where the bucket is: it must be where the datasets are"),
    Permission("storage.objects.list", On.BUCKET, _OBJECTS, "what is new in the lake"),
    Permission("storage.objects.get", On.BUCKET, _OBJECTS, "reading lake files; load jobs read parts as this account"),
    Permission("storage.objects.create", On.BUCKET, _OBJECTS, "parts, compute logs, extracted lake files"),
    Permission("storage.objects.delete", On.BUCKET, _OBJECTS, "parts once they are loaded, and replacing an object"),
    Permission("bigquery.datasets.get", On.DATASET, _OWNER, "where a dataset is, and who is authorized on it"),
    Permission("bigquery.datasets.update", On.DATASET, _OWNER, "authorizing views to read what their readers may not"),
    Permission("bigquery.datasets.delete", On.DATASET, _OWNER, "candidates and branches that are done"),
    Permission("bigquery.tables.get", On.DATASET, _OWNER, "schemas, versions, sizes"),
    Permission("bigquery.tables.getData", On.DATASET, _OWNER, "models, checks and profiles read rows"),
    Permission("bigquery.tables.create", On.DATASET, _OWNER, "raw tables, candidates"),
    Permission("bigquery.tables.update", On.DATASET, _OWNER, "columns that a contract adds, descriptions, expiration"),
    Permission("bigquery.tables.updateData", On.DATASET, _OWNER, "loading, and replacing a file's rows"),
    Permission("bigquery.tables.delete", On.DATASET, _OWNER, "candidates that are done"),
    Permission("bigquery.tables.createSnapshot", On.DATASET, _OWNER, "published versions"),
    Permission("bigquery.tables.deleteSnapshot", On.DATASET, _OWNER, "versions that are kept no longer"),
    Permission("pubsub.subscriptions.consume", On.SUBSCRIPTION, "roles/pubsub.subscriber", "news of the lake's bucket"),
    Permission(
        "iam.serviceAccounts.getAccessToken",
        On.ACCOUNT,
        "roles/iam.serviceAccountTokenCreator",
        "acting as the service account that `CAUDAL_GCP_IMPERSONATE` names",
    ),
)

#: APIs that must be enabled in the project, and why.
APIS = {
    "bigquery.googleapis.com": "the warehouse",
    "bigquerystorage.googleapis.com": "reading tables at speed",
    "storage.googleapis.com": "lake, parts and logs",
    "cloudresourcemanager.googleapis.com": "`caudal doctor` asks it what the account may",
}
#: Those that only some settings need.
NOTIFICATIONS_API, IMPERSONATION_API = "pubsub.googleapis.com", "iamcredentials.googleapis.com"


def on(what: On) -> tuple[Permission, ...]:
    """The permissions that are granted on `what`."""
    return tuple(p for p in PERMISSIONS if p.on is what)


def roles(permissions: Iterable[Permission]) -> tuple[str, ...]:
    """The roles that bring `permissions`, each once."""
    return tuple(dict.fromkeys(p.role for p in permissions))


def grants(what: On, resource: str, member: str, missing: Iterable[Permission], project: str, location: str) -> tuple[str, ...]:
    """The commands that grant `missing` on `resource` to `member`, such as `serviceAccount:caudal@...`."""
    bind = "add-iam-policy-binding"
    sql = f"bq query --project_id={project} --location={location} --use_legacy_sql=false"
    commands = {
        On.PROJECT: f"gcloud projects {bind} {resource} --member={member} --role={{}} --condition=None",
        On.BUCKET: f"gcloud storage buckets {bind} gs://{resource} --member={member} --role={{}}",
        On.DATASET: f"{sql} 'GRANT `{{}}` ON SCHEMA `{resource}` TO \"{member}\"'",
        On.SUBSCRIPTION: f"gcloud pubsub subscriptions {bind} {resource} --member={member} --role={{}}",
        On.ACCOUNT: f"gcloud iam service-accounts {bind} {resource} --member={member} --role={{}}",
    }
    return tuple(commands[what].format(role) for role in roles(missing))


def table() -> str:
    """All of it as a table in Markdown, for the guide."""
    rows = [f"| `{p.name}` | {p.on} | `{p.role}` | {p.why} |" for p in PERMISSIONS]
    return "\n".join(["| permission | on | smallest role | why |", "|---|---|---|---|", *rows])
