"""A process that queries what is published for as long as its standard input is open, then tells what it saw as JSON."""

import json
import sys
import threading
import time
from pathlib import Path

from caudal.environment import Environment
from caudal.warehouse import published

QUERY = """
SELECT (SELECT version FROM caudal.published) AS version,
       (SELECT min(n) FROM marts.a) AS least_a, (SELECT max(n) FROM marts.a) AS most_a, (SELECT count(*) FROM marts.a) AS rows_a,
       (SELECT min(n) FROM marts.b) AS least_b, (SELECT max(n) FROM marts.b) AS most_b, (SELECT count(*) FROM marts.b) AS rows_b
"""


def read(env: Environment, stop: threading.Event) -> dict:
    queries, slowest_open_s, problems, seen = 0, 0.0, [], set()
    while not stop.is_set():
        began = time.perf_counter()
        try:
            connection = published.connect(env)
            slowest_open_s = max(slowest_open_s, time.perf_counter() - began)
            with connection:
                row = connection.execute(QUERY).fetchone()
                again = connection.execute(QUERY).fetchone()
        except Exception as problem:  # noqa: BLE001 - it is what the test is about
            problems.append(repr(problem))
            continue
        queries += 1
        version, *numbers = row
        seen.add(version)
        if row != again:
            problems.append(f"one connection saw two versions: {row}, {again}")
        least_a, most_a, rows_a, least_b, most_b, rows_b = numbers
        if not least_a == most_a == least_b == most_b or (rows_a, rows_b) != (2_000, 2_000):
            problems.append(f"a mix, or what failed its audit: {row}")
    return {"queries": queries, "slowest_open_ms": slowest_open_s * 1000, "problems": problems[:5], "versions": len(seen)}


if __name__ == "__main__":
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    data = Path(sys.argv[1])
    print("ready", flush=True)
    print(json.dumps(read(Environment("local", "shop", data, data), stop)), flush=True)
