"""Loading as the sensor has it done."""

from caudal.lake.ledger import Ledger
from caudal.lake.watch import look
from caudal.warehouse.loading import load_pending


def load(env, dataset, **given):
    """Look at the lake, and load what is pending."""
    look(env, Ledger(env.state / "ledger.db"), [dataset])
    return load_pending(env, dataset, "run", **given)
