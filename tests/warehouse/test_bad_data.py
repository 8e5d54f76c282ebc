"""Bad data of many kinds, dropped on top of two months of good days: what is stopped, what is told, what passes.

`KINDS` is the table of docs/guide/bad-data.md; `CAUDAL_UPDATE_SNAPSHOTS=1` writes the page anew, for a person to read.
"""

import datetime as dt
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from caudal.contracts import read_contract
from caudal.environment import Environment
from caudal.lake.dataset import Dataset
from caudal.lake.ledger import Ledger
from caudal.warehouse import delta, duplicates
from caudal.warehouse.loading import load_pending
from caudal.warehouse.quality import judged
from caudal.warehouse.quality.raw import try_rules

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/guide/bad-data.md"
START = "<!-- kinds: written by tests/warehouse/test_bad_data.py -->\n"

PRODUCTS = """
apiVersion: v3.1.0
kind: DataContract
id: stall.products
version: 1.0.0
status: active
schema:
  - {name: products, properties: [{name: product_id, logicalType: string, primaryKey: true}]}
"""

SALES = """
apiVersion: v3.1.0
kind: DataContract
id: stall.sales
version: 1.0.0
status: active
slaProperties: [{property: freshness, value: 36, unit: h, element: sales.sold_at}]
schema:
  - name: sales
    properties:
      - {name: sale_id, logicalType: string, required: true, logicalTypeOptions: {pattern: "^S[0-9]+$"}}
      - {name: sold_at, logicalType: timestamp, required: true, logicalTypeOptions: {minimum: "2020-01-01 00:00:00"}}
      - name: product_id
        logicalType: string
        required: true
        relationships: [{to: stall/products.product_id, customProperties: [{property: severity, value: block}]}]
      - {name: quantity, logicalType: integer, required: true, logicalTypeOptions: {minimum: 1, maximum: 500}}
      - {name: price, logicalType: number, physicalType: "DECIMAL(10,2)", logicalTypeOptions: {minimum: 0.01, maximum: 1000}}
      - name: currency
        logicalType: string
        customProperties: [{property: allowedValues, value: [EUR]}]
      - name: customer
        logicalType: string
        classification: personal
        quality:
          - {name: placeholders, metric: missingValues, arguments: {missingValues: ["0000", "99999", "n/a"]},
             unit: percent, mustBeLessThan: 5}
      - {name: city, logicalType: string}
      - {name: discount, logicalType: number, physicalType: DOUBLE}
    quality:
      - {name: sale_id_is_unique, metric: duplicateValues, mustBe: 0, arguments: {properties: [sale_id]}}
      - {type: custom, engine: caudal, name: rows_a_day, severity: error, implementation: {volume: {}}}
      - {type: custom, engine: caudal, name: like_before,
         implementation: {distribution: {columns: [quantity, price, currency, customer, city, discount]}}}
      - {type: custom, engine: caudal, name: file_holds_its_day,
         implementation: {sql: "select * from sales where _file not like '%' || strftime(sold_at, '%Y-%m-%d') || '%'"}}
      - {type: custom, engine: caudal, name: shop_is_open,
         implementation: {sql: "select * from sales where hour(sold_at) not between 9 and 18"}}
"""

HEADER = "sale_id,sold_at,product_id,quantity,price,currency,customer,city,discount"
FIRST, DAYS = dt.date(2026, 1, 5), 58  # from a Monday on; nothing is sold on Sundays
LAST, NEW = FIRST + dt.timedelta(days=DAYS - 1), FIRST + dt.timedelta(days=DAYS)
COLUMNS = {name: i for i, name in enumerate(HEADER.split(","))}
Row = list[str]


