"""In a run, what people and applications wait for comes before what is looked at."""

import dagster as dg
from dagster._core.execution.api import create_execution_plan

from caudal.precedence import precedence
from shop.definitions import defs


def test_steps_that_could_run_now_are_taken_by_stage_and_not_by_the_alphabet():
    order = []

    def step(name, stage):
        @dg.asset(name=name, op_tags=precedence(stage))
        def made():
            order.append(name)

        return made

    stages = [("a", "explore"), ("b", "models"), ("c", "transform"), ("d", "warehouse"), ("e", "sources")]
    assets = dg.Definitions([step(*s) for s in stages], executor=dg.in_process_executor)
    assert assets.resolve_implicit_global_asset_job_def().execute_in_process().success
    assert order == ["e", "d", "c", "b", "a"]


def test_the_shop_looks_at_its_tables_after_it_has_published_and_served_them():
    plan = create_execution_plan(defs().resolve_implicit_global_asset_job_def())
    by_name = {s.key: int(s.tags.get("dagster/priority", 0)) for s in plan.steps}
    looked_at = [p for name, p in by_name.items() if name.startswith(("profile_", "notebook_", "explore_"))]
    others = [p for name, p in by_name.items() if name.startswith(("load_", "dbt_", "promote_", "publish_", "extract_"))]
    assert looked_at
    assert max(looked_at) < 0 < min(others)
