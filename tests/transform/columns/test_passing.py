"""What is made of classified columns is masked, whatever it is called."""

import pytest

from caudal.contracts.masking import Names
from caudal.transform.columns.passing import passed_on
from caudal.transform.columns.stored import StoredTable
from caudal.transform.columns.values import Column

RAW, STAGED, MART = "raw/till/sales", "staging/till/sales", "marts/sales/buyers"
TABLES = {
    RAW: StoredTable({"buyer": Column("buyer")}),
    STAGED: StoredTable({"who": Column("who", {(RAW, "buyer"): True}), "shop": Column("shop", {(RAW, "buyer"): True})}),
    MART: StoredTable(
        {
            "Name": Column("Name", {(STAGED, "who"): True}),
            "loud": Column("loud", {(STAGED, "who"): False}),
            "n": Column("n", {(STAGED, "who"): False}),
            "place": Column("place", {(STAGED, "shop"): True}),
            "turns": Column("turns", {(MART, "turns"): True}),
        }
    ),
}


class Model:
    """What of a model is asked for."""

    def __init__(self, key: str, **columns: tuple[str, str | None]) -> None:
        self.key = tuple(key.split("/"))
        self.columns = [Said(name, *said) for name, said in columns.items()]


class Said:
    def __init__(self, name: str, data_type: str, classification: str | None) -> None:
        self.name, self.data_type, self.classification = name, data_type, classification


@pytest.mark.parametrize(("shop", "place"), [("public", set()), (None, {"place"})])
def test_copies_and_computed_text_are_hidden_and_not_what_is_counted_nor_what_a_model_calls_public(shop, place):
    mart = Model(MART, loud=("VARCHAR", None), n=("BIGINT", None))
    nodes = {m.key: m for m in (Model(STAGED, shop=("VARCHAR", shop)), mart)}
    assert set(passed_on(Names(["buyer"]), TABLES, nodes, mart)) == {"Name", "loud", *place}
