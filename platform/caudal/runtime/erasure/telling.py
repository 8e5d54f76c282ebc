"""Dagster is told of raw tables without the person's rows, as of any update, and makes anew what is below them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from caudal.lake.ledger import Ledger
from caudal.runtime.instance import open_instance

if TYPE_CHECKING:
    from caudal.environment import Environment
    from caudal.lake.dataset import Dataset
    from caudal.runtime.erasure.applying import Journal
    from caudal.runtime.erasure.plan import Plan


def tell(env: Environment, plan: Plan, journal: Journal | None, datasets: Sequence[Dataset]) -> list[str]:
    """Report a materialization of each dataset's raw table, of the partitions concerned; the assets.

    None if there is no instance yet, as before the first `caudal up`.
    """
    with open_instance(env) as instance:
        if instance is None:
            return []
        ledger = Ledger(env.state / "ledger.db")
        for dataset in datasets:
            concerned = set(journal.concerned.get(dataset.id, ())) if journal else set()
            partitions = {f.partition for f in ledger.files(dataset.id) if f.path in concerned}
            for partition in sorted(partitions, key=str):
                event = dg.AssetMaterialization(
                    dg.AssetKey(["raw", *dataset.id.split("/")]),
                    description=f"Rows of a person were erased: erasure {plan.id}.",
                    metadata={"erasure": plan.id, "rows erased": ledger.totals(dataset.id).rows_erased},
                    partition=partition,
                )
                instance.report_runless_asset_event(event)
    return [f"raw/{dataset.id}" for dataset in datasets]
