"""What a teacher makes of a feature: its layers after the tap, frozen."""

import keras

from keras_diffkd.features.kinds import channel_axis_of
from keras_diffkd.features.logits import check_teacher_head
from keras_diffkd.features.paths import find_layer


class TeacherHead:
    """The part of a teacher that turns the tapped feature into class scores.

    It shares the teacher's variables and always runs with `training=False`. It
    is a plain object: Keras trains and saves every model that it finds in the
    attributes of a layer, and does not look into one.

    Args:
        teacher: A built functional or sequential `keras.Model` with one output
            of shape `(batch, classes)`. Models inside it must be of these
            kinds as well, if the tap lies in them.
        tap: Name or path of the layer whose output the head reads.

    Attributes:
        classes: Integer, the number of class scores.

    Raises:
        ValueError: If the tap is the output itself, the output is no class
            scores, or the teacher cannot be cut at the tap.

    Example:

    >>> image = keras.Input((8, 8, 1))
    >>> x = keras.layers.Conv2D(4, 3, name="features")(image)
    >>> x = keras.layers.GlobalAveragePooling2D()(x)
    >>> teacher = keras.Model(image, keras.layers.Dense(10)(x))
    >>> head = TeacherHead(teacher, "features")
    >>> head(keras.ops.ones((2, 6, 6, 4))).shape
    TensorShape([2, 10])
    """

    def __init__(self, teacher, tap):
        self.parts = _cut(teacher, tap)
        if not self.parts:
            raise ValueError(
                f"There is no classifier after the teacher's tap {tap!r}: it is the "
                f"output of {teacher.name!r}. Pass as `teacher_tap` a layer before "
                "the classifier."
            )
        output = self.parts[-1].outputs[0]
        if len(output.shape) != 2 or output.shape[-1] is None:
            raise ValueError(
                "The teacher must end in class scores of shape (batch, classes). "
                f"Received: {teacher.name!r} with the output {tuple(output.shape)}"
            )
        self.classes = output.shape[-1]
        shape = self.parts[0].inputs[0].shape
        self.channel_axis = channel_axis_of(teacher, tap, shape)

    def __call__(self, feature):
        """Returns the float32 class scores of a feature, `(batch, classes)`.

        Args:
            feature: Tensor of the tap, channels last.
        """
        if self.channel_axis != len(feature.shape) - 1:
            feature = keras.ops.moveaxis(feature, -1, self.channel_axis)
        for part in self.parts:
            feature = part(feature, training=False)
        return keras.ops.cast(feature, "float32")


def attach_heads(methods, teacher, student_outputs):
    """Gives every method that asks for it the teacher's head at its tap.

    Args:
        methods: List of `DistillationMethod`s.
        teacher: The teacher.
        student_outputs: The student's outputs as `KerasTensor`s.

    Raises:
        ValueError: As `TeacherHead`, or if the head and the student have other
            classes. No method has changed then.
    """
    heads = [None] * len(methods)
    for index, method in enumerate(methods):
        if method.needs_teacher_head:
            heads[index] = TeacherHead(teacher, method.teacher_tap)
            check_teacher_head(method, heads[index], teacher, student_outputs)
    for method, head in zip(methods, heads, strict=True):
        method.teacher_head = head


def _cut(teacher, tap):
    """Returns the models to run one after the other, the innermost first."""
    parts = []
    names = [] if tap is None else tap.split("/")
    for depth in reversed(range(len(names))):
        path = "/".join(names[:depth])
        model = find_layer(teacher, path) if path else teacher
        layer = find_layer(model, names[depth])
        outputs = getattr(model, "outputs", None) or ()
        tensor = _output_in(model, layer) if len(outputs) == 1 else None
        if tensor is None:
            raise _no_cut(teacher, tap, model)
        if tensor is outputs[0]:
            continue
        try:
            # A model from an intermediate tensor adds nodes to the layers' history;
            # configuration and weights of the teacher stay as they are.
            parts.append(keras.Model(tensor, outputs[0], name=f"{model.name}_head"))
        except ValueError as error:
            raise _no_cut(teacher, tap, model) from error
    return parts


def _output_in(model, layer):
    """Returns the tensor that `layer` gives in this model's graph, or `None`."""
    waiting, seen = list(model.outputs), set()
    while waiting:
        tensor = waiting.pop()
        operation, index, _ = tensor._keras_history
        if operation is layer:
            return tensor
        if id(tensor) not in seen:
            seen.add(id(tensor))
            waiting += operation._inbound_nodes[index].input_tensors
    return None


def _no_cut(teacher, tap, model):
    return ValueError(
        f"The teacher {teacher.name!r} cannot be cut after its tap {tap!r}, which "
        "takes functional or sequential models with one output, in which everything "
        f"after the tap depends on the tap alone. Received: {type(model).__name__} "
        f"{model.name!r}. Tap a layer closer to the output, or use a method that "
        "needs no classifier."
    )
