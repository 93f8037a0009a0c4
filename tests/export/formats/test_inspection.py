import keras
import onnx
import pytest
from ai_edge_litert.tools import flatbuffer_utils

from keras_diffkd.export.formats import FORMATS
from keras_diffkd.export.serving.graph import training_operations
from keras_diffkd.export.serving.serving import Serving


def test_nothing_is_wrong_with_an_export(exported):
    for name in ("saved_model", "onnx", "tflite"):
        assert FORMATS[name].inspect(exported / FORMATS[name].file) == []


class Insistent(keras.layers.Layer):
    """Calls a layer in training mode, whatever it is told."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x, training=True)


@pytest.mark.parametrize(
    "layer",
    [keras.layers.Dropout(0.5), keras.layers.BatchNormalization()],
    ids=["dropout", "batch_norm"],
)
def test_student_in_training_mode_is_refused(layer):
    student = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), Insistent(layer)]
    )
    with pytest.raises(ValueError, match="layers in training mode.*operations"):
        Serving(student)


def test_saved_model_in_training_mode(tmp_path):
    model = keras.Sequential(
        [keras.Input((4,)), Insistent(keras.layers.Dropout(0.5, seed=0))]
    )
    model.export(tmp_path, verbose=False)
    [reason] = FORMATS["saved_model"].inspect(tmp_path)
    assert "is in training mode: its graph has" in reason


def test_student_in_inference_mode(student):
    assert training_operations(Serving(student).trace.graph.as_graph_def()) == []


def edit_onnx(exported, tmp_path, edit):
    model = onnx.load(exported / "student.onnx")
    edit(model)
    path = tmp_path / "edited.onnx"
    path.write_bytes(model.SerializeToString())
    return FORMATS["onnx"].inspect(path)


def test_onnx_in_training_mode(exported, tmp_path):
    def add_noise(model):
        name = model.graph.output[0].name
        node = onnx.helper.make_node("RandomNormalLike", [name], ["noise"])
        model.graph.node.append(node)

    [reason] = edit_onnx(exported, tmp_path, add_noise)
    assert reason == "is in training mode: its graph has RandomNormalLike"


def test_invalid_onnx(exported, tmp_path):
    def forget(model):
        del model.graph.node[0]

    [reason] = edit_onnx(exported, tmp_path, forget)
    assert reason.startswith("invalid ONNX: ")


def test_tflite_with_a_custom_operation(exported, tmp_path):
    content = bytearray((exported / "student.tflite").read_bytes())
    model = flatbuffer_utils.read_model_from_bytearray(content)
    custom = flatbuffer_utils.BuiltinOperator.CUSTOM
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = custom
    code.customCode = "FlexErfinv"
    path = tmp_path / "edited.tflite"
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    [reason] = FORMATS["tflite"].inspect(path)
    assert "(Flex or custom): FlexErfinv" in reason
