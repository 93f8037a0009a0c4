# make demo   train, distill, export and verify on real handwritten digits
# make test   lint, the whole test suite on TensorFlow, a small part of it on JAX and PyTorch
# make test-fast   what a change of the mathematics breaks first, within two minutes
# make test-tensorflow, make test-part-jax, make test-part-torch   these three one by one
# make test-jax, make test-torch   the whole suite on another Keras backend
# make test-kills   kills many small trainings, which must end as if nothing had happened
# make test-runtimes   exported files in new environments with NumPy and a runtime alone
# make docs   the documentation as a site, in build/site
# All make the virtual environment and install the pinned dependencies first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BACKENDS := $(VENV)/.backends
# The locks name everything, so nothing is left to resolve; pip compiles on one core.
DOCS := $(VENV)/.docs
# What must not break on any backend: the mathematics of the losses, the authors' numbers,
# a training, a step that is not finite, what layers assign in a step, save, load and strip, resuming.
EVERY_BACKEND := tests/losses/test_kl.py::test_value_and_gradient \
	tests/losses/test_dkd.py::test_value_and_gradient \
	tests/interop/test_pytorch.py \
	tests/test_distiller.py::test_fit_logs_named_losses_and_lowers_them \
	tests/training/test_jax.py::test_a_bad_step_is_not_applied_though_the_next_one_runs[inside] \
	tests/training/test_scope.py::test_state_that_a_layer_reads_after_it_has_assigned_it \
	tests/test_distiller.py::test_saved_distillers_load_without_the_teachers_weights \
	tests/test_distiller.py::test_strip_is_the_student_bit_for_bit \
	tests/resuming/test_training_backup.py::test_an_interrupted_training_ends_as_if_it_had_not_been[2] \
	tests/resuming/test_training_backup.py::test_several_steps_per_execution[2]
# No exports, data sets, commands, replicas or other processes.
FAST := tests/losses tests/layers tests/diffusion tests/metrics tests/interop \
	tests/features tests/preflight tests/test_sources.py tests/training/test_scope.py \
	tests/methods/test_all_methods.py::test_trains_saves_and_leaves_a_clean_student
RUN_DIR ?= runs/digits
# TensorFlow's own remarks on the processor and on GPUs that are not there.
export TF_CPP_MIN_LOG_LEVEL ?= 3
# One more than cores: tests that wait for other processes leave none idle.
export PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() + 1)")

# Makes the environment from lock files, which name everything. They are installed side by
# side, and compiled after it: pip would do both on one core.
define install
$(PYTHON) -m venv $(VENV)
@for lock in $(1); do \
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-compile \
		-r $$lock & all="$$all $$!"; \
done; for pid in $$all; do wait $$pid || exit 1; done
$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
$(BIN)/pip check
@# Not what is hardly ever imported; packages have files for other versions of Python, too.
$(BIN)/python -m compileall -qq -j 0 -x '/(tests?|sympy|networkx|fontTools|pip)/' \
	$(VENV)/lib || true
touch $(STAMP)
endef

.PHONY: demo test test-fast test-tensorflow test-part-jax test-part-torch test-jax test-torch test-kills \
	test-runtimes docs lint format clean
# Two targets would make the same environment at the same time.
.NOTPARALLEL:
.DELETE_ON_ERROR:

$(STAMP): requirements.lock setup.py pyproject.toml
	$(call install,requirements.lock)

demo: $(STAMP)
	$(BIN)/diffkd-train-teacher --flagfile=recipes/experiments/digits.flags --run_dir=$(RUN_DIR)
	$(BIN)/diffkd-distill --flagfile=recipes/experiments/digits_few.flags --run_dir=$(RUN_DIR) --baseline
	$(BIN)/diffkd-export --run_dir=$(RUN_DIR)
	$(BIN)/diffkd-evaluate --run_dir=$(RUN_DIR)
	$(BIN)/diffkd-verify --run_dir=$(RUN_DIR)

$(BACKENDS): requirements.lock requirements-backends.lock setup.py pyproject.toml
	$(call install,requirements.lock requirements-backends.lock)
	touch $(BACKENDS)

# Whatever fails: each failure is seen. The parts run beside the suite on TensorFlow,
# which is shown as it runs; they come after it.
# The environment first: without it, `lint` would make a smaller one.
test: $(BACKENDS) lint
	+@status=0; parts=$$(mktemp); \
	$(MAKE) --no-print-directory --keep-going test-part-jax test-part-torch \
		>$$parts 2>&1 & pid=$$!; \
	$(MAKE) --no-print-directory test-tensorflow || status=1; \
	wait $$pid || status=1; \
	cat $$parts; rm $$parts; exit $$status

test-fast: $(STAMP)
	$(BIN)/python -m pytest -q -n auto --dist=worksteal $(FAST)

test-tensorflow: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist=worksteal

# One process each: small tensors in many processes are slower.
test-part-jax test-part-torch: test-part-%: $(BACKENDS)
	KERAS_BACKEND=$* $(BIN)/python -m pytest -q $(EVERY_BACKEND)

# The same suite on another backend, without what is about TensorFlow itself.
test-jax test-torch: test-%: $(BACKENDS)
	KERAS_BACKEND=$* $(BIN)/python -m pytest -n auto --dist=worksteal

test-kills: $(STAMP)
	$(BIN)/python tests/resuming/kill_anywhere.py --kills=9

test-runtimes: $(STAMP)
	$(BIN)/python tests/fresh_environments.py

$(DOCS): $(STAMP) requirements-docs.lock
	$(BIN)/pip install --quiet --disable-pip-version-check \
		-c requirements.lock -r requirements-docs.lock
	touch $(DOCS)

# The reference is read from the sources, in folders laid out as they are installed.
docs: $(DOCS)
	rm -rf build/sources build/site
	mkdir -p build/sources/keras_diffkd
	@ln -s $(abspath $(wildcard keras_diffkd/*) export recipes) build/sources/keras_diffkd
	$(BIN)/zensical build --clean --strict

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache runs
