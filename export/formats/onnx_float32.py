"""Converts a student to ONNX with tf2onnx."""

import contextlib
import logging
from pathlib import Path

import numpy as np
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from keras_diffkd.errors import ExportError

from ..serving.sizes import axis_names


def write_onnx(serving, path, *, opset=17):
    """Writes the ONNX file of the student and checks that it is valid.

    The graph is frozen before it is converted, so that the weights are constants and
    no layer (Keras's Normalization, for one) becomes an input. A batch axis of any size
    is called `batch`, others as `axis_names` has them.

    Args:
        serving: `Serving`.
        path: file to write.
        opset: int, 17 or 18.

    Raises:
        ExportError: if tf2onnx cannot convert an operation, or the result is invalid.

    Example:

    ```python
    write_onnx(Serving(student), "export/student.onnx", opset=18)
    ```
    """
    model = _convert(serving, opset)
    names = axis_names(serving)
    for value, spec in zip(model.graph.input, serving.inputs, strict=True):
        _set_shape(value, spec, serving.batch_size, names[spec.name])
    for value, spec in zip(model.graph.output, serving.outputs, strict=True):
        _set_shape(value, spec, serving.batch_size, names[spec.name])
    # tf2onnx declares this domain without using it, and leaves shapes of before its
    # optimization; strict inference computes them anew.
    used = {node.domain for node in model.graph.node} | {""}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    del model.graph.value_info[:]
    Path(path).write_bytes(checked(model).SerializeToString())


def checked(model):
    """Returns an ONNX model with the shapes of all its tensors.

    Args:
        model: `onnx.ModelProto`.

    Raises:
        ExportError: if it is not valid.

    Example:

    ```python
    checked(onnx.load("export/student.onnx"))
    ```
    """
    import onnx

    try:
        model = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True
        )
        onnx.checker.check_model(model, full_check=True)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise ExportError(f"the graph that was written is invalid: {error}") from error
    return model


def _convert(serving, opset):
    import tf2onnx

    # Loops stay whole: ONNX has a loop of its own, and nothing for the parts.
    frozen = convert_variables_to_constants_v2(serving.trace, lower_control_flow=False)
    inputs = [tensor.name for tensor in frozen.inputs]
    outputs = [tensor.name for tensor in frozen.outputs]
    names = [spec.name for spec in (*serving.inputs, *serving.outputs)]
    with _logged_errors("tf2onnx") as errors:
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            name=serving.student.name,
            input_names=inputs,
            output_names=outputs,
            opset=opset,
            custom_op_handlers={"Erfc": (_convert_erfc, [])},
            tensors_to_rename=dict(zip(inputs + outputs, names, strict=True)),
        )
    # It logs what it cannot convert and returns an invalid model as if it could.
    if errors:
        raise ExportError(f"tf2onnx reports: {'; '.join(errors)}")
    return model


def _convert_erfc(context, node, name, args):
    """Writes Erfc, which exact GELU needs and ONNX lacks, as 1 - Erf."""
    from tf2onnx.utils import make_name

    output = node.output[0]
    kind = {
        "dtypes": [context.get_dtype(output)],
        "shapes": [context.get_shape(output)],
    }
    inputs = node.input
    context.remove_node(node.name)
    erf = context.make_node("Erf", inputs, **kind)
    one = context.make_const(make_name("one"), np.array(1, "float32"))
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], name=name, outputs=[output], **kind
    )


def _set_shape(value, spec, batch_size, names):
    for axis, size in enumerate([batch_size, *spec.shape[1:]]):
        dimension = value.type.tensor_type.shape.dim[axis]
        if size is None:
            dimension.dim_param = names[axis]
        else:
            dimension.dim_value = size


@contextlib.contextmanager
def _logged_errors(name):
    """Collects what a logger reports as errors and shows none of it."""
    errors = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(record.getMessage())
    logger = logging.getLogger(name)
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield errors
    finally:
        logger.propagate = propagate
        logger.removeHandler(handler)
