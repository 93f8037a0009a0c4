import keras
import numpy as np
import pytest
from helpers.small_models import SubclassedCNN, small_cnn

from keras_diffkd import DistillationMethod, Distiller
from keras_diffkd.features.head import TeacherHead
from keras_diffkd.features.taps import call_with_taps


class Headed(DistillationMethod):
    needs_teacher_head = True
    loss_weights = {"x": 1.0}


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, name="features"),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def nested():
    inner = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, name="features"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(name="last"),
        ],
        name="block",
    )
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 1)(image)
    body = keras.Model(image, inner(x), name="body")
    outer = keras.Input((8, 8, 1))
    x = keras.layers.GlobalAveragePooling2D()(body(outer))
    return keras.Model(outer, keras.layers.Dense(10)(x))


def reused():
    """A model whose tapped layer belongs to another model as well."""
    conv = keras.layers.Conv2D(4, 3, name="features")
    first = keras.Input((8, 8, 1))
    keras.Model(first, conv(first))
    image = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(conv(image))
    return keras.Model(image, keras.layers.Dense(10)(x))


@pytest.mark.parametrize(
    ("make", "tap"),
    [
        (lambda: small_cnn(4), "features"),
        (sequential, "features"),
        (nested, "body/block/features"),
        (nested, "body/block/last"),
        (nested, "body/block"),
        (nested, "body"),
        (reused, "features"),
    ],
)
def test_head_of_the_feature_is_the_output(rng, make, tap):
    teacher = make()
    for variable in teacher.variables:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.5, 2.0, variable.shape))
    config = teacher.get_config()
    head = TeacherHead(teacher, tap)
    assert teacher.get_config() == config
    x = rng.normal(size=(2, 8, 8, 1)).astype("float32")
    logits, features = call_with_taps(teacher, x, [tap], training=False)
    np.testing.assert_allclose(head(features[tap]), logits, 1e-5, 1e-6)
    assert head.classes == 10


def residual():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 1, name="stem")(image)
    y = keras.layers.Conv2D(4, 1, name="features")(x)
    x = keras.layers.Flatten()(keras.layers.Add()([x, y]))
    return keras.Model(image, keras.layers.Dense(10)(x))


def maps():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 1, name="features")(image)
    return keras.Model(image, keras.layers.Conv2D(10, 1)(x), name="segmenter")


def subclassed():
    model = SubclassedCNN(name="teacher")
    model(np.zeros((1, 8, 8, 1), "float32"))
    return model


@pytest.mark.parametrize(
    ("make", "tap", "message"),
    [
        (lambda: small_cnn(4), None, "no classifier after its tap None"),
        (lambda: small_cnn(4), "logits", "no classifier after its tap 'logits'"),
        (residual, "features", "cannot be split after its tap 'features'"),
        (subclassed, "body/features", "Received: SubclassedCNN 'teacher'"),
        (maps, "features", "class scores of shape .*'segmenter'"),
    ],
)
def test_teachers_without_a_head(make, tap, message):
    with pytest.raises(ValueError, match=message):
        TeacherHead(make(), tap)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"classes": 7}, "teacher 7, student 10"),
        ({"activation": "softmax"}, "outputs probabilities"),
    ],
)
def test_the_head_gives_logits_of_the_students_classes(teacher, message):
    with pytest.raises(ValueError, match=message):
        Distiller(
            small_cnn(12, **teacher), small_cnn(6), [Headed("features", "features")]
        )


def test_distiller_sets_the_head_and_does_not_own_it(rng):
    method = Headed("features", "features")
    teacher = small_cnn(12, name="teacher")
    distiller = Distiller(teacher, small_cnn(6), [method])
    feature = rng.normal(size=(2, 4, 4, 12)).astype("float32")
    expected = teacher.get_layer("logits")(feature.mean(axis=(1, 2)))
    np.testing.assert_allclose(method.teacher_head(feature), expected, atol=1e-6)
    of_teacher = {id(v) for v in teacher.variables}
    assert not any(id(v) in of_teacher for v in distiller.variables)

    other = small_cnn(12)
    distiller.attach_teacher(other)
    expected = other.get_layer("logits")(feature.mean(axis=(1, 2)))
    np.testing.assert_allclose(method.teacher_head(feature), expected, atol=1e-6)
    with pytest.raises(ValueError, match="teacher 7, student 10"):
        distiller.attach_teacher(small_cnn(12, classes=7))
    assert distiller.teacher is other
    np.testing.assert_allclose(method.teacher_head(feature), expected, atol=1e-6)
