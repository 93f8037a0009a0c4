import threading

import keras
import pytest

from keras_diffkd.models import UnsafeModelError
from keras_diffkd.models.files import weight_limit
from keras_diffkd.models.files.weight_limit import limit_weights


@pytest.fixture(autouse=True)
def _no_spare_weights(monkeypatch):
    monkeypatch.setattr(weight_limit, "SPARE_WEIGHTS", 0)
    monkeypatch.setattr(weight_limit, "SMALLEST", 1)


def build():
    keras.layers.Dense(2).build((None, 4))


def test_as_many_weights_as_the_file_has():
    with limit_weights(10):
        build()
    build()  # And any number outside.
    with (
        pytest.raises(UnsafeModelError, match="more weights than the 9"),
        limit_weights(9),
    ):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: keras.layers.Dense(10**12).build((None, 1)),
        lambda: keras.layers.Embedding(10**9, 10**9).build(),
        lambda: keras.metrics.MeanIoU(10**4),
        lambda: keras.layers.Layer().add_weight((-(10**6), -(10**6))),
        lambda: keras.layers.Layer().add_weight(10**12),
    ],
)
def test_nothing_is_made_above_the_limit(build):
    with pytest.raises(UnsafeModelError, match="more weights"), limit_weights(10**6):
        build()


def test_many_small_arrays(monkeypatch):
    monkeypatch.setattr(weight_limit, "SMALLEST", 6)
    with limit_weights(14):
        build()
        with pytest.raises(UnsafeModelError, match="more weights"):
            build()


def test_other_threads_are_not_counted():
    built = []
    with limit_weights(0):
        thread = threading.Thread(target=lambda: built.append(build()))
        thread.start()
        thread.join()
    assert len(built) == 1
