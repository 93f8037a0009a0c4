# make demo   train, distil, export and verify on real handwritten digits
# make test   lint and the whole test suite, on TensorFlow
# make test-part-jax, make test-part-torch   a small part of it on another Keras backend
# make test-jax, make test-torch   the whole suite on another Keras backend
# make test-kills   kills many small trainings, which must end as if nothing had happened
# make test-runtimes   exported files in new environments with NumPy and a runtime alone
# All make the virtual environment and install the pinned dependencies first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BACKENDS := $(VENV)/.backends
# What must not break on any backend: the mathematics, the authors' numbers, a training
# with every method's losses, save, load and strip, memory, resuming.
EVERY_BACKEND := tests/losses tests/diffusion/test_sampler.py tests/diffusion/test_schedule.py \
	tests/interop/test_pytorch.py \
	tests/test_distiller.py::test_fit_logs_named_losses_and_lowers_them \
	tests/test_distiller.py::test_strip_is_the_student_bit_for_bit \
	tests/test_distiller.py::test_saved_distillers_load_without_the_teachers_weights \
	tests/test_freed_models.py::test_a_distiller_is_freed[trained-False] \
	tests/callbacks/test_training_backup.py::test_an_interrupted_training_ends_as_if_it_had_not_been[2]
RUN_DIR ?= runs/digits
# TensorFlow's own remarks on the processor and on GPUs that are not there.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-part-jax test-part-torch test-jax test-torch test-kills \
	test-runtimes lint format clean
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

# The versions of requirements.lock hold for what JAX and PyTorch need, too.
$(BACKENDS): $(STAMP) requirements-backends.lock
	$(BIN)/pip install --quiet --disable-pip-version-check \
		-c requirements.lock -r requirements-backends.lock
	touch $(BACKENDS)

test: $(STAMP) lint
	$(BIN)/python -m pytest -n auto --dist=worksteal

# One process each: small tensors in many processes are slower.
test-part-jax test-part-torch: test-part-%: $(BACKENDS)
	KERAS_BACKEND=$* $(BIN)/python -m pytest -q $(EVERY_BACKEND)

# The same suite on another backend, without what is about TensorFlow itself.
test-jax test-torch: test-%: $(BACKENDS)
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
