"""What it took to make assets the last time, from what Dagster remembers on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from caudal.runtime.plan.plan import Cost

if TYPE_CHECKING:
    import dagster as dg

    from caudal.environment import Environment

#: What steps tell of themselves, the first that is there.
_SECONDS = ("seconds", "Execution Duration")
_BYTES = ("bytes billed", "bytes", "size_bytes", "bytes read")


def of(env: Environment, keys: Iterable[str]) -> tuple[Cost, ...]:
    """The cost of each asset, with None for what nobody knows. A history that cannot be opened knows nothing."""
    import dagster as dg

    wanted = list(keys)
    if not wanted or not (env.dagster_home / "dagster.yaml").is_file():
        return tuple(Cost(key) for key in wanted)
    try:
        with dg.DagsterInstance.from_config(str(env.dagster_home)) as instance:
            return costs(instance, wanted)
    except Exception:  # noqa: BLE001 - such as another machine's database: then costs are not known, and the plan is whole
        return tuple(Cost(key) for key in wanted)


def costs(instance: dg.DagsterInstance, keys: Iterable[str]) -> tuple[Cost, ...]:
    """The cost of each asset, as its last materialization tells it."""
    import dagster as dg

    asset_keys = {key: dg.AssetKey.from_user_string(key) for key in keys}
    events = instance.get_latest_materialization_events(list(asset_keys.values()))
    return tuple(_cost(key, events.get(asset_key)) for key, asset_key in asset_keys.items())


def _cost(key: str, event: Any) -> Cost:
    materialization = event.asset_materialization if event else None
    metadata = materialization.metadata if materialization else {}
    seconds, read = (
        next((float(metadata[name].value) for name in names if _is_number(metadata.get(name))), None)
        for names in (_SECONDS, _BYTES)
    )
    return Cost(key, seconds, int(read) if read is not None else None)


def _is_number(value: Any) -> bool:
    return isinstance(getattr(value, "value", None), int | float)
