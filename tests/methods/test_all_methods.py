"""What every method has to do."""

import inspect
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.every_method import METHODS, two_stages
from helpers.scripts import run_script
from helpers.small_models import cross_entropy, random_batch, weights_of

import keras_diffkd
from keras_diffkd import DistillationMethod, Distiller


def make_distiller(name, jit_compile=False, weight=1.0):
    keras.utils.set_random_seed(0)
    distiller = Distiller(
        two_stages(12), two_stages(8), [METHODS[name]()], task_loss_weight=weight
    )
    distiller.compile(
        keras.optimizers.Adam(0.01), cross_entropy(), jit_compile=jit_compile
    )
    return distiller


def losses_of(distiller):
    [method] = distiller.methods
    return [f"{method.name}/{loss}" for loss in method.loss_weights]


PUBLIC = [
    getattr(keras_diffkd, name)
    for name in keras_diffkd.__all__
    if inspect.isclass(getattr(keras_diffkd, name))
    and issubclass(getattr(keras_diffkd, name), DistillationMethod)
    and getattr(keras_diffkd, name) is not DistillationMethod
]


@pytest.mark.parametrize("method", PUBLIC, ids=lambda method: method.__name__)
def test_needs_its_taps_alone(method):
    taps = ["stage1", "features"]
    several = all(
        parameter.default is inspect.Parameter.empty
        for parameter in list(inspect.signature(method).parameters.values())[:2]
    )
    made = (
        method(teacher_tap=taps, student_tap=taps)
        if several
        else method("features", "features")
    )
    assert made.get_config() == method.from_config(made.get_config()).get_config()


@pytest.mark.parametrize("name", METHODS)
def test_trains_saves_and_leaves_a_clean_student(name, rng, tmp_path):
    x, y = random_batch(rng)
    # The labels are random: they would pull elsewhere.
    distiller = make_distiller(name, weight=0.0)
    teacher = weights_of(distiller.teacher)
    history = distiller.fit(x, y, epochs=25, verbose=0).history
    for loss in losses_of(distiller):
        assert np.mean(history[loss][-3:]) < np.mean(history[loss][:2]), loss
    for before, after in zip(teacher, weights_of(distiller.teacher), strict=True):
        np.testing.assert_array_equal(after, before)

    distiller.save(tmp_path / "run.keras")
    loaded = keras.models.load_model(tmp_path / "run.keras")
    loaded.attach_teacher(distiller.teacher)
    assert loaded.methods[0].get_config() == distiller.methods[0].get_config()
    np.testing.assert_allclose(loaded(x), distiller(x), rtol=1e-5)
    loaded.run_eagerly = True
    assert set(loaded.train_on_batch(x, y, return_dict=True)) == set(history)

    student, original = distiller.strip(), two_stages(8)
    assert [type(layer) for layer in student.layers] == [
        type(layer) for layer in original.layers
    ]
    assert [w.shape for w in weights_of(student)] == [
        w.shape for w in weights_of(original)
    ]
    np.testing.assert_allclose(student(x), distiller(x), atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_trains_in_mixed_precision_and_compiled(name, rng):
    keras.config.set_dtype_policy("mixed_float16")
    x, y = random_batch(rng)
    # torch.compile would take minutes.
    distiller = make_distiller(name, jit_compile=keras.backend.backend() != "torch")
    before = weights_of(distiller.strip())
    history = distiller.fit(x, y, epochs=3, batch_size=16, verbose=0).history
    for loss in losses_of(distiller):
        assert np.all(np.isfinite(history[loss])), loss
    after = weights_of(distiller.strip())
    assert any(np.any(a != b) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
@pytest.mark.parametrize("name", METHODS)
def test_computes_in_float32_whatever_the_models_compute_in(name, policy, rng):
    x, y = random_batch(rng, 8)
    half, full = {}, {}
    for dtype, found in ((policy, half), ("float32", full)):
        keras.config.set_dtype_policy(dtype)
        keras.utils.set_random_seed(0)
        models = two_stages(12), two_stages(8)
        found["distiller"] = Distiller(*models, [METHODS[name]()])
        [found["method"]] = found["distiller"].methods
    _, [features] = half["distiller"].tapped_features(x)
    given = keras.ops.convert_to_numpy(keras.tree.flatten(features)[0])
    assert given.dtype.itemsize == (4 if half["method"].student_tap is None else 2)
    for ours, theirs in zip(
        half["method"].variables, full["method"].variables, strict=True
    ):
        assert ours.dtype == theirs.dtype
        theirs.assign(ours)
    exact = keras.tree.map_structure(lambda f: keras.ops.cast(f, "float32"), features)
    ours = half["method"].compute_losses(*features, targets=y)
    theirs = full["method"].compute_losses(*exact, targets=y)
    assert set(ours) == set(theirs)
    for loss, value in theirs.items():
        assert keras.backend.standardize_dtype(ours[loss].dtype) == "float32"
        # The teacher's own last layers are the teacher's, and as precise as it is.
        rtol = 1e-3 if half["method"].needs_teacher_head else 1e-5
        np.testing.assert_allclose(ours[loss], value, rtol=rtol, err_msg=loss)


@pytest.mark.long
@pytest.mark.backend("tensorflow")
def test_every_method_trains_on_two_replicas():
    results = run_script(Path(__file__).with_name("mirrored_methods_script.py"))
    for make in METHODS.values():
        method = make()
        for loss in method.loss_weights:
            name = f"{method.name}/{loss}"
            assert np.all(np.isfinite(results["logs"][name])), name
    assert len(results["copies"]) > len(METHODS)
    for path, (first, second) in results["copies"].items():
        np.testing.assert_array_equal(first, second, err_msg=path)
        assert np.all(np.isfinite(first)), path
