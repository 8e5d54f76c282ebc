"""`python -m bench [NAME...]`: run benchmarks by name, all without one; write their tables to `bench/results`."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.frame import HEADER, Options, report, run

FOLDER = Path(__file__).parent
NOT_BENCHMARKS = {"__init__", "__main__", "frame", "child"}


def benchmarks() -> dict[str, Any]:
    """The modules that have `comparisons`, by name."""
    found = {}
    for file in sorted(FOLDER.glob("*.py")):
        if file.stem not in NOT_BENCHMARKS:
            module = importlib.import_module(f"bench.{file.stem}")
            if hasattr(module, "comparisons"):
                found[file.stem] = module
    return found


def main() -> int:
    """0 if every goal was reached."""
    known = benchmarks()
    listed = "\n".join(f"  {name:12} {_title(module)}" for name, module in known.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all without one")
    parser.add_argument("--list", action="store_true", help="only list them")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of each comparison (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data; 1, the default, is what goals are about")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "caudal-bench",
        help="folder for data and peers' environments; stays, to be used again (default: in the temporary folder)",
    )
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="folder for the tables")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(known))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}. There are:\n{listed}")
    if given.list:
        print(listed)
        return 0
    options = Options(given.cache.resolve(), given.repeats, given.scale)
    options.cache.mkdir(parents=True, exist_ok=True)
    given.results.mkdir(parents=True, exist_ok=True)
    reached = True
    for name in given.names or known:
        print(f"\n{_title(known[name])}\n\n{HEADER}", flush=True)
        results = run(known[name].comparisons(options), options, lambda line: print(line, flush=True))
        (given.results / f"{name}.md").write_text(report(_title(known[name]), results, options))
        reached &= all(result.reached for result in results)
    return 0 if reached else 1


def _title(module: Any) -> str:
    return module.__doc__.splitlines()[0].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