def good_day(day: dt.date, seed: int = 0) -> list[Row]:
    """The rows of a day as they should be."""
    chance = random.Random(f"{day}{seed}")
    count = int((200 if day.weekday() == 5 else 140) * chance.uniform(0.92, 1.08))
    return [
        [
            f"S{day:%Y%m%d}{number:04}",
            f"{day} {chance.randint(9, 18):02}:{chance.randint(0, 59):02}:00",
            f"P-{chance.randint(1, 40):03}",
            str(chance.choice([1, 1, 1, 2, 2, 3, 5, 10])),
            f"{min(chance.lognormvariate(2.0, 0.8), 200):.2f}",
            "EUR",
            f"C{chance.randint(1, 900):04}",
            chance.choice(["Sevilla", "Sevilla", "Bilbao", "Málaga"]),
            str(round(chance.choice([0, 0, 0, 0.05, 0.1]), 2)),
        ]
        for number in range(count)
    ]


def csv(rows: list[Row], header: str = HEADER) -> str:
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


@dataclass
class Delivery:
    """Files to drop, and how many of their rows are bad (None: all that is wrong is about the file)."""

    files: dict[str, bytes]
    bad_rows: int | None = None


def new_day(rows: list[Row], bad_rows: int | None = None) -> Delivery:
    return Delivery({f"{NEW}.csv": csv(rows).encode()}, bad_rows)


def changed(column: str, value: Callable[[str], str] | str, every: int = 1) -> Callable[[], Delivery]:
    """A day in which a column of each n-th row is something else."""

    def make() -> Delivery:
        rows, bad = good_day(NEW), 0
        for row in rows[::every]:
            before = row[COLUMNS[column]]
            row[COLUMNS[column]] = value if isinstance(value, str) else value(before)
            bad += row[COLUMNS[column]] != before
        return new_day(rows, bad)

    return make


def shifted(hours: int) -> Callable[[str], str]:
    return lambda moment: str(dt.datetime.fromisoformat(moment) + dt.timedelta(hours=hours))


def swapped() -> Delivery:
    rows = good_day(NEW)
    for row in rows:
        row[3], row[4] = row[4], row[3]
    return new_day(rows, len(rows))


def late_rows() -> Delivery:
    day = LAST - dt.timedelta(days=2)
    late = [[f"S{day:%Y%m%d}9{n:03}", *row[1:]] for n, row in enumerate(good_day(day)[:6])]
    return Delivery({f"{day}.csv": csv(good_day(day) + late).encode()})


def key_reuse() -> Delivery:
    rows = [[old[0], *row[1:]] for row, old in zip(good_day(NEW), good_day(LAST), strict=False)]
    return new_day(rows, len(rows))


def double_submit() -> Delivery:
    rows = good_day(NEW)
    again = [[f"S{NEW:%Y%m%d}8{n:03}", *row[1:]] for n, row in enumerate(rows[:8])]
    return new_day(rows + again, 8)


def header_inside() -> Delivery:
    rows = good_day(NEW)
    return new_day([*rows[:50], HEADER.split(","), *rows[50:]], 1)


