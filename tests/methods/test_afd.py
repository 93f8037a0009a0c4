import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients

from keras_diffkd import AFD, RTK

TEACHER = [(4, 4, 6), (2, 2, 8)]
STUDENT = [(4, 4, 3), (3, 3, 5), (2, 2, 4)]


def features(rng, shapes, batch=5):
    return [rng.normal(size=(batch, *shape)).astype("float32") for shape in shapes]


def built(method_class=AFD, teacher=TEACHER, student=STUDENT, **arguments):
    keras.utils.set_random_seed(0)
    method = method_class(
        [f"t{i}" for i in range(len(teacher))],
        [f"s{j}" for j in range(len(student))],
        key_dim=7,
        **arguments,
    )
    method.build([(None, *s) for s in teacher], [(None, *s) for s in student])
    rng = np.random.default_rng(1)
    for variable in method.trainable_variables:
        variable.assign(variable + 0.3 * rng.normal(size=variable.shape))
    return method


def pool(x, size):
    """Adaptive average pooling as PyTorch defines it, one axis after the other."""
    for axis in (1, 2):
        length = x.shape[axis]
        cells = []
        for i in range(size):
            start, stop = i * length // size, -(-(i + 1) * length // size)
            cells.append(np.take(x, range(start, stop), axis).mean(axis, keepdims=True))
        x = np.concatenate(cells, axis)
    return x


def reference(method, teacher, student, k=None):
    """The loss in NumPy, of float64 or complex values."""

    def vectors(maps, layers):
        result = []
        for x, (project, normalize) in zip(maps, layers, strict=True):
            kernel, bias = (np.array(w, "float64") for w in project.weights)
            gamma, beta = (np.array(w, "float64") for w in normalize.weights[:2])
            z = x.mean((1, 2)) @ kernel + bias
            z = z - z.mean(0)
            result.append(gamma * z / np.sqrt((z**2).mean(0) + 1e-5) + beta)
        return result

    def value(x, size):
        energy = (x**2).mean(-1)
        if energy.shape[1] != size:
            energy = pool(energy, size)
        flat = energy.reshape(len(x), -1)
        return flat / np.sqrt((flat**2).sum(-1, keepdims=True) + 1e-12)

    queries, keys = vectors(teacher, method.queries), vectors(student, method.keys)
    bilinear = np.array(method.bilinear, "float64")
    ours, theirs = (
        np.array(p, "float64")
        for p in (method.teacher_positions, method.student_positions)
    )
    scores = np.stack(
        [
            np.stack(
                [
                    ((q @ bilinear) * key).sum(-1) + ours[i] @ theirs[j]
                    for j, key in enumerate(keys)
                ],
                -1,
            )
            for i, q in enumerate(queries)
        ],
        1,
    ) / np.sqrt(method.key_dim)
    attention = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    if k is not None:
        ranking = np.argsort(-scores.mean(-1).real, axis=1)
        for sample, order in enumerate(ranking):
            attention[sample, order[k:]] = 0
        attention = attention * (len(teacher) / k)
    loss = 0
    for i, t in enumerate(teacher):
        target = value(t, t.shape[1])
        for j, s in enumerate(student):
            gaps = ((value(s, t.shape[1]) - target) ** 2).mean(-1)
            loss = loss + (attention[:, i, j] * gaps).mean()
    return loss


def complex_step(function, arrays, index, step=1e-30):
    result = np.empty(arrays[index].shape)
    for position in np.ndindex(result.shape):
        shifted = [a.astype(complex) for a in arrays]
        shifted[index][position] += 1j * step
        result[position] = np.imag(function(shifted)) / step
    return result


@pytest.mark.parametrize("k", [None, 1, 2])
def test_value_and_gradient(rng, k):
    method = built() if k is None else built(RTK, k=k)
    teacher, student = features(rng, TEACHER), features(rng, STUDENT)

    def ours(*tensors):
        return method.compute_losses(tensors[:2], tensors[2:])["distill"]

    loss, gradients, weight_gradients = value_and_gradients(
        ours, [*teacher, *student], method
    )
    exact_teacher = [t.astype("float64") for t in teacher]
    exact_student = [s.astype("float64") for s in student]
    np.testing.assert_allclose(
        loss, reference(method, exact_teacher, exact_student, k), rtol=1e-5
    )
    assert all(not np.any(gradient) for gradient in gradients[:2])
    for j in range(3):
        expected = complex_step(
            lambda s: reference(method, exact_teacher, s, k), exact_student, j
        )
        scale = np.abs(expected).max()
        np.testing.assert_allclose(gradients[2 + j], expected, atol=1e-4 * scale)
    for variable, gradient in zip(
        method.trainable_variables, weight_gradients, strict=True
    ):
        # A bias before a batch normalization has the gradient zero.
        assert variable.name == "bias" or np.abs(gradient).max() > 0, variable.path


def test_all_representative_keys_are_afd(rng):
    teacher, student = features(rng, TEACHER), features(rng, STUDENT)
    afd, rtk, one = built(), built(RTK, k=2), built(RTK, k=1)
    for method in (rtk, one):
        method.set_weights(afd.get_weights())
    losses = [
        float(m.compute_losses(teacher, student, training=False)["distill"])
        for m in (afd, rtk, one)
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_tokens_and_larger_teachers(rng):
    teacher, student = [(25, 6), (5, 5, 4)], [(3, 3, 4), (16, 2)]
    method = built(teacher=teacher, student=student, feature_kind="tokens")
    losses = method.compute_losses(features(rng, teacher), features(rng, student))
    assert np.isfinite(float(losses["distill"]))


def test_a_feature_of_zeros_has_a_finite_gradient(rng):
    method = built()
    teacher = features(rng, TEACHER)
    student = [0 * x for x in features(rng, STUDENT)]
    _, gradients, weight_gradients = value_and_gradients(
        lambda *t: method.compute_losses(t[:2], t[2:])["distill"],
        [*teacher, *student],
        method,
    )
    assert all(np.all(np.isfinite(s)) for s in [*gradients, *weight_gradients])


@pytest.mark.parametrize("method", [built(weight=0.3), built(RTK, k=2, weight=0.3)])
def test_config_round_trip(method):
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(method)
    )
    assert type(copy) is type(method)
    assert copy.get_config() == method.get_config()
    assert copy.loss_weights == {"distill": 0.3}


def test_bad_input():
    with pytest.raises(ValueError, match="list of different.*'features'"):
        AFD("features", ["features"])
    with pytest.raises(ValueError, match="`student_tap` must be a list"):
        RTK(["stage1", "features"], "features", k=1)
    with pytest.raises(ValueError, match=r"different layer names.*\['a', 'a'\]"):
        AFD(["a", "a"], ["b"])
    with pytest.raises(ValueError, match="in 1 to the number.*2. Received: k=3"):
        RTK(["a", "b"], ["c"], k=3)
    with pytest.raises(ValueError, match="k=0"):
        RTK(["a", "b"], ["c"], k=0)
    with pytest.raises(ValueError, match="`key_dim` must be an integer of at least 1"):
        AFD(["a"], ["b"], key_dim=0)
    with pytest.raises(ValueError, match="of known size.*None, None, None, 6"):
        AFD(["a"], ["b"]).build([(None, None, None, 6)], [(None, 4, 4, 2)])
    with pytest.raises(
        ValueError, match=r"student's features must be maps.*\(None, 6\)"
    ):
        AFD(["a"], ["b"]).build([(None, 4, 4, 6)], [(None, 6)])
