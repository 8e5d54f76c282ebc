"""A bakery in a repository of its own, its tables published, and then a change of it that nobody has deployed."""

import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from caudal.environment import Environment

BAKERY = Path(__file__).with_name("bakery")

SETTINGS = """
telemetry: {enabled: false}
storage: {custom: {module: caudal.runtime.storage, class: LocalStorage}}
compute_logs: {module: caudal.runtime.compute_logs, class: ComputeLogs}
"""

SALES = {
    "2026-03-01": [(1, "Ana Ruiz", "rye", 2, "9.00"), (2, "", "roll", 6, "3.00"), (3, "Bo Li", "wheat", 1, "3.50")],
    "2026-03-02": [(4, "Ana Ruiz", "rye", 1, "4.50"), (5, "", "roll", -6, "-3.00"), (6, "", "rye", 1, "4.50")],
}

PUBLISH = """
    import dagster as dg
    from caudal.environment import Environment
    from caudal.lake.component import declared_datasets
    from caudal.lake.ledger import Ledger
    from caudal.lake.watch import look
    from caudal.runtime.location import component_tree, load_definitions
    from caudal.runtime.plan import deployed
    env = Environment.current("bakery")
    look(env, Ledger(env.state / "ledger.db"), declared_datasets(component_tree(env)))
    job = load_definitions("bakery").resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.from_config(str(env.dagster_home)) as instance:
        made = job.execute_in_process(instance=instance, asset_selection=[
            dg.AssetKey(key.split("/")) for key in (
                "lake/till/sales", "raw/till/sales", "quarantine/till/sales", "staging/till/stg_till__sales",
                "marts/sales/fct_sales", "marts/sales/daily_sales")])
    assert made.success
    deployed.main(["bakery"])
"""


@dataclass(frozen=True)
class Company:
    """Its repository and its data."""

    root: Path
    env: Environment

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Python in the company's checkout."""
        environment = os.environ | {
            "CAUDAL_ROOT": str(self.root),
            "CAUDAL_DATA": str(self.env.data),
            "CAUDAL_COMPANY": "bakery",
            "PYTHONPATH": str(self.root),
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def caudal(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "caudal.cli", *arguments)

    def edit(self, path: str, *changes: tuple[str, str]) -> None:
        """Replace text that is there in a file of the checkout."""
        file = self.root / "bakery" / path
        text = file.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)


def git(folder: Path, *arguments: str) -> str:
    """git in a repository of a test, with names and times that are always the same."""
    environment = os.environ | {
        **{f"GIT_{who}_{what}": "bakery" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        **{f"GIT_{who}_DATE": "2026-03-10T08:00:00Z" for who in ("AUTHOR", "COMMITTER")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Company:
    """The bakery as it is committed, deployed and published."""
    home = tmp_path_factory.mktemp("bakery")
    root = shutil.copytree(BAKERY, home / "checkout", ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".gitignore").write_text("__pycache__/\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "What is deployed")
    company = Company(root, Environment("local", "bakery", root, home / "data"))
    company.env.dagster_home.mkdir(parents=True)
    (company.env.dagster_home / "dagster.yaml").write_text(SETTINGS)
    lake = company.env.lake / "till" / "sales"
    lake.mkdir(parents=True)
    for day, sales in SALES.items():
        rows = [f"{number},{day},{customer},{item},{pieces},{amount}" for number, customer, item, pieces, amount in sales]
        (lake / f"{day}.csv").write_text("\n".join(["sale_id,sold_on,customer,item,pieces,amount", *rows, ""]))
    done = company.run("-c", textwrap.dedent(PUBLISH))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return company


@pytest.fixture(scope="session")
def changed(published: Company) -> Company:
    """The same, with a change in the working tree that breaks something for somebody."""
    published.edit(
        "defs/sales/contracts/sales.odcs.yaml",
        ("[rye, wheat, roll]", "[rye, wheat]"),
        (
            "      - name: amount\n",
            "      - {name: channel, logicalType: string, description: Counter or telephone.}\n      - name: amount\n",
        ),
    )
    published.edit("dbt/models/marts/sales/fct_sales.sql", ("customer, ", ""))
    customer = "      - {name: customer, data_type: varchar, description: The name on the loyalty card.}\n"
    published.edit("dbt/models/marts/sales/sales.yml", (customer, ""))
    published.edit("dbt/macros/rounded.sql", ("cast({{ amount }}", "cast(floor({{ amount }})"))
    (published.root / "bakery/dbt/models/marts/sales/best_items.sql").write_text(
        'select item, sum(pieces) as pieces from {{ ref("daily_sales") }} group by item\n'
    )
    return published
