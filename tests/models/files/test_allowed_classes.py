import keras
import numpy as np
import pytest

from keras_diffkd import DiffKD
from keras_diffkd.models import UnsafeModelError, build_model
from keras_diffkd.models.files.allowed_classes import check_classes


@keras.saving.register_keras_serializable(package="tests_classes")
class Mine(keras.layers.Layer):
    pass


@keras.saving.register_keras_serializable(package="tests_classes")
class MyLambda(keras.layers.Lambda):
    pass


@keras.saving.register_keras_serializable(package="tests_classes")
def my_function(x):
    return x


def named(module, name, registered_name=None, **config):
    return {
        "module": module,
        "class_name": name,
        "config": config,
        "registered_name": registered_name,
    }


def inside(config):
    """Deep inside a model of a model."""
    for _ in range(4):
        config = {
            **named("keras.src.models.functional", "Functional", "Functional"),
            "config": {"layers": [config]},
        }
    return config


def serialized(thing):
    return keras.saving.serialize_keras_object(thing)


@pytest.mark.parametrize(
    "make",
    [
        lambda: build_model("digits_student", (8, 8, 1), 10),
        lambda: DiffKD(latent_channels=4),
        lambda: keras.layers.Dense(
            2,
            activation=keras.layers.LeakyReLU(),
            kernel_regularizer="l2",
            bias_constraint=keras.constraints.MaxNorm(),
            kernel_initializer=keras.initializers.RandomNormal(seed=1),
            dtype="mixed_float16",
        ),
        lambda: keras.layers.Bidirectional(keras.layers.LSTM(2)),
        lambda: keras.layers.Convolution2D(2, 3),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1, 2)),
        lambda: keras.metrics.MeanIoU(3),
        lambda: keras.losses.BinaryFocalCrossentropy(),
        lambda: keras.losses.sparse_categorical_crossentropy,
        lambda: keras.activations.gelu,
        lambda: keras.ops.convert_to_tensor([1.0]),
    ],
)
def test_what_keras_and_this_library_have(make):
    check_classes(inside(serialized(make())))


def test_operations_on_tensors():
    x = keras.Input((4,))
    check_classes(serialized(keras.Model(x, keras.ops.sin(x) * x + x[:, :1])))


def test_classes_of_keras_hub():
    keras_hub = pytest.importorskip("keras_hub")
    check_classes(
        serialized(keras_hub.layers.AnchorGenerator("xyxy", 3, 4, 2, [1.5], 2.0))
    )
    for name in ("WordPieceTokenizer", "ByteTokenizer"):
        tokenizer = named(
            "keras_hub.src.tokenizers",
            name,
            f"keras_hub>{name}",
            vocabulary="/etc/hosts",
        )
        with pytest.raises(UnsafeModelError, match=f"keras_hub>{name}"):
            check_classes(tokenizer)
    function = {**named("builtins", "function"), "config": "keras_hub>upload_preset"}
    for config in (function, {"activation": "keras_hub>upload_preset"}):
        with pytest.raises(UnsafeModelError, match="keras_hub>upload_preset"):
            check_classes(config)


