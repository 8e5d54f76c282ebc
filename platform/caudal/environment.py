"""Where lake, warehouse, registry and online store live.

The only module that reads environment variables, and it connects to nothing. Settings:

| variable | meaning | default |
|---|---|---|
| `CAUDAL_ENV` | engines: `local`; `gcp`, with the settings of `caudal.google_cloud` | `local` |
| `CAUDAL_ROOT` | the checkout: `workspace.yaml`, `dbt/`, `deploy/` | the nearest folder upwards with a `workspace.yaml` |
| `CAUDAL_DATA` | the folder of all data, one folder a company below it | `<root>/data` |
| `CAUDAL_LAKE` | a folder, `gs://`, `s3://` or `webhdfs://`; `{company}` is filled in | `<data>/<company>/lake`, or a bucket |
| `CAUDAL_LAKE_NOTIFICATIONS` | a Pub/Sub subscription to the lake's bucket: `projects/<project>/subscriptions/<name>` | none |
| `CAUDAL_SHARD_POD` | a pod's spec in YAML: shards of much work are normalized in such pods, not in processes | none |
| `CAUDAL_UI_URL` | where people reach Dagster's pages, for links in messages | `http://127.0.0.1:3000` |
| `CAUDAL_KEPT_VERSIONS` | how many published versions stay on disk, the newest included; at least 2 | 10 |
| `CAUDAL_KEPT_DAYS` | versions that were replaced longer ago go, but for the last one before the newest; 0: never | 30 |
| `CAUDAL_ACCESS` | an `access.yaml`: who may come into the webserver | none: who is at this machine, on loopback |
| `CAUDAL_BRANCH` | a git branch: its own environment, made by `caudal env create`, in production's place | none: production |
| `CAUDAL_COMPANY` | the company that the command line speaks of | the only code location, else `shop` |

What is secret, such as the address of an alerts channel, is in a variable or file that a declaration names; `secret` reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from caudal.branch import BranchPlaces
from caudal.google_cloud import GoogleCloud, WrongSettings
from caudal.unwritable import only_read

ENVIRONMENTS = ("local", "gcp")


class UnknownEnvironment(WrongSettings):
    """`CAUDAL_ENV` names an environment that does not exist."""


class NoSuchBranch(WrongSettings):
    """`CAUDAL_BRANCH` names a branch that has no environment, or none that is whole."""


@dataclass(frozen=True)
class Environment(BranchPlaces):
    """The places of one company's data in one environment. Paths are absolute and need not exist yet.

    Attributes:
        name: the engines in use, one of `ENVIRONMENTS`.
        company: the company, which is also the name of its code location.
        root: the checkout.
        data: the folder that holds every company's data and Dagster's own.
        shard_pod: what `CAUDAL_SHARD_POD` names: image, and volumes that hold `data` where this process has it.
        access: what `CAUDAL_ACCESS` names, for `caudal.runtime.access`.
        lake_elsewhere: what `CAUDAL_LAKE` says, None if the lake is the folder below `data`.
        lake_notifications: what `CAUDAL_LAKE_NOTIFICATIONS` says, for `caudal.store.notifications`; `{company}` is filled in.
        ui_url: what `CAUDAL_UI_URL` says, without a slash at its end.
        cloud: where the data is in Google Cloud; None in `local`.
        branch: the git branch whose own environment this is; None for production. All that is written is below `data`, which
            is then a folder of the branch's own, and in datasets and a bucket's folder of its own.
        kept_versions, kept_days: what `CAUDAL_KEPT_VERSIONS` and `CAUDAL_KEPT_DAYS` say.

    """

    name: str
    company: str
    root: Path
    data: Path
    lake_elsewhere: str | None = None
    lake_notifications: str | None = None
    shard_pod: Path | None = None
    access: Path | None = None
    ui_url: str = "http://127.0.0.1:3000"
    kept_versions: int = 10
    kept_days: float = 30
    cloud: GoogleCloud | None = None
    branch: str | None = None

    @classmethod
    def current(cls, company: str | None = None, *, name: str | None = None, branch: str | None = None) -> Environment:
        """The environment that the variables above describe.

        Args:
            company: of the company, instead of what `CAUDAL_COMPANY` says.
            name: with these engines, instead of what `CAUDAL_ENV` says.
            branch: of that branch, instead of what `CAUDAL_BRANCH` says; "" for production.

        Raises:
            UnknownEnvironment: `CAUDAL_ENV` is not one of `ENVIRONMENTS`.
            NoSuchBranch: `CAUDAL_BRANCH` names a branch that has no environment.
            WrongSettings: it is `gcp`, whose settings are missing or wrong, or a number is none.

        """
        name = name or os.environ.get("CAUDAL_ENV", "local")
        if name not in ENVIRONMENTS:
            raise UnknownEnvironment(
                f"CAUDAL_ENV is {name!r}; expected one of: {', '.join(ENVIRONMENTS)}. Unset it to run on this machine."
            )
        company = company or os.environ.get("CAUDAL_COMPANY", "shop")
        root = checkout()
        data = Path(os.environ["CAUDAL_DATA"]) if "CAUDAL_DATA" in os.environ else root / "data"
        branch = os.environ.get("CAUDAL_BRANCH", "").strip() if branch is None else branch
        production = cls(
            name=name,
            company=company,
            root=root.resolve(),
            data=data.resolve(),
            lake_elsewhere=os.environ.get("CAUDAL_LAKE") or None,
            lake_notifications=os.environ.get("CAUDAL_LAKE_NOTIFICATIONS", "").replace("{company}", company) or None,
            shard_pod=Path(os.environ["CAUDAL_SHARD_POD"]) if os.environ.get("CAUDAL_SHARD_POD") else None,
            access=Path(os.environ["CAUDAL_ACCESS"]).resolve() if os.environ.get("CAUDAL_ACCESS") else None,
            ui_url=os.environ.get("CAUDAL_UI_URL", cls.ui_url).rstrip("/"),
            kept_versions=max(2, int(_number("CAUDAL_KEPT_VERSIONS", cls.kept_versions))),
            kept_days=_number("CAUDAL_KEPT_DAYS", cls.kept_days),
            cloud=GoogleCloud.of(os.environ, company) if name == "gcp" else None,
        )
        if not branch:
            return production
        found = production.of_branch(branch)
        if not found.branch_record.is_file():
            raise NoSuchBranch(
                f"CAUDAL_BRANCH is {branch!r}, which has no environment in {found.home}, or one that is not whole. "
                f"Make it with: CAUDAL_BRANCH= caudal env create {branch}   Or unset CAUDAL_BRANCH to work in production"
            )
        only_read(found.production.data, besides=found.data)
        return found

    @classmethod
    def of_module(cls, module_name: str) -> Environment:
        """The environment of the company whose package holds `module_name`, such as `shop.defs.sales`."""
        return cls.current(module_name.partition(".")[0])

    @property
    def home(self) -> Path:
        """Everything of this company."""
        return self.data / self.company

    @property
    def lake(self) -> Path:
        """The lake's folder on this machine: lake files, `<source>/<dataset>/...`, unless `lake_url` names another place."""
        return self.home / "lake"

    @property
    def lake_url(self) -> str:
        """Where the lake is, for `caudal.store.open_store`. Holds no secret: credentials come from each cloud's own chain."""
        if self.branch is not None:
            return f"overlay://{self.branch_lake}"
        if self.lake_elsewhere is None:
            return self.cloud.folder("lake") if self.cloud else str(self.lake)
        url = self.lake_elsewhere.replace("{company}", self.company)
        return url if "://" in url else str(Path(url).resolve())

    @property
    def acts_as(self) -> str | None:
        """The service account that `caudal.store.open_store` acts as in Google Cloud; None: whoever the credentials are of."""
        return self.cloud.impersonate if self.cloud else None

    @property
    def sources(self) -> Path:
        """Stand-ins of source systems that are files themselves, such as an SQLite database."""
        return self.home / "sources"

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse"

    @property
    def raw(self) -> Path:
        """Raw tables, one Delta Lake table a dataset: `<source>__<dataset>`."""
        return self.warehouse / "raw"

    @property
    def quarantine(self) -> Path:
        """Rejected rows, one Delta Lake table a dataset: `<source>__<dataset>`."""
        return self.warehouse / "quarantine"

    @property
    def failing(self) -> Path:
        """Rows that broke a rule, kept for whoever repairs them: Parquet files, a folder a check."""
        return self.warehouse / "failing"

    @property
    def published(self) -> Path:
        """The DuckDB file that readers open: a link to the published version, replaced and never written in place."""
        return self.warehouse / "warehouse.duckdb"

    @property
    def versions(self) -> Path:
        """The published version and the few before it, a folder each."""
        return self.warehouse / "versions"

    @property
    def candidates(self) -> Path:
        """Unpublished builds, a folder each, on the same file system as `versions`."""
        return self.warehouse / "candidates"

    @property
    def state(self) -> Path:
        """What the platform must remember: the ledger and its locks."""
        return self.home / "state"

    @property
    def registry(self) -> Path:
        """The model registry."""
        return self.home / "registry"

    @property
    def online(self) -> Path:
        """Versions of the online store."""
        return self.home / "online"

    @property
    def reports(self) -> Path:
        """Documents for people: executed notebooks."""
        return self.home / "reports"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance, shared by all companies."""
        return self.data / "dagster"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def duckdb_extensions(self) -> Path:
        """DuckDB's `extension_directory`: links to the signed extensions that installed packages bring."""
        return self.data / "duckdb_extensions"

    @property
    def shipped(self) -> Path:
        """What `caudal prepare` made when an image was built, and is only read since."""
        return self.root / "shipped" / self.company


