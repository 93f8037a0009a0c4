"""The step on PyTorch; what is true on every backend is in test_distiller.py."""

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import Distiller, FitNet, LogitsKD

pytestmark = pytest.mark.backend("torch")


def make_distiller(teacher=None, student=None, methods=None, **arguments):
    keras.utils.set_random_seed(0)
    distiller = Distiller(
        teacher or small_cnn(12), student or small_cnn(6), methods or [LogitsKD()]
    )
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    distiller.compile(optimizer, cross_entropy(), **arguments)
    return distiller


def dense(width):
    image = keras.Input((8, 8, 1))
    x = keras.layers.Dense(width)(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Dense(10)(x))


# The compiler's remarks on how often Keras's layers made it start again.
@pytest.mark.filterwarnings("ignore")
def test_torch_compile_changes_nothing(rng):
    x, y = random_batch(rng)
    results = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        distiller = make_distiller(dense(8), dense(4), jit_compile=jit_compile)
        logs = distiller.fit(x, y, batch_size=32, epochs=2, verbose=0).history
        results.append((logs, distiller.trainable_variables))
    for name, values in results[0][0].items():
        np.testing.assert_allclose(results[1][0][name], values, rtol=1e-4)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_auto_is_eager():
    import torch

    def is_compiled(jit_compile):
        gradients = make_distiller(jit_compile=jit_compile).record.gradients
        return hasattr(gradients, "_torchdynamo_orig_callable")

    assert [is_compiled(value) for value in ("auto", False, True)] == [0, 0, 1]
    assert torch.is_grad_enabled()


def test_no_graph_and_no_gradient_outlives_the_step(rng):
    distiller = make_distiller(methods=[FitNet("features", "features")])
    before = [np.array(v) for v in distiller.teacher.variables]
    x, y = random_batch(rng)
    distiller.fit(x, y, batch_size=32, verbose=0)
    for variable in (*distiller.variables, *distiller.teacher.variables):
        assert variable.value.grad is None, variable.path
        assert variable.value.grad_fn is None, variable.path
    for metric in distiller.metrics_variables:
        assert not metric.value.requires_grad
    for variable, value in zip(distiller.teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_teacher_keeps_none_of_its_intermediates(rng):
    seen = []

    class Spy(FitNet):
        def compute_losses(self, teacher_features, student_features, **kwargs):
            seen.append((teacher_features.requires_grad, student_features.grad_fn))
            return super().compute_losses(teacher_features, student_features, **kwargs)

    teacher = small_cnn(12)
    layer = teacher.get_layer("features")

    def call(x, _original=layer.call):
        seen.append(x.requires_grad)
        return _original(x)

    layer.__dict__["call"] = call
    distiller = make_distiller(teacher, methods=[Spy("features", "features")])
    seen.clear()
    x, y = random_batch(rng)
    distiller.train_on_batch(x, y)
    assert seen[-2] is False
    assert seen[-1][0] is False
    assert seen[-1][1] is not None


def test_several_steps_per_execution_are_refused_by_keras(rng):
    distiller = make_distiller(steps_per_execution=2)
    with pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
        distiller.fit(*random_batch(rng), verbose=0)


def wrapped(width):
    """A network that begins with a PyTorch module."""
    import torch

    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, width, 3, padding=1), torch.nn.BatchNorm2d(width)
    )
    layer = keras.layers.TorchModuleWrapper(
        module, name="wrapper", output_shape=(None, width, 8, 8)
    )
    image = keras.Input((8, 8, 1))
    x = layer(keras.layers.Permute((3, 1, 2))(image))
    x = keras.layers.Permute((2, 3, 1), name="features")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(10)(x))


def test_a_module_of_pytorch_teaches_and_is_not_taught(rng):
    """Its parameters are not those that the step computes with."""
    with pytest.raises(ValueError, match="TorchModuleWrapper 'wrapper' with 4 train"):
        make_distiller(student=wrapped(6))
    frozen = wrapped(6)
    frozen.get_layer("wrapper").trainable = False
    distiller = make_distiller(wrapped(12), frozen)
    before = [np.array(v.value.detach()) for v in distiller.teacher.variables]
    x, y = random_batch(rng)
    history = distiller.fit(x, y, batch_size=32, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    for variable, value in zip(distiller.teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable.value.detach(), value)
