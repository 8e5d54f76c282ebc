"""Asking Google's interfaces, and servers in their place, one question at a time. Nothing is changed by any of them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

_TIMEOUT_S = 20.0
#: Attempts at a question while the server is busy, with growing pauses.
_ATTEMPTS = 4


class Unanswered(Exception):
    """A question was not answered. The message says why."""


class Invalid(Unanswered):
    """The credentials are expired, revoked, or there are none."""


@dataclass(frozen=True)
class Endpoints:
    """Where each interface is asked."""

    bigquery: str = "https://bigquery.googleapis.com"
    storage: str = "https://storage.googleapis.com"
    projects: str = "https://cloudresourcemanager.googleapis.com"
    services: str = "https://serviceusage.googleapis.com"
    accounts: str = "https://iamcredentials.googleapis.com"
    subscriptions: str = "https://pubsub.googleapis.com"
    tokens: str = "https://oauth2.googleapis.com"


@dataclass(frozen=True)
class Answer:
    """What a server said: the status of HTTP, the document, and when by its clock."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def said(self) -> str:
        """The server's words for what is wrong."""
        error = self.body.get("error", {})
        message = error.get("message") if isinstance(error, Mapping) else error
        return " ".join(str(message or f"HTTP status {self.status}").split()).rstrip(".")

    @property
    def disabled(self) -> bool:
        """Whether the API is not enabled in the project."""
        error = self.body.get("error", {})
        told = [*error.get("details", ()), *error.get("errors", ())] if isinstance(error, Mapping) else []
        return any(e.get("reason") in {"SERVICE_DISABLED", "accessNotConfigured"} for e in told if isinstance(e, Mapping))


class Google:
    """The interfaces, asked with one account's credentials."""

    def __init__(self, credentials: Any, endpoints: Endpoints | None = None) -> None:
        """Connect to nothing yet."""
        from google.auth.transport.requests import AuthorizedSession
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        self.credentials = credentials
        self.endpoints = endpoints or Endpoints()
        self._session = AuthorizedSession(credentials)
        busy = Retry(
            _ATTEMPTS - 1,
            connect=1,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            backoff_factor=0.3,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=busy))

    def refresh(self) -> None:
        """Get a token, as the first question would.

        Raises:
            Invalid: the credentials are of no use.
            Unanswered: the server that gives tokens does not answer.

        """
        from google.auth.transport.requests import Request

        with _explained("Google's token server"):
            if not self.credentials.valid:
                self.credentials.refresh(Request())

    def project_permissions(self, project: str, names: list[str]) -> Answer:
        url = f"{self.endpoints.projects}/v1/projects/{quote(project)}:testIamPermissions"
        return self._ask("POST", url, json={"permissions": names})

    def services(self, project: str, names: list[str]) -> Answer:
        parent = f"projects/{quote(project)}"
        url = f"{self.endpoints.services}/v1/{parent}/services:batchGet"
        return self._ask("GET", url, params={"names": [f"{parent}/services/{name}" for name in names]})

    def bucket(self, name: str) -> Answer:
        return self._ask("GET", f"{self.endpoints.storage}/storage/v1/b/{quote(name, safe='')}")

    def bucket_permissions(self, name: str, names: list[str]) -> Answer:
        url = f"{self.endpoints.storage}/storage/v1/b/{quote(name, safe='')}/iam/testPermissions"
        return self._ask("GET", url, params={"permissions": names})

    def datasets(self, project: str) -> Answer:
        return self._ask("GET", f"{self._bigquery(project)}/datasets", params={"maxResults": 1000})

    def tables(self, project: str, dataset: str) -> Answer:
        return self._ask("GET", f"{self._bigquery(project)}/datasets/{dataset}/tables", params={"maxResults": 1})

    def table_permissions(self, project: str, dataset: str, table: str, names: list[str]) -> Answer:
        url = f"{self._bigquery(project)}/datasets/{dataset}/tables/{quote(table)}:testIamPermissions"
        return self._ask("POST", url, json={"permissions": names})

    def dry_run(self, project: str, location: str) -> Answer:
        query = {"query": "SELECT 1", "useLegacySql": False, "dryRun": True, "location": location}
        return self._ask("POST", f"{self._bigquery(project)}/queries", json=query)

    def subscription_permissions(self, subscription: str, names: list[str]) -> Answer:
        url = f"{self.endpoints.subscriptions}/v1/{quote(subscription)}:testIamPermissions"
        return self._ask("POST", url, json={"permissions": names})

    def token_of(self, account: str, scopes: list[str]) -> Answer:
        """A token to act as a service account, which is dropped: whether it is given is what is asked."""
        url = f"{self.endpoints.accounts}/v1/projects/-/serviceAccounts/{quote(account, safe='@')}:generateAccessToken"
        given = self._ask("POST", url, json={"scope": scopes, "lifetime": "300s"})
        return Answer(given.status, {} if given.good else given.body, given.at)

    def person(self) -> str | None:
        """The address of the person whom the token is of, if Google tells it."""
        url = f"{self.endpoints.tokens}/tokeninfo"
        answer = self._ask("POST", url, data={"access_token": self.credentials.token})
        return answer.body.get("email") if answer.good else None

    def _bigquery(self, project: str) -> str:
        return f"{self.endpoints.bigquery}/bigquery/v2/projects/{quote(project)}"

    def _ask(self, method: str, url: str, **given: Any) -> Answer:
        with _explained(url.split("/")[2]):
            answer = self._session.request(method, url, timeout=_TIMEOUT_S, **given)
        try:
            body = answer.json() if answer.content else {}
        except ValueError:
            body = {}
        return Answer(answer.status_code, body if isinstance(body, Mapping) else {}, _clock(answer.headers.get("Date")))


@contextmanager
def _explained(server: str) -> Generator[None]:
    from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
    from requests import RequestException

    try:
        yield
    except TransportError as unreached:
        raise Unanswered(f"Google's token server does not answer: {_first(unreached)}") from unreached
    except RefreshError as expired:
        raise Invalid(f"the credentials are no longer valid: {_first(expired)}") from expired
    except GoogleAuthError as missing:
        raise Invalid(_first(missing)) from missing
    except RequestException as unreached:
        raise Unanswered(f"{server} does not answer: {type(unreached).__name__}") from unreached


def _clock(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def _first(error: Exception) -> str:
    """The first words of an error of google-auth, whose arguments may hold the whole answer."""
    text = str(error.args[0]) if error.args else type(error).__name__
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