class NoSecret(LookupError):
    """A variable or file that should hold a secret is not there, or empty. The message names it."""


def secret(variable: str | None = None, file: Path | None = None) -> str:
    """The secret in the environment variable or else in the file, without white space around it. To be kept nowhere.

    Raises:
        NoSecret: there is none.

    """
    if variable is not None:
        found = os.environ.get(variable, "").strip()
        where = f"the environment variable {variable} is not set"
    else:
        try:
            found = file.read_text(encoding="utf-8").strip() if file else ""
        except (OSError, ValueError):
            found = ""
        where = f"the file {file} cannot be read, or is empty"
    if not found:
        raise NoSecret(where)
    return found


def _number(variable: str, default: float) -> float:
    given = os.environ.get(variable) or str(default)
    try:
        number = float(given)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise WrongSettings(f"{variable} is {given!r}; expected a number, 0 or more")
    return number


def google_cloud(company: str, given: Mapping[str, str]) -> GoogleCloud:
    """What the variables say of Google Cloud, with `given` in the place of those of the same name, whatever `CAUDAL_ENV` is.

    Raises:
        WrongSettings: with everything that is wrong with them.

    """
    return GoogleCloud.of({**os.environ, **given}, company)


def checkout() -> Path:
    """What `CAUDAL_ROOT` says, or the nearest folder upwards with a `workspace.yaml`."""
    if "CAUDAL_ROOT" in os.environ:
        return Path(os.environ["CAUDAL_ROOT"])
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "workspace.yaml").is_file():
                return folder
    return Path.cwd()
