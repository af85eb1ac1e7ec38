# Everything a fresh machine needs: `make train`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
ROOT ?= ../shared/speech_commands
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install train test lint format reproduce benchmark clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,lint]"
	@touch $@

install: $(VENV)/.installed  ## create .venv and install the package with what it needs

train: install  ## train, test and export with the defaults, offline; ARGS="model=gru3 …" changes them
	$(BIN)/python train.py $(ARGS)

test: install  ## run the tests, JOBS=2 at a time; ARGS="-k onnx" chooses some
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadscope $(ARGS)

lint: install  ## check style with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install  ## format with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reproduce: install  ## run the README's studies again and write docs/results; ARGS="accuracy --seeds 1 2 3" chooses
	$(BIN)/python benchmarks/reproduce.py --root $(ROOT) $(ARGS)

benchmark: install  ## measure the README's speeds again and write benchmarks/results; wants an idle machine
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[benchmark]"
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/streaming.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/training.py --blocks 30
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/time_to_accuracy.py --root $(ROOT)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/data.py --root $(ROOT)

clean:  ## delete corpora, decoded waveforms and build leftovers; outputs/ stays
	rm -rf cache build *.egg-info .pytest_cache .ruff_cache .hypothesis
