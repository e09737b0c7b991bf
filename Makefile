# `make help` lists what there is. Everything runs out of .venv, which `install` makes.
PYTHON ?= python3
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--python-version 3.11 --custom-compile-command "make lock"

.PHONY: help install up down reset status test faults mutations check format bench lock

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: ## check what is needed and install what is missing into .venv
	@$(PYTHON) include/local/preflight.py

up: install ## start Kafka, PostgreSQL and Airflow, and wait for the first results
	@$(BIN)/microbatch up

down: ## stop everything; data stays
	@if [ -x $(BIN)/microbatch ]; then $(BIN)/microbatch down; else echo "there is no .venv: nothing was started from here"; fi

reset: install ## stop everything and delete all data, after asking
	@$(BIN)/microbatch reset

status: install ## show how each component is
	@$(BIN)/microbatch status

# Four workers keep two cores busy; three take a sixth longer.
# tests/conftest.py has the order of the files, and which of them one worker gets together. Byte code is kept, for many
# tests start Python anew.
test: install ## run all tests, four files at a time, each on a Kafka and PostgreSQL of its own
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements-tls.txt
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

faults: install ## kill and stop everything 200 times under load (SEED=… repeats a run), then the long fault tests
	PYTHONPATH=tests $(BIN)/python -m faults.headline $(if $(SEED),--seed $(SEED))
	$(BIN)/pytest tests/faults -m long

mutations: install ## take each protection out of a copy of the code, and see that a test notices
	PYTHONPATH=tests $(BIN)/python -m mutations

check: install ## lint, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install ## put the code into its format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: install ## measure, beside the Kafka client alone, Flink and Spark; takes about an hour
	$(BIN)/python -m benchmarks

lock: install ## choose the newest allowed versions, with hashes
	$(COMPILE) --upgrade --extra airflow --extra celery --group demo pyproject.toml -o requirements.txt
	$(COMPILE) --upgrade --group pyproject.toml:build -c requirements.txt -o requirements-build.txt
	$(COMPILE) --upgrade --extra airflow --extra avro --extra celery --extra protobuf --group demo --group local --group dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	$(COMPILE) --upgrade --group pyproject.toml:tls -o requirements-tls.txt
	$(COMPILE) include/local/uv.in -o include/local/uv.txt
	$(COMPILE) benchmarks/contestants/flink.in -o benchmarks/contestants/flink.txt
	$(COMPILE) benchmarks/contestants/spark.in -o benchmarks/contestants/spark.txt
