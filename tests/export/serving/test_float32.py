import keras
import numpy as np
import pytest

from keras_diffkd.export import export_student
from keras_diffkd.export.serving.float32 import half_precision_layers, to_float32


def with_normalization(rng):
    normalization = keras.layers.Normalization()
    normalization.adapt(rng.normal(3, 2, (64, 6, 6, 2)))
    x = inputs = keras.Input((6, 6, 2))
    x = normalization(x)
    x = keras.layers.Conv2D(6, 3)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.ops.cast(x, "float16")
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(4, dtype="float32")(x))


class Subclassed(keras.Model):
    def __init__(self, width=3, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.classifier = keras.layers.Dense(width)

    def call(self, x):
        return self.classifier(keras.ops.mean(x, axis=(1, 2)))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


class Stubborn(Subclassed):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.classifier = keras.layers.Dense(3, dtype="mixed_float16")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_same_weights_and_nearly_the_same_outputs(policy, rng):
    keras.config.set_dtype_policy(policy)
    student = with_normalization(rng)
    images = rng.normal(3, 2, (8, 6, 6, 2)).astype("float32")
    assert half_precision_layers(student)

    rebuilt = to_float32(student)

    assert half_precision_layers(rebuilt) == []
    assert half_precision_layers(student)
    assert keras.config.dtype_policy().name == policy
    for old, new in zip(student.weights, rebuilt.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(keras.ops.cast(old, "float32")), new.numpy()
        )
    np.testing.assert_allclose(
        rebuilt(images), student(images, training=False), atol=0.05
    )


def test_float32_students_are_returned_as_they_are(student):
    assert to_float32(student) is student


def test_mixed_precision_student_is_exported_in_float32(tmp_path, images):
    keras.config.set_dtype_policy("mixed_float16")
    student = Subclassed(width=4)
    student(images[:2])

    manifest = export_student(student, tmp_path / "export")

    assert manifest["student"]["rebuilt_in_float32"]
    for entry in manifest["artifacts"].values():
        assert entry["outputs"][0]["dtype"] == "float32"
        assert entry["verification"]["max_difference"] <= 1e-4
        assert entry["verification"]["agreement"] == 1.0


def test_layer_that_stays_in_half_precision_is_refused(images):
    student = Stubborn()
    student(images[:2])
    with pytest.raises(ValueError, match="still computes in half precision"):
        to_float32(student)


def test_model_without_config_is_refused(images):
    keras.config.set_dtype_policy("mixed_float16")

    class NoConfig(Subclassed):
        def get_config(self):
            raise NotImplementedError("no config")

    student = NoConfig()
    student(images[:2])
    with pytest.raises(ValueError, match="get_config.*no config"):
        to_float32(student)


class Drifting(keras.layers.Layer):
    """Keeps what it computes with outside weights and config."""

    offset = 0.0

    def call(self, x):
        return x + keras.ops.cast(self.offset, x.dtype) * x


def test_state_outside_weights_is_noticed(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    student = keras.Sequential([keras.Input((4,)), Drifting(), keras.layers.Dense(3)])
    student.layers[0].offset = 5.0
    with pytest.raises(ValueError, match="gives other outputs"):
        export_student(student, tmp_path / "export", ["onnx"])
    assert list(tmp_path.iterdir()) == []
