"""Benchmarks against peers and limits, run by hand: `python -m bench [NAME...]`, or `make bench BENCH=NAME`.

A benchmark is a module of this folder. Its docstring says what is compared; its function

    def comparisons(options: Options) -> Iterator[Comparison]

makes the data that it needs under `options.cache` (once: what is there is used again) and yields pairs of sides, ours and the
one it is held against. A side names a function that gets ready (imports, connections) and returns a second one without
parameters; the time of that second one is measured, in a process of its own:

    def ours(file: str) -> Callable[[], object]:
        from caudal... import normalize
        return lambda: normalize(Path(file))

    Comparison("CSV", Side("bench.normalize:ours", file), Side("bench.normalize:hand", file), "DuckDB's COPY", at_most=1.3)

The two sides take turns, so that whatever else the machine does falls on both. The table goes to `bench/results/NAME.md`.
"""
