"""What a company declares at most once, and what it does on a schedule."""

from typing import TypeVar

import dagster as dg

C = TypeVar("C", bound=dg.Component)


def declared_once(tree: dg.ComponentTree, component: type[C], reason: str = "") -> C | None:
    """What the company declares of this kind, None if it does not.

    Args:
        tree: the company's components.
        component: the kind.
        reason: why there cannot be two, for the error.

    Raises:
        ValueError: it declares that twice.

    """
    found = tree.get_all_components(component)
    if len(found) > 1:
        name = f"{component.__module__}.{component.__qualname__}"
        raise ValueError(f"`{name}` is declared twice; {reason}{': ' if reason else ''}remove one declaration")
    return found[0] if found else None


def on_schedule(name: str, assets: dg.AssetsDefinition, cron: str, description: str) -> dg.Definitions:
    """The assets, the job `<name>_job` for them alone, and the schedule `<name>`, in UTC, which runs unless it is stopped."""
    job = dg.define_asset_job(f"{name}_job", [assets], description=description)
    schedule = dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(assets=[assets], jobs=[job], schedules=[schedule])
