"""Where lake, warehouse, registry and online store live.

The only module that reads environment variables, and it connects to nothing. Settings:

| variable | meaning | default |
|---|---|---|
| `CAUDAL_ENV` | engines: `local` | `local` |
| `CAUDAL_ROOT` | the checkout: `workspace.yaml`, `dbt/`, `deploy/` | the nearest folder upwards with a `workspace.yaml` |
| `CAUDAL_DATA` | the folder of all data, one folder a company below it | `<root>/data` |
| `CAUDAL_LAKE` | the lake: a folder, `gs://`, `s3://` or `webhdfs://`; `{company}` is filled in | `<data>/<company>/lake` |
| `CAUDAL_LAKE_NOTIFICATIONS` | a Pub/Sub subscription to the lake's bucket: `projects/<project>/subscriptions/<name>` | none |
| `CAUDAL_SHARD_POD` | a pod's spec in YAML: shards of much work are normalized in such pods, not in processes | none |
| `CAUDAL_UI_URL` | where people reach Dagster's pages, for links in messages | `http://127.0.0.1:3000` |
| `CAUDAL_KEPT_VERSIONS` | how many published versions stay on disk, the newest included; at least 2 | 10 |
| `CAUDAL_KEPT_DAYS` | versions that were replaced longer ago go, but for the last one before the newest; 0: never | 30 |
| `CAUDAL_ACCESS` | an `access.yaml`: who may come into the webserver | none: who is at this machine, on loopback |
| `CAUDAL_COMPANY` | the company that the command line speaks of | the only code location, else `shop` |

What is secret, such as the address of an alerts channel, is in a variable or file that a declaration names; `secret` reads it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENTS = ("local",)


class UnknownEnvironment(ValueError):
    """`CAUDAL_ENV` names an environment that does not exist."""


@dataclass(frozen=True)
class Environment:
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

    @classmethod
    def current(cls, company: str | None = None) -> Environment:
        """The environment that the variables above describe.

        Raises:
            UnknownEnvironment: `CAUDAL_ENV` is not one of `ENVIRONMENTS`.

        """
        name = os.environ.get("CAUDAL_ENV", "local")
        if name not in ENVIRONMENTS:
            raise UnknownEnvironment(
                f"CAUDAL_ENV is {name!r}; expected one of: {', '.join(ENVIRONMENTS)}. Unset it to run on this machine."
            )
        company = company or os.environ.get("CAUDAL_COMPANY", "shop")
        root = Path(os.environ["CAUDAL_ROOT"]) if "CAUDAL_ROOT" in os.environ else _checkout()
        data = Path(os.environ["CAUDAL_DATA"]) if "CAUDAL_DATA" in os.environ else root / "data"
        return cls(
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
        )

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
        if self.lake_elsewhere is None:
            return str(self.lake)
        url = self.lake_elsewhere.replace("{company}", self.company)
        return url if "://" in url else str(Path(url).resolve())

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
        raise ValueError(f"{variable} is {given!r}; expected a number, 0 or more")
    return number


def _checkout() -> Path:
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "workspace.yaml").is_file():
                return folder
    return Path.cwd()
