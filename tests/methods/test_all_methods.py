"""What every method has to do."""

import inspect

import keras
import numpy as np
import pytest
from helpers.every_method import METHODS, two_stages
from helpers.gradients import value_and_gradients
from helpers.small_models import cross_entropy, random_batch, weights_of

import keras_diffkd
from keras_diffkd import DistillationMethod, Distiller


def make_distiller(jit_compile=False, weight=1.0):
    """All methods in one distiller: its step is traced and compiled once."""
    keras.utils.set_random_seed(0)
    methods = [make() for make in METHODS.values()]
    distiller = Distiller(
        two_stages(12), two_stages(8), methods, task_loss_weight=weight
    )
    distiller.compile(
        keras.optimizers.Adam(0.01), cross_entropy(), jit_compile=jit_compile
    )
    return distiller


def losses_of(distiller):
    return [f"{m.name}/{loss}" for m in distiller.methods for loss in m.loss_weights]


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


def test_trains_saves_and_leaves_a_clean_student(rng, tmp_path):
    x, y = random_batch(rng)
    # The labels are random: they would pull elsewhere.
    distiller = make_distiller(weight=0.0)
    teacher = weights_of(distiller.teacher)
    history = distiller.fit(x, y, epochs=25, verbose=0).history
    for loss in losses_of(distiller):
        assert np.mean(history[loss][-3:]) < np.mean(history[loss][:2]), loss
    for before, after in zip(teacher, weights_of(distiller.teacher), strict=True):
        np.testing.assert_array_equal(after, before)

    distiller.save(tmp_path / "run.keras")
    loaded = keras.models.load_model(tmp_path / "run.keras")
    loaded.attach_teacher(distiller.teacher)
    for ours, theirs in zip(loaded.methods, distiller.methods, strict=True):
        assert ours.get_config() == theirs.get_config()
        for a, b in zip(
            ours.trainable_variables, theirs.trainable_variables, strict=True
        ):
            np.testing.assert_array_equal(a, b)
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


def test_every_method_moves_the_student_and_itself(rng):
    """Of each alone: in one training, others could lower its losses."""
    x, y = random_batch(rng, 8)
    distiller = make_distiller()
    _, features = distiller.tapped_features(x)
    for method, (teacher, student) in zip(distiller.methods, features, strict=True):
        flat = [np.array(part) for part in keras.tree.flatten(student)]

        def loss(*flat, method=method, teacher=teacher, student=student):
            given = keras.tree.pack_sequence_as(student, flat)
            values = method.compute_losses(teacher, given, targets=y)
            return sum(values[name] for name in method.loss_weights)

        _, of_student, of_method = value_and_gradients(loss, flat, method)
        assert all(np.any(gradient) for gradient in of_student), method.name
        assert not of_method or any(map(np.any, of_method)), method.name


def test_trains_in_mixed_precision_and_compiled(rng):
    keras.config.set_dtype_policy("mixed_float16")
    x, y = random_batch(rng)
    # torch.compile would take minutes.
    distiller = make_distiller(jit_compile=keras.backend.backend() != "torch")
    before = weights_of(distiller.strip())
    history = distiller.fit(x, y, epochs=3, batch_size=16, verbose=0).history
    for loss in losses_of(distiller):
        assert np.all(np.isfinite(history[loss])), loss
    after = weights_of(distiller.strip())
    assert any(np.any(a != b) for a, b in zip(after, before, strict=True))


# With mixed_float16, all methods train above.
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_computes_in_float32_whatever_the_models_compute_in(policy, rng):
    x, y = random_batch(rng, 8)
    distillers = {}
    for dtype in (policy, "float32"):
        keras.config.set_dtype_policy(dtype)
        distillers[dtype] = make_distiller()
    half, full = distillers.values()
    _, features = half.tapped_features(x)
    for ours, theirs, pair in zip(half.methods, full.methods, features, strict=True):
        check_computes_in_float32(ours, theirs, pair, y)


def check_computes_in_float32(half, full, features, y):
    given = keras.ops.convert_to_numpy(keras.tree.flatten(features)[0])
    assert given.dtype.itemsize == (4 if half.student_tap is None else 2)
    for ours, theirs in zip(half.variables, full.variables, strict=True):
        assert ours.dtype == theirs.dtype
        theirs.assign(ours)
    exact = keras.tree.map_structure(lambda f: keras.ops.cast(f, "float32"), features)
    ours = half.compute_losses(*features, targets=y)
    theirs = full.compute_losses(*exact, targets=y)
    assert set(ours) == set(theirs)
    for loss, value in theirs.items():
        assert keras.backend.standardize_dtype(ours[loss].dtype) == "float32"
        # The teacher's own last layers are the teacher's, and as precise as it is.
        rtol = 1e-3 if half.needs_teacher_head else 1e-5
        message = f"{half.name}/{loss}"
        np.testing.assert_allclose(ours[loss], value, rtol=rtol, err_msg=message)
