"""All that `caudal doctor` looks at, in the order in which one thing needs another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from urllib.parse import urlsplit

from caudal.environment import Environment
from caudal.google_cloud import GoogleCloud
from caudal.runtime.doctor.checks import Check, State, failed, skipped
from caudal.runtime.doctor.cloud import (
    LOGIN,
    Asking,
    answered,
    api_checks,
    clock_check,
    credentials_check,
    impersonation_check,
    project_check,
    subscription_check,
)
from caudal.runtime.doctor.google import Endpoints, Google
from caudal.runtime.doctor.machine import machine_checks
from caudal.runtime.doctor.storage_checks import bucket_checks
from caudal.runtime.doctor.warehouse_checks import warehouse_checks


def examined(env: Environment, endpoints: Endpoints | None = None) -> Iterator[Check]:
    """Every check of the environment, as soon as it is done.

    Args:
        env: the environment.
        endpoints: other servers than those that the settings name.

    """
    complete = True
    for check in machine_checks(env):
        complete &= (check.name, check.state) != ("packages", State.FAILED)
        yield check
    if env.cloud is None:
        return
    if not complete:
        yield skipped("Google Cloud", "nothing can be asked without the packages")
        return
    if env.cloud.bigquery_url and endpoints is None:
        yield from _another_server(env, env.cloud)
    else:
        yield from _google(env, env.cloud, endpoints or Endpoints())


def _google(env: Environment, cloud: GoogleCloud, endpoints: Endpoints) -> Iterator[Check]:
    from google.auth.exceptions import GoogleAuthError

    from caudal.google_cloud import credentials

    try:
        own = Google(credentials(), endpoints)
    except GoogleAuthError as missing:
        yield failed("credentials", f"there are none: {missing}", LOGIN, "or attach a service account to the machine or pod")
        return
    check, member = credentials_check(own)
    yield check
    if member is None:
        yield skipped("Google Cloud", "nothing more can be asked without credentials")
        return
    acting = own
    if cloud.impersonate:
        may = impersonation_check(own, cloud.impersonate, member, cloud.project)
        yield may
        if may.state != "ok":
            yield skipped("Google Cloud", f"nothing more can be asked without acting as {cloud.impersonate}")
            return
        acting, member = Google(credentials(cloud.impersonate), endpoints), f"serviceAccount:{cloud.impersonate}"
    yield from of_the_account(env, Asking(cloud, acting, member))


def of_the_account(env: Environment, asking: Asking) -> Iterator[Check]:
    """What the account finds, once there are credentials."""
    cloud, subscription = asking.cloud, env.lake_notifications

    def project() -> Iterator[Check]:
        check, answer = project_check(asking)
        if answer is not None:
            yield clock_check(answer)
        yield check

    yield from answered("APIs", lambda: api_checks(asking, notifications=subscription is not None))
    yield from answered(f"project {cloud.project}", project)
    yield from answered("buckets", lambda: _buckets(env, asking, permissions=True))
    yield from answered("BigQuery", lambda: warehouse_checks(asking, permissions=True))
    if subscription is not None:
        yield from answered("notifications", lambda: iter([subscription_check(asking, subscription)]))


def _another_server(env: Environment, cloud: GoogleCloud) -> Iterator[Check]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage._helpers import _get_storage_emulator_override

    url, storage = str(cloud.bigquery_url), _get_storage_emulator_override()
    for name in ("credentials", "clock", "APIs", f"project {cloud.project}"):
        yield skipped(name, f"{url} is not Google's, and is asked without an account")
    asking = Asking(cloud, Google(AnonymousCredentials(), Endpoints(bigquery=url, storage=storage or Endpoints.storage)))
    if storage is None:
        yield skipped("buckets", "STORAGE_EMULATOR_HOST names no server, and Google's is not asked without an account")
    else:
        yield from answered("buckets", lambda: _buckets(env, asking, permissions=False))
    yield from answered("BigQuery", lambda: warehouse_checks(asking, permissions=False))


def _buckets(env: Environment, asking: Asking, *, permissions: bool) -> Iterator[Check]:
    lake = urlsplit(env.lake_url)
    elsewhere = lake.netloc if lake.scheme == "gs" and lake.netloc != asking.cloud.bucket else None
    own = "parts, logs, snapshots" if elsewhere or lake.scheme != "gs" else "lake, parts, logs, snapshots"
    yield from chain(
        bucket_checks(asking, asking.cloud.bucket, own, permissions=permissions),
        bucket_checks(asking, elsewhere, "lake", permissions=permissions) if elsewhere else (),
    )
