"""The names of an artifact's inputs and outputs, the same in every process."""

import re

import keras

from keras_diffkd.keras_private.layers import operation_of

# Keras's names for inputs without one: it counts those of the process.
_AUTOMATIC_INPUT = re.compile(r"(keras_tensor|input_layer)(_\d+)?")


def name_tensors(student, inputs, outputs):
    """Returns the names of all inputs, then of all outputs, each once.

    Keys of dictionaries are names, then the names that the user gave to Keras inputs
    and output layers. Names that Keras made up (`keras_tensor_12`, `dense_3`) depend on
    what else the process has built; they become `input_0`, `output_1` and so on. One
    input and one output are `image` and `logits`.

    Args:
        student: `keras.Model`.
        inputs: structure of tensors that it takes.
        outputs: structure of tensors that it gives.

    Example:

    ```python
    name_tensors(student, student.input, student.output)  # ["image", "logits"]
    ```
    """
    if len(keras.tree.flatten(inputs)) == len(keras.tree.flatten(outputs)) == 1:
        return ["image", "logits"]
    names = [*_input_names(student, inputs), *_output_names(student, outputs)]
    return _unique([_sanitize(name) for name in names])


def snake_case(name):
    """Returns the name of a class as Keras makes names of it.

    Example:

    ```python
    snake_case("Conv2DTranspose")  # "conv2d_transpose"
    ```
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _input_names(student, structure):
    tensors = keras.tree.flatten(structure)
    numbered = [f"input_{i}" for i in range(len(tensors))]
    if not getattr(student, "inputs", None):
        return _names(structure, numbered)
    given = [
        own if _AUTOMATIC_INPUT.fullmatch(tensor.name) else tensor.name
        for own, tensor in zip(numbered, student.inputs, strict=True)
    ]
    return _names(structure, given)


def _output_names(student, outputs):
    count = len(keras.tree.flatten(outputs))
    numbered = [f"output_{i}" for i in range(count)]
    given = getattr(student, "output_names", None)
    if given is None or len(given) != count:
        return _names(outputs, numbered)
    operations = [operation_of(tensor) for tensor in student.outputs]
    given = [
        own if _is_automatic(operation, name) else name
        for own, operation, name in zip(numbered, operations, given, strict=True)
    ]
    return _names(outputs, given)


def _is_automatic(operation, name):
    """Returns whether Keras made up a name, which another process would count anew."""
    kind = snake_case(type(operation).__name__)
    return re.fullmatch(rf"{re.escape(kind)}(_\d+)?", name) is not None


def _names(structure, fallback):
    """Returns dictionary keys where there are any, else the given names."""
    names = []
    for index, (path, _) in enumerate(keras.tree.flatten_with_path(structure)):
        keyed = path and isinstance(path[-1], str)
        names.append(path[-1] if keyed else fallback[index])
    return names


def _sanitize(name):
    # TensorFlow accepts such names of arguments in all formats.
    return re.sub(r"\W", "_", name).lstrip("_") or "tensor"


def _unique(names):
    unique = []
    for name in names:
        candidate, count = name, 1
        while candidate in unique:
            candidate, count = f"{name}_{count}", count + 1
        unique.append(candidate)
    return unique
