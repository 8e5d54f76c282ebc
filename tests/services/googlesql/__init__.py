"""What GoogleSQL itself, with BigQuery's features and functions, says of statements: their columns, or where they are wrong."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.services.servers import installed


@dataclass(frozen=True)
class Said:
    """Of one statement: the columns of its result (of a script, of its last statement) with their types, or the error."""

    columns: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return f"{self.error} [at {self.line}:{self.column}]" if self.error else str(self.columns)


def analyze(tables: Mapping[str, Mapping[str, str]], statements: Mapping[str, str]) -> dict[str, Said]:
    """What is said of each statement (by a name), given tables (`project.dataset.table`) with their columns' types.

    One process for all of them, in seconds. A name that begins with a dataset is of the project `caudal-tests`.
    """
    library = installed("googlesql/lib")
    given = {
        "tables": [
            {"name": name, "columns": [{"name": column, "type": kind} for column, kind in columns.items()]}
            for name, columns in tables.items()
        ],
        "statements": [{"name": name, "sql": sql} for name, sql in statements.items()],
    }
    # The toolkit corrects classes of the analyzer and has to come first.
    path = f"{installed('googlesql/classes')}:{library}/zetasql-toolkit-core-0.5.2.jar:{library}/*"
    ran = subprocess.run(
        ["java", "-cp", path, "Analyze"], input=json.dumps(given), capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    answers = {answer.pop("name"): answer for answer in json.loads(ran.stdout)}
    for answer in answers.values():
        answer["columns"] = {column["name"]: column["type"] for column in answer.get("columns", [])}
    return {name: Said(**answer) for name, answer in answers.items()}
