# make song PROMPT="一首下雨天想家的慢歌，女声，钢琴" DURATION=30 SEED=1
PROMPT ?= 一首下雨天想家的慢歌，女声，钢琴
DURATION ?= 30
SEED ?= 1
OUT ?= songs/song-$(SEED).flac
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help song app test check demo-models demo-figures clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# torch first and alone: with it installed, nothing else can pull in a CUDA build.
.venv/base: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check 'torch==2.13.0'
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# tinysoundfont declares pyaudio, which fails to build and isn't used: hence --no-deps.
.venv/dev: .venv/base
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'tinysoundfont==0.3.7'
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[corpus,dev]'
	@touch $@

song: .venv/base  ## sing a sentence: PROMPT="…" DURATION=30 SEED=1 OUT=songs/song-1.flac
	@mkdir -p $(dir $(OUT))
	$(BIN)/baihua sing "$(PROMPT)" --duration $(DURATION) --seed $(SEED) --out $(OUT)

app: .venv/base  ## open the web page
	$(BIN)/baihua app

test: .venv/dev  ## run the tests
	$(BIN)/python -m pytest

check: .venv/dev  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo-models: .venv/dev  ## train the bundled models from nothing
	$(BIN)/python -m recipes.demo

demo-figures: .venv/dev  ## measure the bundled models
	$(BIN)/python -m recipes.figures

clean:  ## remove the environment and what tools left
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
