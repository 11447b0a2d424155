# Two commands: `make repro` trains, compares and registers; `make test` runs the tests that take minutes.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# ARGS goes to the pipeline, e.g. make repro ARGS="-S dataset.name=cave -S dataset.root=/data/cave"
ARGS   ?=
# test, and where wanted perceptual (VGG19 loss), s3 (remotes) or server (PostgreSQL): make install EXTRAS=test,s3
EXTRAS ?= test
STAMP  := $(VENV)/.installed

export PATH := $(abspath $(BIN)):$(PATH)
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help install repro test test-all faults-short faults fuzz results docs docs-serve lint audit clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	# an environment whose making was interrupted has no pip and is made again
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	# torch first and by itself: with it in place nothing pulls another build of it
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[pipeline,$(EXTRAS)]"
	touch $@

install: $(STAMP)  ## make .venv and install the project into it

repro: $(STAMP)  ## run what is stale, then print the result table and where report and model are
	$(BIN)/python -m tasks repro $(ARGS)

# HYPOTHESIS_PROFILE=thorough tries twelve times as many examples.
test: $(STAMP)  ## the tests that need no whole pipeline, in minutes
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup -m "not slow" $(ARGS)

test-all: $(STAMP)  ## the whole test suite, with pipelines, servers and one fault of each kind
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup $(ARGS)

faults-short: $(STAMP)  ## put one fault of each kind into running pipelines, in minutes
	$(BIN)/python -m pytest tests/faults --numprocesses 2 --dist loadgroup $(ARGS)

fuzz: $(STAMP)  ## damaged and hostile files and requests for an hour
	$(BIN)/python -m pytest tests/fuzz --fuzz-seconds 3600 --timeout 0 -rP $(ARGS)

faults: $(STAMP)  ## put faults into running pipelines, all of them: an hour and a half on two cores
	$(BIN)/python -m pytest tests/faults --every-fault -rP --durations=0 $(ARGS)

# DATA names the folders, e.g. DATA="--root cave=/data/cave"; DEVICE=cuda makes the rows in the sizes of the papers, and
# STOP_AFTER=9 pauses after nine minutes. The same command resumes.
DEVICE ?= cpu
results: $(STAMP)  ## the tables of docs/results.md at equal time, in pieces that resume: hours
	$(BIN)/python benchmarks/equal_time.py --device $(DEVICE) $(if $(STOP_AFTER),--stop-after $(STOP_AFTER)) $(DATA) $(ARGS)
	$(BIN)/python benchmarks/equal_time.py --write

# ARGS="-D nb_execution_mode=off" leaves the notebooks without outputs, and takes seconds.
docs: $(STAMP)  ## the site of docs/ in build/docs; it runs the notebooks, which takes a minute or two
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs $(ARGS)
	@echo "wrote build/docs/index.html; open it in a browser"

docs-serve: docs  ## show that site on http://127.0.0.1:8080
	$(BIN)/python -m http.server 8080 --bind 127.0.0.1 --directory build/docs

lint: $(STAMP)  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(STAMP)  ## known vulnerabilities of the versions in constraints.txt (asks PyPI)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[audit]"
	# strict: a version of which PyPI says nothing is no clean one
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt --progress-spinner off $(ARGS)

clean:  ## remove what runs made (not .venv, not DVC's cache)
	rm -rf data models reports .hsipipe
