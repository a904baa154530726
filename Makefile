# make repro   the whole graph on the built-in data: models tracked and registered
# make explore what is in the data, as pictures and one page
# make test    format, lint, types, tests; make test-all: also those that take minutes
# make bench   time and memory against the course notebook's way, in minutes
# make ui      compare runs in the browser
# make docs    the pages of docs/ as a site, in build/docs
# The environment (7 GB) is made once, in $(VENV), and found again while requirements.txt stays.

PYTHON ?= python3
VENV   ?= .venv

LOCK := $(shell cksum < requirements.txt | cut -d' ' -f1)
DONE := $(VENV)/.lock-$(LOCK)
PIP  := python -m pip install --quiet --disable-pip-version-check

export PATH := $(abspath $(VENV))/bin:$(PATH)
# This checkout's code, also with an environment that was made for another.
export PYTHONPATH := $(CURDIR)/src

.PHONY: env repro explore test test-all bench ui docs lock

env: $(DONE)

$(DONE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 …")'
	@echo 'The environment (7 GB) is made in $(VENV), once; that takes some minutes.'
	$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.txt | $(PIP) --require-hashes -r /dev/stdin \
	    || echo 'uv cannot be had here: pip installs the rest, which takes some minutes more.'
	@if [ -x $(VENV)/bin/uv ]; then install='uv pip install --quiet --compile-bytecode --python $(VENV)'; \
	    else install='$(PIP)'; fi; set -x; \
	$$install --require-hashes -r requirements.txt && \
	$$install --no-build-isolation --no-deps -e .
	@rm -f $(VENV)/.lock-*
	@touch $@

repro: env
	@fishline check
	dvc repro
	@echo
	@fishline models
	@echo
	@echo 'Next: plots/report.html says what the models are worth; `make ui` compares runs; `source'
	@echo '$(VENV)/bin/activate` and then `dvc exp run -S lr=0.001` trains another.'

explore: env
	@fishline check
	dvc repro explore
	@echo plots/explore/explore.md
	@python -c 'import click; click.launch("plots/explore/explore.md")' 2> /dev/null

test: env
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	pytest $(PYTEST_ARGS) --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-all: PYTEST_ARGS += -m ''
test-all: test

bench: env
	@fishline check
	dvc repro --quiet split
	python benchmarks/training.py --quick

# A store on a server has its own pages there.
ui: env
	@case "$$MLFLOW_TRACKING_URI" in \
	http*) echo "$$MLFLOW_TRACKING_URI"; python -m webbrowser "$$MLFLOW_TRACKING_URI" ;; \
	*) MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	    mlflow ui --workers 1 --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" ;; \
	esac

docs: env
	python docs/generate.py
	zensical build --clean --strict

lock:
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-header \
	    --generate-hashes pyproject.toml -o requirements.txt
