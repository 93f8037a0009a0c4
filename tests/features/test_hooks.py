import keras
import numpy as np
from helpers.threads import OtherThread

from keras_diffkd.features.hooks import CallShadow


def test_two_threads_shadow_a_layer():
    layer = keras.layers.ReLU()
    x = np.ones((1, 2), "float32")
    shadow = CallShadow(lambda layer, call: lambda *args, **kw: call(*args, **kw) + 1)
    with OtherThread(shadow.over([layer])) as other:
        with shadow.over([layer, layer]):
            other.leave()  # The first to enter is the first to leave.
            np.testing.assert_array_equal(layer(x), x + 1)
        np.testing.assert_array_equal(layer(x), x)
    assert "call" not in vars(layer)


def test_a_shadow_leaves_with_an_error():
    layer = keras.layers.ReLU()
    shadow = CallShadow(lambda layer, call: None)
    try:
        with shadow.over([layer]):
            assert layer.call is None
            raise InterruptedError
    except InterruptedError:
        assert "call" not in vars(layer)
