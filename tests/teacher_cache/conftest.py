import keras
import numpy as np
import pytest
from helpers.digit_networks import network

from keras_diffkd.datasets import load_classification
from keras_diffkd.teacher_cache import CacheBuilder


@pytest.fixture(scope="session")
def load(data_dir):
    def load(**options):
        options = {"batch_size": 64, "views": 1, "seed": 5} | options
        return load_classification("digits", data_dir=data_dir, **options)

    return load


@pytest.fixture(scope="session")
def make_teacher():
    """Makes a teacher whose statistics are not those of a new network."""

    def make_teacher(seed=1):
        keras.utils.set_random_seed(seed)
        teacher = network(8)
        rng = np.random.default_rng(seed)
        for weight in teacher.weights:
            weight.assign(weight + rng.uniform(0, 0.3, weight.shape))
        return teacher

    return make_teacher


@pytest.fixture
def teacher(make_teacher):
    return make_teacher()


@pytest.fixture(scope="session")
def built(tmp_path_factory, load, make_teacher):
    """The logits of `teacher` for all training images, not to be changed."""
    folder = tmp_path_factory.mktemp("built") / "cache"
    return CacheBuilder(folder, make_teacher(), load().views).build()


@pytest.fixture
def build(tmp_path, load, teacher):
    """Builds a cache of digits in the temporary folder."""

    def build(folder="cache", views=None, progress=None, **options):
        views = views or load().views
        return CacheBuilder(
            tmp_path / folder, options.pop("teacher", teacher), views, **options
        ).build(progress)

    return build
