"""Accounts, APIs and permissions: what a project in Google Cloud must allow before a lake or a warehouse can be there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from caudal.google_cloud import SCOPES, GoogleCloud
from caudal.runtime.doctor.checks import Check, failed, ok, skipped
from caudal.runtime.doctor.google import Answer, Google, Invalid, Unanswered
from caudal.runtime.doctor.permissions import APIS, IMPERSONATION_API, NOTIFICATIONS_API, On, Permission, grants, on

#: Google refuses tokens that were signed by a clock that is wrong by more.
_CLOCK_S = 300

LOGIN = "gcloud auth application-default login"
_KINDS = (
    ("impersonated_credentials", "a service account's, by impersonation"),
    ("external_account", "workload identity federation"),
    ("identity_pool", "workload identity federation"),
    ("compute_engine", "those of the machine or pod (workload identity)"),
    ("service_account", "a service account's key file; a machine in Google Cloud needs none"),
    ("oauth2.credentials", f"a person's, of `{LOGIN}`"),
)


@dataclass(frozen=True)
class Asking:
    """Who asks whom.

    Attributes:
        cloud: the settings.
        google: asked as the account that Caudal acts as.
        member: that account as grants name it, such as `user:ann@example.com`.

    """

    cloud: GoogleCloud
    google: Google
    member: str = "user:ADDRESS"

    def grants(self, what: On, resource: str, missing: Sequence[Permission]) -> tuple[str, ...]:
        """The commands that allow what is missing."""
        return grants(what, resource, self.member, missing, self.cloud.project, self.cloud.location)


def credentials_check(google: Google) -> tuple[Check, str | None]:
    """Whether the credentials are good now, and whose they are as grants name it; None if they are not good."""
    name = "credentials"
    try:
        google.refresh()
    except Invalid as invalid:
        return failed(name, str(invalid), LOGIN, "on a machine in Google Cloud: attach a service account to it"), None
    except Unanswered as unanswered:
        return skipped(name, str(unanswered), "look at this machine's network, and try again"), None
    kind = next((words for part, words in _KINDS if part in type(google.credentials).__module__), "of a kind unknown here")
    account = getattr(google.credentials, "service_account_email", None)
    person = None if account else google.person()
    member = f"serviceAccount:{account}" if account else f"user:{person}" if person else "user:ADDRESS"
    expiry = getattr(google.credentials, "expiry", None)
    until = f", this token until {expiry:%H:%M} UTC" if isinstance(expiry, datetime) else ""
    return ok(name, f"{kind}; {account or person or 'Google does not tell whose'}{until}"), member


def impersonation_check(own: Google, account: str, member: str, project: str) -> Check:
    """Whether the credentials of this machine may act as `account`."""
    name = f"acting as {account}"
    needed = on(On.ACCOUNT)
    try:
        answer = own.token_of(account, list(SCOPES))
    except Unanswered as unanswered:
        return skipped(name, str(unanswered))
    if answer.good:
        return ok(name, "may be done")
    if answer.disabled:
        return failed(name, f"the API {IMPERSONATION_API} is not enabled", *_enable(project, [IMPERSONATION_API]))
    if answer.status == 404:
        return failed(name, "there is no such service account", f"gcloud iam service-accounts create NAME --project={project}")
    return failed(name, answer.said, *grants(On.ACCOUNT, account, member, needed, project, ""))


def clock_check(answer: Answer, now: datetime | None = None) -> Check:
    """Whether this machine's clock is right, by the time that an answer tells."""
    if answer.at is None:
        return skipped("clock", "the server tells no time")
    off = abs(((now or datetime.now(UTC)) - answer.at).total_seconds())
    if off > _CLOCK_S:
        return failed("clock", f"{off:,.0f} s off Google's; tokens are refused beyond {_CLOCK_S} s", "timedatectl set-ntp true")
    return ok("clock", f"within {max(1, round(off))} s of Google's")


def api_checks(asking: Asking, *, notifications: bool) -> Iterator[Check]:
    """Whether the APIs are enabled that these settings need."""
    cloud = asking.cloud
    needed = dict(APIS)
    if notifications:
        needed[NOTIFICATIONS_API] = "news of the lake's bucket"
    if cloud.impersonate:
        needed[IMPERSONATION_API] = "acting as a service account"
    answer = asking.google.services(cloud.project, list(needed))
    if not answer.good:
        yield skipped(
            "APIs",
            f"which are enabled cannot be seen: {answer.said}",
            f"gcloud services list --project={cloud.project} # should show {' '.join(needed)}",
        )
        return
    enabled = {s["name"].rpartition("/")[2] for s in answer.body.get("services", ()) if s.get("state") == "ENABLED"}
    missing = [name for name in needed if name not in enabled]
    if missing:
        yield failed("APIs", f"not enabled: {', '.join(missing)}", *_enable(cloud.project, missing))
    else:
        yield ok("APIs", f"enabled: {', '.join(needed)}")


def project_check(asking: Asking) -> tuple[Check, Answer | None]:
    """What the account may in the project; the answer too, for what else it tells."""
    cloud, needed = asking.cloud, on(On.PROJECT)
    name = f"project {cloud.project}"
    answer = asking.google.project_permissions(cloud.project, [p.name for p in needed])
    if answer.disabled:
        api = "cloudresourcemanager.googleapis.com"
        return skipped(name, f"the API {api} is not enabled", *_enable(cloud.project, [api])), answer
    if answer.status in {403, 404}:
        hint = "correct CAUDAL_GCP_PROJECT, or have this account granted the roles"
        return failed(name, f"there is none, or this account may not see it: {answer.said}", hint), answer
    if not answer.good:
        return skipped(name, answer.said), answer
    return judged(name, answer, needed, asking.grants(On.PROJECT, cloud.project, lacking(answer, needed))), answer


def subscription_check(asking: Asking, subscription: str) -> Check:
    """Whether news of the lake's bucket can be pulled."""
    needed, name = on(On.SUBSCRIPTION), f"notifications {subscription}"
    answer = asking.google.subscription_permissions(subscription, [p.name for p in needed])
    if answer.status == 404:
        return failed(
            name, "there is no such subscription", "correct CAUDAL_LAKE_NOTIFICATIONS; docs/guide/stores.md makes one"
        )
    if not answer.good:
        return failed(name, answer.said, *_enable(asking.cloud.project, [NOTIFICATIONS_API] if answer.disabled else []))
    return judged(name, answer, needed, asking.grants(On.SUBSCRIPTION, subscription, lacking(answer, needed)))


def lacking(answer: Answer, needed: Sequence[Permission]) -> list[Permission]:
    """Those of `needed` that an answer to `testIamPermissions` does not name."""
    allowed = set(answer.body.get("permissions", ()))
    return [p for p in needed if p.name not in allowed]


def judged(name: str, answer: Answer, needed: Sequence[Permission], to_do: Sequence[str]) -> Check:
    """The check of an answer to `testIamPermissions`."""
    missing = lacking(answer, needed)
    if missing:
        return failed(name, "lacks " + ", ".join(f"{p.name} ({p.why})" for p in missing), *to_do)
    return ok(name, f"all {len(needed)} permissions: {', '.join(p.name for p in needed)}")


def answered(name: str, question: Any) -> Iterator[Check]:
    """The checks of `question()`, or that it was not answered."""
    try:
        yield from question()
    except Unanswered as unanswered:
        yield skipped(name, str(unanswered), "try again; nothing is known of this")


def _enable(project: str, names: Sequence[str]) -> tuple[str, ...]:
    return (f"gcloud services enable {' '.join(names)} --project={project}",) if names else ()
