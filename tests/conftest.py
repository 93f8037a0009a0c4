import os

# Before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The processes of pytest-xdist take all cores already.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# The tests' programs compile for longer than they run: half as long with this.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false",
)

import logging
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.garbage import collect_less

collect_less()
TESTS = Path(__file__).parent
BACKEND = keras.backend.backend()
LEVELS = {name: logging.getLogger(name).level for name in ("", "tensorflow", "absl")}
if BACKEND == "tensorflow":
    from helpers.graphs import note_less, optimize_no_graphs

    optimize_no_graphs()
    note_less()
# What these test is made with TensorFlow, whatever trains.
TENSORFLOW_FOLDERS = ("datasets", "export", "recipes")


def pytest_collection_modifyitems(items):
    """Skips what does not concern the backend under test."""
    for item in items:
        marker = item.get_closest_marker("backend")
        wanted = marker.args if marker else ()
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in TENSORFLOW_FOLDERS:
            wanted = ("tensorflow",)
        if wanted and BACKEND not in wanted:
            reason = f"about the backend {' or '.join(wanted)}, not {BACKEND}"
            item.add_marker(pytest.mark.skip(reason=reason))
        compiles = "jit_compile" in getattr(item, "fixturenames", ())
        if compiles and BACKEND == "torch" and item.callspec.params["jit_compile"]:
            reason = "torch.compile takes minutes; test_torch.py compiles a small step"
            item.add_marker(pytest.mark.skip(reason=reason))
    items[:] = long_ones_first(items)


def long_ones_first(items):
    """Gives every worker of pytest-xdist its share of the long tests to begin with.

    Each starts with a consecutive part of the list. Left to the end, a test that runs
    a script for a minute keeps one worker busy while the others have nothing to do.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    short = [item for item in items if not item.get_closest_marker("long")]
    size = -(-len(items) // workers)
    ordered = []
    for worker in range(workers):
        part = long[worker::workers]
        ordered += part + short[: size - len(part)]
        del short[: size - len(part)]
    return ordered + short


@pytest.fixture(autouse=BACKEND == "torch")
def _tensors_become_arrays(monkeypatch):
    """PyTorch refuses to, for results that a gradient may be asked of."""
    import torch

    # Small operations in many threads, in several test processes, take for ever.
    torch.set_num_threads(1)
    refusing = torch.Tensor.__array__

    def to_array(self, dtype=None, copy=None):
        return refusing(self.detach().cpu(), dtype)

    monkeypatch.setattr(torch.Tensor, "__array__", to_array)


@pytest.fixture(autouse=True)
def _fresh_keras_state():
    """Same seeds for every test, and no layer names or policies left over."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def _same_levels_of_loggers():
    """Commands and examples that run in the tests' process set them for good."""
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A folder in which data sets are prepared once for each worker."""
    return str(tmp_path_factory.mktemp("tfds"))
