# make run        everything set up, the platform up, a year of retail data taken through it; Ctrl-C stops it
# make run ONCE=1 the same, but it ends when all is materialized: 0 only if everything passed
# make test       everything set up, and every test that needs nothing but what it installs
# make coverage   the same, and which lines they reach: at least 90 %
# make lint       style, layers and types
# make services   tests against real servers, two modules at a time; what is not on this machine is skipped, by name
# make faults     tests that kill processes, 200 times; SHORT=1 ten times
# make bench      the benchmarks, against peers and limits; BENCH="normalize" those by name
# make clean      removes what was installed and built; data/ stays (DATA=1 removes it too)
#
# PYTHON=/path/to/python3.13 chooses the interpreter, PYTEST="-k name" is passed to pytest.

PYTHON ?= $(shell command -v python3 || command -v python3.13 || command -v python3.12 || command -v python3.11 || echo python3)
BIN := .venv/bin

export UV_PYTHON_DOWNLOADS := never
export DO_NOT_TRACK := 1

.PHONY: run test coverage lint services faults bench clean installed installed-for-development

run: installed
	@exec $(BIN)/caudal up --quickstart shop.quickstart:land $(if $(ONCE),--once)

test: installed-for-development
	$(BIN)/python -m pytest tests --ignore=tests/services --ignore=tests/faults $(PYTEST)

coverage: installed-for-development
	$(BIN)/python -m pytest tests --ignore=tests/services --ignore=tests/faults -n 2 --cov --cov-report=term $(PYTEST)

lint: installed-for-development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/ty check platform docs deploy

services: installed-for-development
	@deploy/local/run_tests tests/services "tests of real servers" -n 2 --dist loadfile --no-loadscope-reorder -rs $(PYTEST)

faults: installed-for-development
	@CAUDAL_FAULTS=$(if $(SHORT),10,200) deploy/local/run_tests tests/faults "fault tests" -rs $(PYTEST)

bench: installed-for-development
	$(BIN)/python -m bench $(BENCH)

clean:
	rm -rf .venv .uv .services .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage dist build dbt/target dbt/logs
	find platform tests deploy docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
	$(if $(DATA),rm -rf data,@echo "data/ stays; make clean DATA=1 removes it too")

installed:
	@$(PYTHON) deploy/local/bootstrap.py run

installed-for-development:
	@$(PYTHON) deploy/local/bootstrap.py test
