import numpy as np
from ai_edge_litert.interpreter import Interpreter


def test_one_float_input_and_only_builtin_operations(exported):
    interpreter = Interpreter(str(exported / "student.tflite"))
    interpreter.allocate_tensors()

    (details,) = interpreter.get_input_details()
    assert details["shape"].tolist() == [1, 6, 6, 2]
    assert details["dtype"] == np.float32
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["logits"]}
    }
    operations = {op["op_name"] for op in interpreter._get_ops_details()}
    assert "CONV_2D" in operations
    assert not any(name.startswith("Flex") for name in operations)
