import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients
from helpers.small_models import cross_entropy, random_batch, small_cnn, weights_of

from keras_diffkd import Distiller, VkD


def normalized(x, kind):
    """The three normalizations in float64."""
    if kind == "layer":
        x = x - x.mean(1, keepdims=True)
        return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5)
    if kind is None:
        return x
    x = x - x.mean(0)
    if kind == "batch":
        return x / np.sqrt((x**2).mean(0) + 1e-5)
    covariance = x.T @ x / len(x) + 1e-5 * np.eye(x.shape[1])
    # Not by eigenvectors: the iteration of Denman and Beavers.
    root, inverse = covariance, np.eye(len(covariance))
    for _ in range(60):
        root, inverse = (
            (root + np.linalg.inv(inverse)) / 2,
            (inverse + np.linalg.inv(root)) / 2,
        )
    np.testing.assert_allclose(root @ root, covariance, atol=1e-10)
    return x @ inverse


@pytest.mark.parametrize("kind", ["layer", "batch", "whiten", None])
@pytest.mark.parametrize("shape", [(4, 4), (9,), ()], ids=["map", "tokens", "vector"])
def test_value_and_gradient(rng, kind, shape):
    method = VkD(normalization=kind)
    # Fewer samples than the teacher's channels, as is usual.
    teacher = 2 * rng.normal(size=(8, *shape, 12)) + 1
    student = 3 * rng.normal(size=(8, *shape, 5))
    method.build((None, *shape, 12), (None, *shape, 5))
    axes = tuple(range(1, 1 + len(shape)))
    projection = np.array(method.projection.projection(), "float64")
    gap = student.mean(axes) @ projection - normalized(teacher.mean(axes), kind)
    loss = np.where(np.abs(gap) < 1, gap**2 / 2, np.abs(gap) - 0.5).mean()
    gradient = np.clip(gap, -1, 1) @ projection.T / gap.size / max(1, np.prod(shape))

    value, (ours,), _ = value_and_gradients(
        lambda student: method.compute_losses(teacher, student)["distill"],
        [student.astype("float32")],
    )
    np.testing.assert_allclose(value, loss, rtol=1e-4)
    expected = np.broadcast_to(np.expand_dims(gradient, axes), ours.shape)
    atol = 3e-4 * np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=atol)


def test_no_gradient_reaches_the_teacher(rng):
    method = VkD()
    method.build((None, 6), (None, 8))
    teacher = rng.normal(size=(4, 6)).astype("float32")
    _, (to_teacher,), (to_tangent,) = value_and_gradients(
        lambda t: method.compute_losses(t, np.ones((4, 8), "float32"))["distill"],
        [teacher],
        method,
    )
    assert not np.any(to_teacher)
    assert np.abs(to_tangent).max() > 0


@pytest.mark.parametrize(("widths", "jit_compile"), [((12, 6), True), ((6, 12), False)])
def test_projection_is_orthogonal_after_training(rng, widths, jit_compile):
    keras.utils.set_random_seed(0)
    x, y = (np.concatenate([part] * 5) for part in random_batch(rng, 32))
    method = VkD("features", "features")
    distiller = Distiller(small_cnn(widths[0]), small_cnn(widths[1]), [method])
    start = np.array(method.projection.projection())
    distiller.compile(
        keras.optimizers.Adam(0.01), cross_entropy(), jit_compile=jit_compile
    )
    history = distiller.fit(x, y, batch_size=16, epochs=20, verbose=0).history
    assert history["vkd/distill"][-1] < 0.5 * history["vkd/distill"][0]
    matrix = np.array(method.projection.projection(), "float64")
    assert np.abs(matrix - start).max() > 0.1
    gram = matrix @ matrix.T if widths[0] > widths[1] else matrix.T @ matrix
    assert np.abs(gram - np.eye(6)).max() < 1e-5


@pytest.mark.backend("tensorflow", "jax")
def test_normalizations_of_the_batch_under_xla(rng):
    x, y = random_batch(rng, 32)
    methods = [
        VkD("features", "features", normalization=kind, name=kind)
        for kind in ("batch", "whiten")
    ]
    distiller = Distiller(small_cnn(12), small_cnn(6), methods)
    distiller.compile("adam", cross_entropy(), jit_compile=True)
    history = distiller.fit(x, y, epochs=3, verbose=0).history
    for method in methods:
        values = history[f"{method.name}/distill"]
        assert values[-1] < values[0], method.name


def test_save_and_load(rng, tmp_path):
    method = VkD("features", "features", normalization="batch", weight=0.3, name="v")
    distiller = Distiller(small_cnn(12), small_cnn(6), [method])
    distiller.compile("adam", cross_entropy())
    distiller.save(tmp_path / "run.keras")
    loaded = keras.models.load_model(tmp_path / "run.keras")
    assert loaded.methods[0].get_config() == method.get_config()
    for a, b in zip(weights_of(loaded), weights_of(distiller), strict=True):
        np.testing.assert_array_equal(a, b)
    assert loaded.strip() is loaded.student


def test_bad_input():
    with pytest.raises(ValueError, match="Received: normalization='group'"):
        VkD(normalization="group")
    with pytest.raises(ValueError, match=r"known number .*\(None, None\)"):
        VkD().build((None, 4), (None, None))
    with pytest.raises(ValueError, match="compares one feature"):
        VkD(["a", "b"], "c")
