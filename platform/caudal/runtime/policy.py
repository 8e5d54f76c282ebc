"""When an asset is refreshed by itself.

The lake sensor asks for what depends on new files; this policy is the safety net behind it and the only rule for everything
else: refresh an asset once all it depends on is there, audited and not in progress, when something it depends on was
updated, when its own code changed, when it became missing, or when its last run failed. `AutomationCondition.eager()` is not
used, for it forgets updates whose run failed, ignores failed blocking checks, drops late partitions and stops at views.
"""

import dagster as dg

from caudal.lake.watch import WHOLE_TAG


def refresh_policy(partitioned: dg.AssetSelection) -> dg.AutomationCondition:
    """The policy for unpartitioned assets.

    Args:
        partitioned: the partitioned lake and raw assets. A day without a file is no missing dependency.

    """
    on = dg.AutomationCondition
    ready = (
        ~on.in_progress()
        & ~on.any_deps_in_progress()
        & ~on.any_deps_missing().ignore(partitioned)
        & on.all_deps_blocking_checks_passed()
        & on.all_deps_blocking_checks_passed().resolve_through_virtual()
    )
    # What a run updated that refreshes everything below it is nothing new to anybody. Dagster sees that by itself, but of a
    # run that materializes many partitions it sees it for the last one only; such a run says so by its tag.
    in_a_whole_run = on.executed_with_root_target() | on.all_new_updates_have_run_tags(tag_keys={WHOLE_TAG})
    newly_updated = (on.newly_updated() & ~in_a_whole_run) | on.will_be_requested()
    updated = on.any_deps_match(newly_updated).resolve_through_virtual()
    asked = on.newly_requested()
    # `since` lets a reset win over a trigger of the same tick. What is updated in the tick after a request came after it, and
    # is owed another one: the second latch holds it.
    since_asked = updated.since(asked | on.initial_evaluation())
    right_after_asked = (updated & asked).since((asked & ~updated) | on.initial_evaluation())
    due = (
        since_asked
        | right_after_asked
        | on.code_version_changed()
        | (on.newly_missing() & ~on.any_deps_missing().ignore(partitioned))
        | on.execution_failed().newly_true()
    )
    return (ready & due).with_label("refresh when what it depends on is new")
