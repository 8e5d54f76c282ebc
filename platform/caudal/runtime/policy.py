"""When an asset is refreshed by itself.

The lake sensor asks for what depends on new files; this policy is the safety net behind it and the only rule for everything
else: refresh an asset once all it depends on is there, audited and not in progress, when something it depends on was
updated, when its own code changed, or when it became missing. `AutomationCondition.eager()` is not used, for it ignores failed
blocking checks, drops late partitions and stops at views.

A run that failed is no reason: whether it is worth trying again depends on why it failed, which is for `failures` to judge and
for Dagster's retries of runs to do, once.

Whatever is due stays due until it was asked for, however long the asset has to wait: see `_owed`. The truth table is
`tests/runtime/test_policy_table.py`.
"""

import dagster as dg

from caudal.lake.watch import WHOLE_TAG

on = dg.AutomationCondition


def refresh_policy(partitioned: dg.AssetSelection, *, over_views: bool) -> dg.AutomationCondition:
    """The policy for unpartitioned assets.

    Args:
        partitioned: the partitioned lake and raw assets. A day without a file is no missing dependency.
        over_views: the asset depends on virtual assets, so that what lies below those matters too.

    """
    in_progress, missing = on.any_deps_in_progress(), on.any_deps_missing().ignore(partitioned)
    audited = on.all_deps_blocking_checks_passed()
    waits = in_progress | missing
    if over_views:
        waits = waits | in_progress.resolve_through_virtual() | missing.resolve_through_virtual()
        audited = audited & audited.resolve_through_virtual()
    # Whether a run is in progress is known up to now, and what it updated up to the start of the tick: what has just ended is
    # looked at by the next tick, which sees both.
    just_ended = (~on.in_progress()).newly_true()
    ready = ~on.in_progress() & ~just_ended & ~waits & audited
    # What a run updated that refreshes everything below it is nothing new to anybody. Dagster sees that by itself, but of a
    # run that materializes many partitions it sees it for the last one only; such a run says so by its tag.
    in_a_whole_run = on.executed_with_root_target() | on.all_new_updates_have_run_tags(tag_keys={WHOLE_TAG})
    newly_updated = (on.newly_updated() & ~in_a_whole_run) | on.will_be_requested()
    updated = on.any_deps_match(newly_updated).resolve_through_virtual()
    due = (
        _owed(updated, until=on.initial_evaluation())
        | _owed(on.code_version_changed(), until=on.initial_evaluation())
        | _owed(on.newly_missing(), until=on.newly_updated())
    )
    return (ready & due).with_label("refresh when what it depends on is new")


def _owed(trigger: dg.AutomationCondition, until: dg.AutomationCondition) -> dg.AutomationCondition:
    """Since `trigger`, as long as nothing was asked for.

    `since` lets a reset win over a trigger of the same tick, and a request is seen in the tick after it. What triggers then
    came after the request, and is owed another one.
    """
    return trigger.since((on.newly_requested() & ~trigger) | until)
