# Everything starts here: `make` lists the targets. PORT, DATA and AGENT=NAME=TARGET are for `make run`.

PYTHONS := python3.13 python3.12 python3.11 python3
STAMP := .venv/.installed
PY := .venv/bin/python
RUN_OPTIONS := $(if $(PORT),--port $(PORT)) $(if $(DATA),--data $(DATA)) $(if $(AGENT),--agent $(AGENT))
MAKEFLAGS += --no-print-directory

.PHONY: help run test lint conformance tck bench soak
.DEFAULT_GOAL := help

help:
	@echo 'make run           start hocket: gateway, worker, demo agent, embedded nats-server (PORT=0 picks a free port)'
	@echo 'make test          lint, then all tests'
	@echo 'make lint          ruff and mypy'
	@echo 'make conformance   the real AG-UI, CopilotKit, A2A and MCP clients against a fresh hocket; needs Node 20 or newer'
	@echo 'make tck           the A2A TCK against a fresh hocket: TCK=a checkout of it (TCK_PYTHON= its Python, REPORTS= a folder)'
	@echo 'make bench         measure hocket beside the reference (JSON=FILE also writes the figures)'
	@echo 'make soak          20,000 random runs cut everywhere, 500 questions with 1,000 answers at once each, 1,000 triggers'

run: $(STAMP)
	@exec .venv/bin/hocket dev $(RUN_OPTIONS) $(ARGS)

test: lint
	@$(PY) -m pytest tests -n 2

lint: $(STAMP)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m mypy

conformance: $(STAMP)
	@command -v node >/dev/null && command -v npm >/dev/null || { \
		echo 'make conformance needs Node 20 or newer with npm: install the packages nodejs and npm.' >&2; exit 2; }
	@PYTHON=$(PY) sh conformance/install.sh
	@$(PY) -m pytest conformance

tck: $(STAMP)
	@test -n "$(TCK)" || { echo 'make tck needs TCK=a checkout of a2aproject/a2a-tck, branch 1.0-dev.' >&2; exit 2; }
	@$(PY) -m conformance.a2a.tck --tck $(TCK) $(if $(TCK_PYTHON),--python $(TCK_PYTHON)) \
		$(if $(REPORTS),--reports $(REPORTS))

bench: $(STAMP)
	@$(PY) -m tests.bench $(if $(JSON),--json $(JSON))

soak: $(STAMP)
	@$(PY) -m pytest tests -m soak -n auto

# A `python3.12` on the path may be a shim that runs nothing, so each candidate is asked to run.
$(STAMP): pyproject.toml
	@if ! .venv/bin/python -c '' 2>/dev/null; then \
		for python in $(PYTHONS); do \
			if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo 'hocket needs Python 3.11 or newer, and none of $(PYTHONS) is one: install it first.' >&2; exit 2; \
		fi; \
		rm -rf .venv; \
		if ! told=$$($$found -m venv .venv 2>&1); then \
			rm -rf .venv; echo "$$told" >&2; \
			echo "$$found cannot make a virtual environment: install its venv module (on Debian: python3-venv)." >&2; exit 2; \
		fi; \
	fi
	@echo 'Installing hocket into .venv (once; about a minute)'
	@$(PY) -m pip install --quiet --quiet --disable-pip-version-check --upgrade pip
	@$(PY) -m pip install --quiet --quiet --disable-pip-version-check -e . --group dev
	@touch $(STAMP)
