"""A company whose tables are in the BigQuery server, and what its readers bring."""

import datetime as dt
import json
from typing import Any

from caudal.environment import Environment
from caudal.warehouse import published
from caudal.warehouse.bigquery import session, versions
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.versions import NOBODY, Relation, Version, written


class Company:
    """A company whose tables are in the server, and who publishes them."""

    def __init__(self, env: Environment) -> None:
        assert env.cloud is not None
        self.env, self.cloud = env, env.cloud
        self.service = BigQuery(env.cloud)
        versions.make_tables(self.service)

    def make(self, relation: str, select: str, kind: str = "TABLE", options: str = "") -> None:
        versions.make_dataset(self.service, self.cloud.dataset(relation.split(".", 1)[0]))
        self.service.query(f"CREATE OR REPLACE {kind} `{self.cloud.table(relation)}` {options} AS {select}")

    def publish(self, version: str, relations: dict[str, Relation] | None = None, ago: dt.timedelta = dt.timedelta()) -> None:
        record = Version(version, dt.datetime.now(dt.UTC), "", NOBODY, relations or {}, {})
        self.service.query(
            f"INSERT INTO `{versions.published(self.cloud)}` (version, published_at, record) SELECT '{version}', "
            f"TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {int(ago.total_seconds())} SECOND), '''{json.dumps(written(record))}'''"
        )

    def connect(self) -> session.Session:
        connection: Any = published.connect(self.env)
        return connection


SALES = (
    "SELECT i AS id, CONCAT('city ', CAST(MOD(i, 10) AS STRING)) AS city, DATE_ADD(DATE '2024-01-01', INTERVAL MOD(i, 100) DAY) "
    "AS day, CAST(i AS NUMERIC) / 4 AS price FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS i"
)


def reads(connection: session.Session, relation: str) -> list[session.Read]:
    return connection._reads.get(relation, [])