def truncated() -> Delivery:
    text = csv(good_day(NEW)).encode()
    return Delivery({f"{NEW}.csv": text[: len(text) * 2 // 3 - 20]})


def skipped_day() -> Delivery:
    after = NEW + dt.timedelta(days=1)
    return Delivery({f"{after}.csv": csv(good_day(after)).encode()})


#: What happens upstream -> what is delivered.
INJECTED: dict[str, Callable[[], Delivery]] = {
    "nothing: a good day": lambda: new_day(good_day(NEW), 0),
    "required value missing": changed("product_id", "", every=10),
    "optional column all empty": changed("customer", ""),
    "every row twice": lambda: new_day(good_day(NEW) * 2),
    "the same sale under a new number": double_submit,
    "keys used again for other rows": key_reuse,
    "yesterday's file sent as today's": lambda: new_day(good_day(LAST)),
    "prices in cents (x100)": changed("price", lambda p: f"{float(p) * 100:.2f}"),
    "prices in cents in 3 % of the rows": changed("price", lambda p: f"{float(p) * 100:.2f}", every=33),
    "prices in another currency, said": changed("currency", "USD"),
    "prices in another currency, not said (x1.08)": changed("price", lambda p: f"{float(p) * 1.08:.2f}"),
    "prices rounded to whole units": changed("price", lambda p: f"{max(round(float(p)), 1)}.00"),
    "every price the same": changed("price", "9.99"),
    "quantities negative": changed("quantity", lambda q: f"-{q}", every=5),
    "sign of the discount turned": changed("discount", lambda d: f"-{d}" if float(d) else d),
    "discount NaN or inf": changed("discount", "NaN", every=7),
    "a number beyond 64 bits": changed("quantity", "9223372036854775808", every=20),
    "quantity and price swapped": swapped,
    "time zone shifted by 6 hours": changed("sold_at", shifted(6)),
    "time zone shifted by 1 hour": changed("sold_at", shifted(1)),
    "dates a year ahead": changed("sold_at", lambda m: m.replace("2026", "2027")),
    "placeholder 1970-01-01": changed("sold_at", "1970-01-01 00:00:00", every=9),
    "placeholder customer 0000": changed("customer", "0000", every=4),
    "mixed date formats": changed("sold_at", lambda m: dt.datetime.fromisoformat(m).strftime("%d/%m/%Y %H:%M"), every=3),
    "day and month swapped": changed("sold_at", lambda m: f"{m[:5]}{m[8:10]}-{m[5:7]}{m[10:]}"),
    "product that does not exist": changed("product_id", "P-999", every=30),
    "product codes in small letters": changed("product_id", str.lower),
    "blanks around the city": changed("city", lambda c: f" {c} "),
    "a new city for a third of the rows": changed("city", "Vigo", every=3),
    "products mixed up, all existing": changed("product_id", lambda p: f"P-{(int(p[2:]) % 40) + 1:03}"),
    "header again in the body": header_inside,
    "file cut off": truncated,
    "file without rows": lambda: new_day([]),
    "file of no bytes": lambda: Delivery({f"{NEW}.csv": b""}),
    "a third of the rows": lambda: new_day(good_day(NEW)[::3]),
    "three times the rows": lambda: new_day([[f"{r[0]}{n}", *r[1:]] for n in range(3) for r in good_day(NEW)]),
    "a day left out": skipped_day,
    "late rows for an older day": late_rows,
    "Latin-1 in the place of UTF-8": lambda: Delivery({f"{NEW}.csv": csv(good_day(NEW)).encode("latin-1")}),
    "semicolons in the place of commas": lambda: Delivery({f"{NEW}.csv": csv(good_day(NEW)).replace(",", ";").encode()}),
    "a new column": lambda: Delivery(
        {f"{NEW}.csv": csv([[*r, "x"] for r in good_day(NEW)], f"{HEADER},extra").encode()}
    ),
    "a column renamed": lambda: Delivery({f"{NEW}.csv": csv(good_day(NEW), HEADER.replace("price", "amount")).encode()}),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    env: Environment
    dataset: Dataset
    good_version: int
    rows: int = 0
    now: dt.datetime = field(default=dt.datetime.combine(NEW, dt.time(22), dt.UTC))


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> World:
    """Two months of good days, loaded and judged."""
    home = tmp_path_factory.mktemp("good")
    env = Environment("local", "stall", ROOT, home / "data")
    for name, text in (("products", PRODUCTS), ("sales", SALES)):
        (home / f"{name}.yaml").write_text(text)
    products = Dataset("stall", "products", "csv", read_contract(home / "products.yaml"), path="*.csv")
    sales = Dataset(
        "stall", "sales", "csv", read_contract(home / "sales.yaml"), path="{day:%Y-%m-%d}.csv", partition_by="day",
        start=dt.datetime.fromisoformat("2026-01-01"),
    )  # fmt: skip
    for name in ("products", "sales"):
        (env.lake / "stall" / name).mkdir(parents=True)
    (env.lake / "stall/products/all.csv").write_text("product_id\n" + "".join(f"P-{n:03}\n" for n in range(1, 41)))
    for day in (FIRST + dt.timedelta(days=n) for n in range(DAYS)):
        if day.weekday() != 6:
            (env.lake / f"stall/sales/{day}.csv").write_text(csv(good_day(day)))
    load_pending(env, products, "first")
    loaded = load_pending(env, sales, "first")
    assert loaded.raw_version is not None
    assert loaded.rows_rejected == 0
    now = dt.datetime.combine(LAST, dt.time(22), dt.UTC)
    tried = try_rules(env, sales, loaded.raw_version, Ledger(env.state / "ledger.db").files(sales.id), now)
    assert [t.outcome.told for t in tried if not t.outcome.passed] == []
    return World(env, sales, loaded.raw_version, loaded.rows_loaded)


@dataclass(frozen=True)
class Verdict:
    """What became of a delivery: `stopped`, `warned` or `passed`, and what said so."""

    outcome: str
    by: str


def deliver(world: World, home: Path, delivery: Delivery) -> Verdict:
    """Load the delivery on top of a copy of the good days, and judge it."""
    shutil.copytree(world.env.data, home / "data", symlinks=True)
    env = replace(world.env, data=home / "data")
    for name, content in delivery.files.items():
        (env.lake / "stall/sales" / name).write_bytes(content)
    loaded = load_pending(env, world.dataset, "bad")
    ledger = Ledger(env.state / "ledger.db")
    now = world.now + dt.timedelta(days=max(name > f"{NEW}.csv" for name in delivery.files))
    tried = try_rules(env, world.dataset, loaded.raw_version, ledger.files(world.dataset.id), now)
    quarantined = [o for _, o in loaded.quarantined]
    blocked = [t.outcome.rule.name for t in tried if t.blocks]
    warned = [t.outcome.rule.name for t in tried if not t.outcome.passed and not t.blocks]
    assert loaded.raw_version is not None
    if duplicates.count(env, world.dataset, loaded.raw_version).shared:
        warned.append("duplicates")
    if blocked:  # Nobody builds with it.
        newest = delta.version_of_table(env.raw / world.dataset.table)
        assert judged.version_to_read(env, world.dataset, newest) == world.good_version
    rejected = loaded.rows_rejected
    by = ["the file is in quarantine"] * bool(quarantined)
    all_rejected = rejected and delivery.bad_rows is not None and rejected >= delivery.bad_rows
    by += [f"rejects ({'all' if all_rejected else 'some'} of the bad rows)"] * bool(rejected)
    by += [f"blocks: {', '.join(blocked)}"] * bool(blocked) + [f"warns: {', '.join(warned)}"] * bool(warned)
    stopped = quarantined or blocked or all_rejected
    outcome = "stopped" if stopped else "warned" if rejected or warned else "passed"
    return Verdict(outcome, "; ".join(by))


#: Why what passes passes.
WHY_PASSED = {
    "nothing: a good day": "there is nothing wrong",
    "the same sale under a new number": "eight more rows are no unusual day, and each is a row of its own",
    "prices in another currency, not said (x1.08)": "no rule knows what a price should be; 8 % is less than days differ",
    "prices rounded to whole units": "the tenths of the distribution hardly move",
    "products mixed up, all existing": "each value is one that is meant; only a person, or another source, can tell",
    "late rows for an older day": "that is as it should be: the file's rows are replaced, and the day has its late rows",
}


def page(verdicts: dict[str, Verdict]) -> str:
    lines = ["| what happens upstream | outcome | by what |", "|---|---|---|"]
    for name, verdict in verdicts.items():
        lines.append(f"| {name} | {verdict.outcome} | {verdict.by or WHY_PASSED.get(name, '')} |")
    counts = {
        o: sum(v.outcome == o for n, v in verdicts.items() if "good day" not in n) for o in ("stopped", "warned", "passed")
    }
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return "\n".join([*lines, "", f"Of {sum(counts.values())} kinds: {told}.", ""])


def test_what_becomes_of_bad_data_is_what_the_guide_says(good, tmp_path):
    verdicts = {}
    for number, (name, make) in enumerate(INJECTED.items()):
        verdicts[name] = deliver(good, tmp_path / str(number), make())
        shutil.rmtree(tmp_path / str(number))
    assert verdicts["nothing: a good day"] == Verdict("passed", "")
    before, _, _ = PAGE.read_text().partition(START)
    text = before + START + page(verdicts)
    if os.environ.get("CAUDAL_UPDATE_SNAPSHOTS"):
        PAGE.write_text(text)
    assert text == PAGE.read_text()
    assert {n for n, v in verdicts.items() if v.outcome == "passed"} == set(WHY_PASSED)
