# make demo   train, distil, export and verify on real handwritten digits
# make test   lint and the whole test suite
# make test-jax, make test-torch   the suite on another Keras backend
# make test-kills   kills many small trainings, which must end as if nothing had happened
# make test-runtimes   exported files in new environments with NumPy and a runtime alone
# All make the virtual environment and install the pinned dependencies first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN_DIR ?= runs/digits
# TensorFlow's own remarks on the processor and on GPUs that are not there.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-jax test-torch test-kills test-runtimes lint format clean
.DELETE_ON_ERROR:

$(STAMP): requirements.lock setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/diffkd-train-teacher --flagfile=recipes/experiments/digits.flags --run_dir=$(RUN_DIR)
	$(BIN)/diffkd-distill --flagfile=recipes/experiments/digits.flags --run_dir=$(RUN_DIR) --baseline
	$(BIN)/diffkd-export --run_dir=$(RUN_DIR)
	$(BIN)/diffkd-evaluate --run_dir=$(RUN_DIR)
	$(BIN)/diffkd-verify --run_dir=$(RUN_DIR)

test: $(STAMP) lint
	$(BIN)/python -m pytest -n auto --dist=worksteal

# The same suite on another backend, without what is about TensorFlow itself.
test-jax test-torch: test-%: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[$*]'
	KERAS_BACKEND=$* $(BIN)/python -m pytest -n auto --dist=worksteal

test-kills: $(STAMP)
	$(BIN)/python tests/callbacks/kill_anywhere.py --kills=9

test-runtimes: $(STAMP)
	$(BIN)/python tests/fresh_environments.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache runs
