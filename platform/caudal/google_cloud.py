"""What the environment `gcp` needs to know of Google Cloud, read and judged in one place. Connects to nothing.

| variable | meaning | default |
|---|---|---|
| `CAUDAL_GCP_PROJECT` | the project that holds the datasets and pays for jobs | none: it must be said |
| `CAUDAL_GCP_LOCATION` | where datasets are and jobs run: `EU`, `US`, a region such as `europe-west1` | `EU` |
| `CAUDAL_GCP_BUCKET` | the bucket of parts, logs and, unless `CAUDAL_LAKE` says otherwise, the lake | none: it must be said |
| `CAUDAL_GCP_DATASETS` | what the names of all datasets begin with; `{company}` is filled in | `{company}_` |
| `CAUDAL_GCP_IMPERSONATE` | a service account to act as, by its address | none: whoever the credentials are of |
| `CAUDAL_GCP_MAXIMUM_BYTES` | a query that would be billed for more bytes is refused before it runs | none |
| `CAUDAL_GCP_USD_PER_TIB` | the price of a TiB that a query reads, for estimates | 6.25 |
| `CAUDAL_GCP_READ_USD_PER_TIB` | the price of a TiB read through the Storage Read API, for estimates | 1.1 |
| `CAUDAL_GCP_CANDIDATE_HOURS` | a candidate that nobody removed expires after so many hours | 24 |
| `CAUDAL_GCP_BRANCH_DAYS` | tables of a branch's environment expire so many days after they were made | 14 |
| `CAUDAL_GCP_POLICY_TAGS` | a policy tag for each classification, `personal=projects/...`, with commas | none |
| `CAUDAL_GCP_BIGQUERY_URL` | another server that speaks BigQuery's REST interface | Google's |
| `CAUDAL_GCP_BIGQUERY_READ_HOST` | another server, `host:port`, of its Storage Read interface, without TLS | Google's |

Credentials are Google's application default ones: those of the machine (workload identity), or of `gcloud auth
application-default login`. No key file is asked for. A server at `CAUDAL_GCP_BIGQUERY_URL` is given none. A variable that
begins with `CAUDAL_GCP_` and is not of this table is taken for a misspelt one, and refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

_PROJECT = re.compile(r"(?:[a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_LOCATION = re.compile(r"EU|US|[a-z]+-[a-z]+\d+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_DATASETS = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_ACCOUNT = re.compile(r"[^@\s]+@[^@\s]+\.gserviceaccount\.com")
_URL = re.compile(r"https?://[^\s/@]+/?")
_HOST = re.compile(r"[^\s/@:]+:\d{1,5}")
_POLICY_TAG = r"[a-z][a-z0-9_-]*=projects/[^/,\s]+/locations/[^/,\s]+/taxonomies/\d+/policyTags/\d+"
_POLICY_TAGS = re.compile(rf"{_POLICY_TAG}(?:\s*,\s*{_POLICY_TAG})*")
_POLICY_TAGS_EXPECTED = "`personal=projects/p/locations/eu/taxonomies/1/policyTags/2`, with commas between several"
_NOT_IN_A_LABEL = re.compile(r"[^a-z0-9_-]")

_PREFIX = "CAUDAL_GCP_"

#: What credentials are asked for: what they may do is decided by the account's roles.
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

#: A label's longest key and value, https://cloud.google.com/bigquery/docs/labels-intro#requirements
_LONGEST_LABEL = 63


#: What follows production's `datasets` in the names of all datasets of branches; no schema begins so.
BRANCH = "branch_"


class WrongSettings(ValueError):
    """Variables of this page are missing or cannot be right; the message names each, what it is and what was expected."""


@dataclass(frozen=True)
class GoogleCloud:
    """Where one company's data is in Google Cloud, and how it is reached. Holds no secret.

    Attributes:
        project, location, bucket: what the variables of those names say.
        datasets: what the names of this environment's datasets begin with; `{company}` is filled in.
        impersonate: the address of the service account to act as, or None.
        maximum_bytes: a query that would be billed for more is refused by BigQuery; None for no limit.
        usd_per_tib: the price of 2**40 bytes billed for queries, in US dollars.
        read_usd_per_tib: that of 2**40 bytes read through the Storage Read interface.
        candidate_hours: how long a candidate stands that nobody removed.
        branch_days: how long tables of a branch's environment stay.
        policy_tags: classifications of columns, each with the resource name of its policy tag.
        bigquery_url, bigquery_read_host: another server's REST and Storage Read interfaces; None for Google's.
        of_production: where production's data is, if this is a branch's; nothing of it may be written to.

    """

    project: str
    location: str
    bucket: str
    datasets: str
    impersonate: str | None = None
    maximum_bytes: int | None = None
    usd_per_tib: float = 6.25
    read_usd_per_tib: float = 1.1
    candidate_hours: float = 24
    branch_days: float = 14
    policy_tags: tuple[tuple[str, str], ...] = ()
    bigquery_url: str | None = None
    bigquery_read_host: str | None = None
    of_production: GoogleCloud | None = None

    @classmethod
    def of(cls, variables: Mapping[str, str], company: str) -> GoogleCloud:
        """What the variables of this page say.

        Raises:
            WrongSettings: with everything that is wrong with them.

        """
        reader = _Reader(variables)
        found = cls(
            project=reader.text("PROJECT", _PROJECT, "a project's id, such as `acme-data`"),
            location=reader.text("LOCATION", _LOCATION, "`EU`, `US`, or a region such as `europe-west1`", "EU"),
            bucket=reader.text("BUCKET", _BUCKET, "a bucket's name without `gs://`, such as `acme-data`"),
            datasets=reader.text("DATASETS", _DATASETS, "letters, digits and `_`", "{company}_", company=company),
            impersonate=reader.text("IMPERSONATE", _ACCOUNT, "a service account's address", "") or None,
            maximum_bytes=int(reader.number("MAXIMUM_BYTES", 0)) or None,
            usd_per_tib=reader.number("USD_PER_TIB", cls.usd_per_tib),
            read_usd_per_tib=reader.number("READ_USD_PER_TIB", cls.read_usd_per_tib),
            candidate_hours=reader.number("CANDIDATE_HOURS", cls.candidate_hours, least=1),
            branch_days=reader.number("BRANCH_DAYS", cls.branch_days, least=1),
            policy_tags=_policy_tags(reader.text("POLICY_TAGS", _POLICY_TAGS, _POLICY_TAGS_EXPECTED, "")),
            bigquery_url=reader.text("BIGQUERY_URL", _URL, "`http://host:port` or `https://host`", "").rstrip("/") or None,
            bigquery_read_host=reader.text("BIGQUERY_READ_HOST", _HOST, "`host:port`", "") or None,
        )
        reader.misspelt()
        if reader.problems:
            raise WrongSettings("CAUDAL_ENV is gcp, and its settings are not right:\n- " + "\n- ".join(reader.problems))
        return found

    def variables(self) -> dict[str, str]:
        """The variables of this page that say what this does, "" where nothing is said, for processes that read them."""
        return {
            "CAUDAL_GCP_PROJECT": self.project,
            "CAUDAL_GCP_LOCATION": self.location,
            "CAUDAL_GCP_BUCKET": self.bucket,
            "CAUDAL_GCP_DATASETS": self.datasets,
            "CAUDAL_GCP_IMPERSONATE": self.impersonate or "",
            "CAUDAL_GCP_MAXIMUM_BYTES": str(self.maximum_bytes or ""),
            "CAUDAL_GCP_USD_PER_TIB": str(self.usd_per_tib),
            "CAUDAL_GCP_READ_USD_PER_TIB": str(self.read_usd_per_tib),
            "CAUDAL_GCP_CANDIDATE_HOURS": str(self.candidate_hours),
            "CAUDAL_GCP_BRANCH_DAYS": str(self.branch_days),
            "CAUDAL_GCP_POLICY_TAGS": ",".join("=".join(each) for each in self.policy_tags),
            "CAUDAL_GCP_BIGQUERY_URL": self.bigquery_url or "",
            "CAUDAL_GCP_BIGQUERY_READ_HOST": self.bigquery_read_host or "",
        }

    def of_branch(self, short: str) -> GoogleCloud:
        """Where the data of a branch is, by its short name (`caudal.branch`). `datasets` that is the branch's already stays."""
        begin = self.datasets.removesuffix(f"{BRANCH}{short}__")
        production = replace(self, datasets=begin, of_production=None)
        return replace(production, datasets=f"{begin}{BRANCH}{short}__", of_production=production)

    @property
    def production(self) -> GoogleCloud:
        """Where the data of production is."""
        return self.of_production or self

    @property
    def branch(self) -> str | None:
        """The short name of the branch whose environment this is; None for production."""
        return self.datasets[len(self.of_production.datasets + BRANCH) : -2] if self.of_production else None

    def dataset(self, schema: str) -> str:
        """The BigQuery dataset that holds the tables of `schema`, such as `marts`, without the project."""
        return f"{self.datasets}{schema}"

    def table(self, relation: str) -> str:
        """`project.dataset.table` of a `schema.table`, as the client library takes it."""
        schema, name = relation.split(".", 1)
        return f"{self.project}.{self.dataset(schema)}.{name}"

    def folder(self, name: str) -> str:
        """The URL of a folder of this environment in the bucket, such as `parts`."""
        return f"gs://{self.bucket}/{self.datasets.strip('_')}/{name}"

    def usd(self, bytes_billed: int) -> float:
        """What so many billed bytes cost by the price of on-demand queries, in US dollars."""
        return bytes_billed / 2**40 * self.usd_per_tib

    def usd_of_reading(self, bytes_read: int) -> float:
        """What it costs to read so many bytes through the Storage Read interface, in US dollars."""
        return bytes_read / 2**40 * self.read_usd_per_tib


