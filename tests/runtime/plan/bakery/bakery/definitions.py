"""The code location `bakery`."""

import dagster as dg

from caudal.runtime.location import code_location


@dg.definitions
def defs() -> dg.Definitions:
    return code_location("bakery")
