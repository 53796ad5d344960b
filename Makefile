# `make` lists the targets. Each one sets the environment up first; where it stands already, that takes no time.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready
IMAGE := lungseg
REQUIREMENTS := requirements.txt
SBOM := sbom.cdx.json
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# Processes that tests run in, a file after another in each.
PARALLEL := --numprocesses auto --maxprocesses 2 --dist loadfile
LOCK_FLAGS := --quiet --universal --python-version 3.10 --generate-hashes
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | column -t -s '|'

.PHONY: demo
demo: $(READY) ## The whole job on synthetic images: draw, ingest, train, judge, push (into lungseg-demo/)
	@$(RUN)/lungseg demo

.PHONY: system-packages
system-packages: ## Chromium, Java, Maven, dicom3tools and Docker from Debian's packages, as root; without them some tests are skipped
	@scripts/install-system-packages

.PHONY: test
test: lint ## Lint, types, unit and end-to-end tests
	@$(RUN)/pytest $(PARALLEL) --cov --cov-report= -m "not slow and not nightly and not chaos"
	@echo "Coverage: $$($(RUN)/coverage report --format=total) % of the lines, without what runs in processes of its own"

.PHONY: test-slow
test-slow: $(READY) ## What takes longer: several processes, devices and workers, Kubeflow, a Flink cluster, kills, studies
	@$(RUN)/pytest $(PARALLEL) -m "slow and not nightly and not chaos"

.PHONY: test-nightly
test-nightly: $(READY) ## What takes long and seldom breaks: damaged files by the thousand, searches, the wheel's whole job
	@$(RUN)/pytest $(PARALLEL) -m "nightly and not chaos"

.PHONY: chaos
chaos: $(READY) ## Faults done to whole runs: kills, a full disk, a broken store; CHAOS_KILLS=..., CHAOS_SEED=..., SELECT=...
	@$(RUN)/pytest -m chaos --log-cli-level=INFO $(if $(SELECT),-k "$(SELECT)")

.PHONY: flink-test
flink-test: $(READY) ## The data stages on a Flink cluster of two task managers, one of which dies
	@$(RUN)/pytest tests/flink

.PHONY: java-test
java-test: $(READY) ## The exported model used from Java, which downloads TensorFlow for it
	@$(RUN)/pytest tests/modules/serving/test_without_this_project.py -k java

.PHONY: test-fast
test-fast: $(READY) ## The tests that run no pipeline and take no minute
	@$(RUN)/pytest -m "not e2e and not slow and not nightly and not chaos"

.PHONY: lint
lint: $(READY) ## Style, formatting and types
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy

.PHONY: format
format: $(READY) ## Mend what can be mended in style and formatting
	@$(RUN)/ruff check --fix .
	@$(RUN)/ruff format .

.PHONY: bench-augment
bench-augment: $(READY) ## The Augmenter's speed and memory against a bare Albumentations loop
	@$(RUN)/python tests/benchmarks/bench_augment.py

.PHONY: bench-train
bench-train: $(READY) ## Training against plain Keras, the speed of its input, and its memory
	@$(RUN)/python tests/benchmarks/bench_train.py

.PHONY: bench-gpu
bench-gpu: $(READY) ## What GPUs give the training, beside a bare loop: speed, memory, share of the peak, scaling
	@$(RUN)/python tests/benchmarks/bench_gpu.py

.PHONY: bench-evaluate
bench-evaluate: $(READY) ## The Evaluator's speed and memory against stock TFMA fed with full masks
	@$(RUN)/python tests/benchmarks/bench_evaluate.py

.PHONY: bench-ingest
bench-ingest: $(READY) ## The ingest's speed against a bare loop of decode, resize, encode, and its memory
	@$(RUN)/python tests/benchmarks/bench_ingest.py

.PHONY: bench-predict
bench-predict: $(READY) ## Prediction's speed against a bare loop over the model's signature, its memory, and its start
	@$(RUN)/python tests/benchmarks/bench_predict.py

.PHONY: bench-scale
bench-scale: $(READY) ## Time and memory of every Beam stage with 1,000, 10,000 and 50,000 images (into bench-scale/)
	@$(RUN)/python tests/benchmarks/bench_scale.py

.PHONY: lock
lock: $(READY) ## Resolve the dependencies anew into requirements.txt, -gpu.txt and -dev.txt
	@$(RUN)/uv pip compile $(LOCK_FLAGS) --upgrade requirements.in --override overrides.txt -o requirements.txt
	@$(RUN)/uv pip compile $(LOCK_FLAGS) --upgrade requirements.in requirements-gpu.in -c requirements.txt \
	  --override overrides.txt --override requirements-gpu.in -o requirements-gpu.txt
	@$(RUN)/uv pip compile $(LOCK_FLAGS) --upgrade requirements-dev.in --override overrides.txt -o requirements-dev.txt

.PHONY: sbom
sbom: $(READY) ## What the image holds of libraries, by the lock, as a CycloneDX file; SBOM=..., REQUIREMENTS=...
	@$(RUN)/uv pip compile --quiet --no-deps --no-header --no-annotate --generate-hashes \
	  --python-version 3.11 --python-platform linux $(REQUIREMENTS) \
	  | PYTHONWARNINGS=ignore $(RUN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o $(SBOM) -
	@echo "$(SBOM) written"

.PHONY: audit
audit: $(READY) ## Known vulnerabilities of the libraries in the lock, where their database can be reached
	@$(RUN)/python scripts/audit $(REQUIREMENTS)

.PHONY: image
image: ## The container image; IMAGE=..., BASE_IMAGE=..., REQUIREMENTS=requirements-gpu.txt for GPUs
	@command -v docker >/dev/null \
	  || { echo "No docker on PATH: install it, or build the Dockerfile with another tool" >&2; exit 1; }
	@docker build --tag $(IMAGE) $(addprefix --build-arg BASE_IMAGE=,$(BASE_IMAGE)) $(BUILD_FLAGS) \
	  --build-arg REQUIREMENTS=$(REQUIREMENTS) --build-arg VERSION=$(VERSION) .

.PHONY: image-test
image-test: $(READY) ## Build the image and test it in containers; LUNGSEG_IMAGE=... tests one that is there
	@tests/image/run $(RUN)/pytest -m "not nightly"

.PHONY: image-test-nightly
image-test-nightly: $(READY) ## The same, and the whole graph of Kubeflow in its containers
	@tests/image/run $(RUN)/pytest

.PHONY: setup
setup: $(READY) ## Only the environment, in .venv

.PHONY: clean
clean: ## Remove the environment and all caches
	@rm -rf $(VENV) .python build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage

# PYTHON=... chooses the interpreter of a new environment; one that stands keeps its own until `make clean`.
$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@scripts/setup-venv $(VENV) $(PYTHON)
	@touch $@
