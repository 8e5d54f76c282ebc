"""BigQuery's refusals, told to the person who can do something about them."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caudal.google_cloud import GoogleCloud

_PERMISSION = re.compile(r"\b(bigquery\.[a-z]+\.[A-Za-z]+|storage\.[a-z]+\.[a-z]+)\b")
#: A failed load names the file in its errors, https://cloud.google.com/bigquery/docs/error-messages
_FILE = re.compile(r"gs://[^\s'\"]+")


class BigQueryError(RuntimeError):
    """BigQuery did not do what was asked. The message says what, where and what to do.

    Attributes:
        reason: BigQuery's word for it, such as `accessDenied`, or "".

    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class BigQueryRefused(BigQueryError):
    """It will refuse again until somebody changes something: a permission, a setting, a statement, a file."""


class BigQueryUnreachable(BigQueryError):
    """It was busy, or not reached, for as long as was waited. It may be asked again as it is."""


class NotThere(BigQueryRefused):
    """A project, dataset or table does not exist there."""


#: What passes by itself, by BigQuery's words, https://cloud.google.com/bigquery/docs/error-messages
TRANSIENT = frozenset(
    {"backendError", "internalError", "jobBackendError", "jobInternalError", "jobRateLimitExceeded", "rateLimitExceeded"}
)


@contextmanager
def explained(cloud: GoogleCloud, what: str) -> Generator[None]:
    """Within, the errors of Google's libraries become `BigQueryError`s.

    Args:
        what: what is being done, such as `load 3 parts into acme.shop_raw.pos__transactions`.

    """
    from google.api_core import exceptions
    from google.auth import exceptions as credentials

    try:
        yield
    except credentials.RefreshError as expired:
        raise BigQueryRefused(
            f"{what}: the credentials are no longer valid. Run `gcloud auth application-default login`, or, on a machine in "
            "Google Cloud, look at its service account",
            "credentials",
        ) from expired
    except credentials.GoogleAuthError as missing:
        raise BigQueryRefused(
            f"{what}: there are no usable credentials. Run `gcloud auth application-default login`, or attach a service "
            "account to the machine or pod (workload identity)",
            "credentials",
        ) from missing
    except exceptions.GoogleAPICallError as refused:
        raise error_of(cloud, what, refused) from refused
    except (exceptions.RetryError, ConnectionError, TimeoutError) as unreached:
        raise BigQueryUnreachable(f"{what}: BigQuery did not answer: {unreached}", "timeout") from unreached


def error_of(cloud: GoogleCloud, what: str, refused: Any) -> BigQueryError:
    """The error of a `google.api_core.exceptions.GoogleAPICallError`."""
    errors = [e for e in (refused.errors or ()) if isinstance(e, dict)]
    reason = str(errors[0].get("reason", "")) if errors else ""
    said = _said(refused, errors)
    # BigQuery answers 500 here, as if it might pass.
    if reason == "bytesBilledLimitExceeded" or "exceeded limit for bytes billed" in said:
        return BigQueryRefused(
            f"{what}: it would be billed for more bytes than it may: {said}. Have it read less (a filter on the partitions' "
            "column, fewer columns), or raise its limit: CAUDAL_GCP_MAXIMUM_BYTES, or `meta.maximum_bytes` of the model",
            "bytesBilledLimitExceeded",
        )
    if reason in TRANSIENT or refused.code in {429, 500, 502, 503, 504}:
        return BigQueryUnreachable(f"{what}: BigQuery was busy for too long: {said}", reason)
    if refused.code == 403 and reason in {"quotaExceeded", "billingTierLimitExceeded"}:
        return BigQueryRefused(f"{what}: a quota is used up: {said}. See https://cloud.google.com/bigquery/quotas", reason)
    if refused.code == 403:
        lacking = _PERMISSION.search(said)
        hint = f"the account lacks {lacking[1]}" if lacking else "the account may not"
        return BigQueryRefused(f"{what}: {hint}: {said}. `caudal doctor` tells how to grant it", reason or "accessDenied")
    if refused.code == 404:
        where = "" if f"location {cloud.location}" in said else f" The location in use is {cloud.location}."
        return NotThere(f"{what}: {said}.{where}", reason or "notFound")
    if "streaming buffer" in said:
        return BigQueryRefused(
            f"{what}: rows were streamed into the table within the last 90 minutes, and cannot be changed before BigQuery has "
            f"stored them: {said}. Only Caudal may write to its tables; stop the other writer, and try again later",
            reason,
        )
    return BigQueryRefused(f"{what}: {said}", reason)


def _said(refused: Any, errors: list[dict[str, Any]]) -> str:
    """BigQuery's own words; of a failed load the file too, which stands in one of the later errors."""
    said = str(errors[0].get("message") or refused.message) if errors else str(refused.message)
    files = {f for e in errors[1:] for f in _FILE.findall(f"{e.get('location', '')} {e.get('message', '')}")}
    files -= set(_FILE.findall(said))
    named = f" ({', '.join(sorted(files))})" if files else ""
    return f"{said.strip().rstrip('.')}{named}"
