"""Quantizes an ONNX file with `onnxruntime.quantization`."""

import logging
import tempfile
from pathlib import Path

from ..serving.detection import describe_detection
from .onnx_float32 import checked, write_onnx
from .onnx_qdq import store_integers

BATCH_BYTES = 2**23
# Operations between pixels and the first layer with weights.
_PREPROCESSING = {"Cast", "Mul", "Sub", "Add", "Div", "Transpose", "Reshape"}
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def write_onnx_int8(serving, path, *, opset=17, calibration=None):
    """Writes the quantized ONNX file of the student and checks that it is valid.

    Weights are int8 with one scale per channel, activations uint8, which runtimes on
    CPUs compute fastest; inputs and outputs stay as those of `write_onnx`. What comes
    before the first layer with weights stays float, and of a detector what comes
    after its last: rounding to 256 values moves boxes by pixels.

    Args:
        serving: `Serving`.
        path: file to write.
        opset: int, 17 or 18.
        calibration: `Samples`. None: `serving` is from `simulated`, and has the ranges
            of activations.

    Raises:
        ExportError: if the student cannot be converted, or the result is invalid.

    Example:

    ```python
    write_onnx_int8(serving, "export/student_int8.onnx", calibration=samples)
    ```
    """
    import onnx

    if calibration is None:
        write_onnx(serving, path, opset=opset)
        model = onnx.load(path)
        store_integers(model)
    else:
        model = _calibrated(serving, path, opset, calibration)
    Path(path).write_bytes(checked(model).SerializeToString())


def _calibrated(serving, path, opset, calibration):
    """Returns the model with ranges from samples, after writing it to a file."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        float32, prepared = Path(folder) / "float32.onnx", Path(folder) / "ready.onnx"
        write_onnx(serving, float32, opset=opset)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # It advises steps that are done.
        try:
            # Symbolic inference fails on some models.
            quant_pre_process(str(float32), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(path),
                _reader(calibration, serving.batch_size),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=_nodes_to_exclude(onnx.load(prepared).graph, serving),
            )
        finally:
            logging.root.setLevel(level)
    return onnx.load(path)


def _reader(calibration, batch_size):
    from onnxruntime.quantization import CalibrationDataReader

    one = sum(array.nbytes for array in calibration.batch(0, 1).values())
    size = batch_size or min(len(calibration), max(1, BATCH_BYTES // one))
    starts = range(0, len(calibration), size)
    batches = (calibration.full_batch(start, size) for start in starts)

    class Reader(CalibrationDataReader):
        def get_next(self):
            return next(batches, None)

    return Reader()


def _nodes_to_exclude(graph, serving):
    names = _before_weights(graph)
    if describe_detection(serving.student):
        names |= _after_weights(graph)
    return sorted(names)


def _before_weights(graph):
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {
        out for n in graph.node if n.op_type == "Constant" for out in n.output
    }
    reached, names = {value.name for value in graph.input}, set()
    for node in graph.node:
        inputs = set(node.input) - constants - {""}
        if node.op_type in _PREPROCESSING and inputs and inputs <= reached:
            reached.update(node.output)
            names.add(node.name)
    return names


def _after_weights(graph):
    """Returns the nodes from which no layer with weights is reached."""
    leads, names = set(), set()
    for node in reversed(graph.node):
        if node.op_type in _WEIGHTED or leads & set(node.output):
            leads.update(node.input)
        else:
            names.add(node.name)
    return names
