"""The interface of a distillation method."""

import inspect
import types

import keras


@keras.saving.register_keras_serializable(package="keras_diffkd")
class DistillationMethod(keras.layers.Layer):
    """Base class of methods: names the features to compare, and computes losses.

    A method creates its own layers in `build` and returns named losses. It computes in
    float32, whatever the dtype policy of the models. `Distiller` does the rest.

    Subclasses implement `compute_losses` and `loss_weights`, `build` if they
    have layers, and `get_config`.

    Args:
        teacher_tap: `None` (the teacher's output), a layer name, a path into
            nested models (`"backbone/stack3"`), an entry of a layer's dictionary
            (`"backbone/fpn:P3"`), or a list of those.
        student_tap: The same for the student.
        name: String, prefix of the logs: `<name>/<loss name>`. Unique within a
            `Distiller`.

    Example:

    ```python
    @keras.saving.register_keras_serializable(package="mine")
    class MeanMatching(DistillationMethod):
        loss_weights = {"mean": 1.0}

        def compute_losses(
            self, teacher_features, student_features, targets=None, training=True
        ):
            gap = keras.ops.mean(teacher_features) - keras.ops.mean(student_features)
            return {"mean": keras.ops.square(gap)}
    ```
    """

    # Names of results of `compute_losses` that are logged, and are not losses.
    metric_names = ()
    # Names of losses without a gradient with respect to the student's features.
    teacher_losses = ()
    # Whether `compute_losses` needs the labels.
    needs_targets = False
    # Whether both features are class scores before softmax.
    expects_logits = False
    # Whether a tap may be a layer that gives a dictionary of features.
    takes_pyramid = False
    # From the name of a level to the method that compares it, for a pyramid.
    levels = types.MappingProxyType({})
    # Whether the method needs the teacher's layers after its tap.
    needs_teacher_head = False
    # Those layers as a `TeacherHead`: maps the teacher's feature to its class scores.
    # `Distiller` sets it before `build`.
    teacher_head = None
    # Kinds of the teacher's and the student's feature, as the tapped layers tell them
    # (see `features.kinds.kind_of`): lists or dicts for several features. `Distiller`
    # sets them before `build`.
    tapped_kinds = (None, None)

    def __init__(self, teacher_tap=None, student_tap=None, *, name=None):
        super().__init__(name=name, dtype="float32")
        check_tap("teacher_tap", teacher_tap)
        check_tap("student_tap", student_tap)
        self.teacher_tap = teacher_tap
        self.student_tap = student_tap

    def build(self, teacher_shape, student_shape):
        """Creates the layers of the method.

        Args:
            teacher_shape: Shape tuple of the teacher's feature, batch axis
                included (a list of shapes for a list of taps).
            student_shape: The same of the student.
        """
        self.built = True

    @property
    def takes_mask(self):
        """Whether `compute_losses` has the keyword `mask`.

        A method that `expects_logits` then gets a boolean tensor of the shape of the
        student's logits without the classes: the positions that count. It gets nothing
        if all count.
        """
        return declares(type(self), "compute_losses", "mask")

    @property
    def loss_weights(self):
        """Dict from the name of each loss to its weight in the total loss.

        A weight is a float, a `keras.optimizers.schedules.LearningRateSchedule` of the
        step, or `"balanced"`: training sets it (see `LossBalance`). A float may change
        between two batches, a schedule before `fit`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define the property `loss_weights`: a dict "
            "from the name of each loss to its weight."
        )

    def compute_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        """Computes the losses of one batch.

        Args:
            teacher_features: Tensor of the teacher's tap (or list of them). No
                gradient flows into it.
            student_features: Tensor of the student's tap (or list of them).
            targets: The batch's targets as given to `fit`, if any. A method that needs
                labels and compares one of several outputs gets those of this output.
            training: Whether to run the method's layers in training mode.

        Returns:
            Dict of float32 scalars: every name in `loss_weights`, and those in
            `metric_names`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `compute_losses`.")

    def describe_bridge(self, teacher_shape, student_shape):
        """Describes the layers between the student's feature and the teacher's.

        Args:
            teacher_shape: As in `build`, of one feature.
            student_shape: The same of the student.
        """
        alike = teacher_shape == student_shape
        return "nothing" if alike else "the method's own layers"

    def prepare_student(self, student):
        """Returns the student to train, for methods that re-parameterize it."""
        return student

    def fold_student(self, student):
        """Returns the student to ship: the inverse of `prepare_student`."""
        return student

    def get_build_config(self):
        config = super().get_build_config()
        return config and {**config, "tapped_kinds": self.tapped_kinds}

    def build_from_config(self, config):
        if config:
            self.tapped_kinds = config.get("tapped_kinds", self.tapped_kinds)
        super().build_from_config(config)

    def get_config(self):
        return {
            "teacher_tap": self.teacher_tap,
            "student_tap": self.student_tap,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        return cls(
            **{
                # A schedule that `get_config` has serialized.
                name: keras.saving.deserialize_keras_object(value)
                if name.endswith("weight") and isinstance(value, dict)
                else value
                for name, value in config.items()
            }
        )


def declares(cls, function, keyword):
    """Whether a function of a class has a keyword, or passes it on to its base.

    Args:
        cls: The class.
        function: String, the function's name.
        keyword: String.
    """
    for base in cls.__mro__:
        if function not in vars(base):
            continue
        parameters = inspect.signature(vars(base)[function]).parameters
        if keyword in parameters:
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return False
    return False


def config_of_arguments(method, constructor):
    """Returns the configuration of a method that keeps its arguments as they are.

    Args:
        method: A `DistillationMethod` with an attribute for each argument.
        constructor: The `__init__` of the class that calls this; a subclass may have
            other arguments.
    """
    names = list(inspect.signature(constructor).parameters)[1:]
    values = {name: getattr(method, name) for name in names}
    return {
        # Schedules, losses and functions.
        name: keras.saving.serialize_keras_object(value) if callable(value) else value
        for name, value in values.items()
    }


def check_tap(name, tap):
    """Raises `ValueError` unless a tap is `None`, a string, or a list of those."""
    taps = tap if isinstance(tap, (list, tuple)) else [tap]
    if not all(each is None or isinstance(each, str) for each in taps):
        raise ValueError(
            f"`{name}` must be None (the model's output), the name of a layer, or a "
            f"list of names. Received: {name}={tap!r}"
        )