def label(text: str) -> str:
    """`text` as the value of a label may be: lower case, at most 63 letters, digits, `_` and `-`."""
    return _NOT_IN_A_LABEL.sub("_", text.lower())[:_LONGEST_LABEL]


def _policy_tags(told: str) -> tuple[tuple[str, str], ...]:
    pairs = (each.strip().partition("=") for each in told.split(",") if "=" in each)
    return tuple((classification, tag) for classification, _, tag in pairs)


def credentials(impersonate: str | None = None) -> Any:
    """Google's application default credentials, as the service account `impersonate` if one is named. Nothing is asked yet.

    Raises:
        google.auth.exceptions.GoogleAuthError: there are none on this machine.

    """
    import google.auth
    from google.auth import impersonated_credentials

    own, _ = google.auth.default(scopes=list(SCOPES))
    if impersonate is None:
        return own
    return impersonated_credentials.Credentials(own, target_principal=impersonate, target_scopes=list(SCOPES))


class _Reader:
    """Reads variables, and notes what is wrong with each."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._read: list[str] = []
        self.problems: list[str] = []

    def text(self, name: str, shape: re.Pattern[str], expected: str, default: str | None = None, **filled_in: str) -> str:
        given = self._given(name) or default
        if given is None:
            self.problems.append(f"{_PREFIX}{name} is not set; expected {expected}")
            return ""
        for key, value in filled_in.items():
            given = given.replace(f"{{{key}}}", value)
        if given and not shape.fullmatch(given):
            self.problems.append(f"{_PREFIX}{name} is {given!r}; expected {expected}")
        return given

    def number(self, name: str, default: float, least: float = 0) -> float:
        given = self._given(name)
        try:
            number = float(given or default)
        except ValueError:
            number = -1.0
        if not least <= number < float("inf"):
            self.problems.append(f"{_PREFIX}{name} is {given!r}; expected a number, {least} or more")
            return default
        return number

    def misspelt(self) -> None:
        """Note the variables that nobody reads."""
        for variable in sorted(self._variables):
            if variable.startswith(_PREFIX) and variable not in self._read:
                close = difflib.get_close_matches(variable, self._read, 1)
                hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(sorted(self._read))}"
                self.problems.append(f"{variable} is no setting; {hint}")

    def _given(self, name: str) -> str:
        self._read.append(_PREFIX + name)
        return self._variables.get(_PREFIX + name, "").strip()
