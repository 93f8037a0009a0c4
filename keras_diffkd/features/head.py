"""Runs the frozen layers of a teacher that follow a tap."""

import keras

from keras_diffkd.features.graph import output_in
from keras_diffkd.features.kinds import channel_axis_of
from keras_diffkd.features.logits import check_teacher_head
from keras_diffkd.features.paths import find_layer


class TeacherHead:
    """Runs the part of a teacher that turns a tapped feature into class scores.

    The head shares the teacher's variables and always runs with `training=False`. It
    is a plain object, so that Keras does not find the models in it: Keras trains and
    saves every model in the attributes of a layer.

    Args:
        teacher: A built functional or sequential `keras.Model` with one output
            of shape `(batch, classes)`. A nested model that contains the tap
            must also be functional or sequential.
        tap: Name or path of the layer whose output the head reads.

    Attributes:
        classes: Integer, the number of class scores.

    Raises:
        ValueError: If the tap is the model's output, if the output is not class
            scores, or if the teacher cannot be split at the tap.

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
                f"The teacher has no classifier after its tap {tap!r}: the tap is the "
                f"output of {teacher.name!r}. Set `teacher_tap` to a layer before the "
                "classifier."
            )
        output = self.parts[-1].outputs[0]
        if len(output.shape) != 2 or output.shape[-1] is None:
            raise ValueError(
                "The teacher must output class scores of shape (batch, classes). "
                f"Received: {teacher.name!r} with output shape {tuple(output.shape)}. "
                "Pass a classifier, or use a method that needs no classifier."
            )
        self.classes = output.shape[-1]
        shape = self.parts[0].inputs[0].shape
        self.channel_axis = channel_axis_of(teacher, tap, shape)

    def __call__(self, feature):
        """Returns the float32 class scores of a feature, `(batch, classes)`.

        Args:
            feature: Tensor that the tap gives, channels last.
        """
        if self.channel_axis != len(feature.shape) - 1:
            feature = keras.ops.moveaxis(feature, -1, self.channel_axis)
        for part in self.parts:
            feature = part(feature, training=False)
        return keras.ops.cast(feature, "float32")


def attach_heads(methods, teacher, student_outputs):
    """Sets the teacher's head on every method that needs it.

    Args:
        methods: List of `DistillationMethod`s.
        teacher: The teacher.
        student_outputs: The student's outputs as `KerasTensor`s.

    Raises:
        ValueError: As for `TeacherHead`, or if the head and the student have
            different numbers of classes. No method has changed in that case.
    """
    heads = [None] * len(methods)
    for index, method in enumerate(methods):
        if method.needs_teacher_head:
            heads[index] = TeacherHead(teacher, method.teacher_tap)
            check_teacher_head(method, heads[index], teacher, student_outputs)
    for method, head in zip(methods, heads, strict=True):
        method.teacher_head = head


def _cut(teacher, tap):
    """Returns the models to run in sequence, the innermost first."""
    parts = []
    names = [] if tap is None else tap.split("/")
    for depth in reversed(range(len(names))):
        path = "/".join(names[:depth])
        model = find_layer(teacher, path) if path else teacher
        layer = find_layer(model, names[depth])
        outputs = getattr(model, "outputs", None) or ()
        tensor = output_in(model, layer) if len(outputs) == 1 else None
        if tensor is None:
            raise _no_cut(teacher, tap, model)
        if tensor is outputs[0]:
            continue
        try:
            # A model from an intermediate tensor adds nodes to the layers' history,
            # but does not change the teacher's configuration or weights.
            parts.append(keras.Model(tensor, outputs[0], name=f"{model.name}_head"))
        except ValueError as error:
            raise _no_cut(teacher, tap, model) from error
    return parts


def _no_cut(teacher, tap, model):
    return ValueError(
        f"The teacher {teacher.name!r} cannot be split after its tap {tap!r}. It must "
        "be functional or sequential with one output, and everything after the tap "
        f"must depend on the tap alone. Received: {type(model).__name__} "
        f"{model.name!r}. Tap a layer closer to the output, or use a method that "
        "needs no classifier."
    )