@pytest.mark.parametrize(
    "config",
    [
        named("keras.layers", "Lambda", function="e30="),
        named("keras.layers", "Lambda", "Lambda"),
        named("keras.src.layers.core.lambda_layer", "Lambda"),
        {"class_name": "Lambda", "config": {}},
        named("keras.layers", "TFSMLayer", filepath="/tmp/model"),
        named("keras.layers", "TorchModuleWrapper"),
        named("keras.layers", "JaxLayer"),
        named("keras.layers", "FlaxLayer"),
        named("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
        named("keras.layers", "TextVectorization", vocabulary="/etc/passwd"),
        named("keras.src.layers.preprocessing.index_lookup", "IndexLookup"),
        named("tests_classes", "Mine", "tests_classes>Mine"),
        # Keras takes what is registered, whatever the module says.
        named("keras.layers", "Dense", "tests_classes>Mine"),
        {"module": "keras.layers", "class_name": "tests_classes>Mine", "config": {}},
        {"activation": "tests_classes>my_function"},
        named("os", "system"),
        named("subprocess", "Popen", args=["id"]),
        named("builtins", "eval"),
        named("keras.utils", "get_file"),
        named("keras.models", "load_model"),
        named("keras.callbacks", "LambdaCallback"),
        named("keras.callbacks", "CSVLogger"),
        named("keras.src.utils.python_utils", "func_load"),
        named("keras.src.saving.saving_lib", "DiskIOStore"),
        named("keras.src.layers.core.lambda_layer.os", "system"),
        named("keras_cv.layers", "Anything"),
        named("keras", "__builtins__"),
        named(None, "os"),
        named(["keras"], "Dense"),
        named("keras.layers", "Dense", ["Dense"]),
        {"class_name": "__lambda__", "config": {"value": "e30="}},
        {"class_name": "__typespec__", "spec_name": "TensorSpec", "config": []},
        {"class_name": "__numpy__", "config": {"value": [], "dtype": "U999999999"}},
        {"class_name": "__numpy__", "config": {"value": [], "dtype": "object"}},
        {"class_name": "__numpy__", "config": {"value": [], "dtype": ["f4"]}},
        {"class_name": "__tensor__", "config": None},
        {"class_name": 7, "config": {}},
        named("keras.metrics", "AUC", num_thresholds=2**24 + 1),
        named("keras.layers", "Reshape", target_shape=[-(2**40)]),
        {"class_name": ["Dense"], "config": {}},
        *(
            {**named(module, "function"), "config": name}
            for module, name in (
                ("builtins", "eval"),
                ("builtins", "deserialize"),
                ("builtins", "get"),
                ("os", "system"),
                ("os", "relu"),
                ("keras.utils", "get_file"),
                ("keras.losses", "__loader__"),
                ("keras.activations", ["relu"]),
                ("keras.config", "enable_unsafe_deserialization"),
                ("tests_classes", "tests_classes>my_function"),
            )
        ),
    ],
    ids=lambda config: f"{config.get('module')}.{config.get('class_name')}",
)
def test_anything_else(config):
    for place in (config, {"class_name": "Sequential", "config": inside(config)}):
        with pytest.raises(UnsafeModelError, match="config.json"):
            check_classes(place)


def test_names_that_the_user_adds():
    mine = named("tests_classes", "Mine", "tests_classes>Mine")
    check_classes(mine, ["tests_classes>Mine"])
    check_classes({"a": "tests_classes>my_function"}, ["tests_classes>my_function"])
    check_classes(named("keras.layers", "StringLookup"), ["keras.layers>StringLookup"])
    with pytest.raises(UnsafeModelError, match="Import the module that registers it"):
        check_classes(named("other", "Other", "other>Other"), ["other>Other"])
    # Not even so.
    for config in (
        named("keras.layers", "Lambda"),
        named("tests_classes", "MyLambda", "tests_classes>MyLambda"),
    ):
        with pytest.raises(UnsafeModelError, match="Lambda"):
            check_classes(config, ["keras.layers>Lambda", "tests_classes>MyLambda"])


def test_layers_of_keras_applications():
    check_classes(named("keras.src.applications.convnext", "LayerScale", "LayerScale"))


def test_large_numbers_that_are_no_sizes():
    dropout = serialized(keras.layers.Dropout(0.5, seed=10**9))
    check_classes({**dropout, "shared_object_id": 2**47})
    big = np.array([10**9])
    check_classes(serialized(big))


def test_message_says_where():
    config = inside(named("keras.layers", "Lambda"))
    with pytest.raises(
        UnsafeModelError,
        match="'keras.layers>Lambda' at config.json/config/layers/0/config/layers/0",
    ):
        check_classes(config)


def test_compile_config_of_the_outermost_model_is_not_used():
    loss = named("os", "system")
    dense = serialized(keras.layers.Dense(2))
    check_classes({**dense, "compile_config": {"loss": loss}})
    with pytest.raises(UnsafeModelError, match="'os>system' at config.json/.*/loss"):
        check_classes(inside({**dense, "compile_config": {"loss": loss}}))
