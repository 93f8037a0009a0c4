"""Pairs the tapped features of teacher and student that methods compare."""

from keras_diffkd.features.head import attach_heads
from keras_diffkd.features.inputs import common_inputs
from keras_diffkd.features.kinds import channel_axis_of, channels_last, kind_of
from keras_diffkd.features.logits import check_logits
from keras_diffkd.features.paths import find_layer
from keras_diffkd.features.specs import output_specs
from keras_diffkd.features.taps import call_with_taps, check_is_tensor
from keras_diffkd.validation.findings import Findings


def taps_of(methods, whose):
    """Returns all taps of the methods as a list.

    Args:
        methods: List of `DistillationMethod`s.
        whose: `"teacher"` or `"student"`.
    """
    taps = []
    for method in methods:
        tap = getattr(method, f"{whose}_tap")
        taps += list(tap) if isinstance(tap, (list, tuple)) else [tap]
    return taps


def pair_up(methods, of_teacher, of_student, convert=lambda feature: feature):
    """Returns the pair of features that each method compares.

    Args:
        methods: List of `DistillationMethod`s.
        of_teacher: Dict from the teacher's taps to their features.
        of_student: Dict from the student's taps to their features.
        convert: Callable that is applied to each feature.

    Returns:
        List of `(teacher's, student's)` features. A method with several taps has
        lists of features in the pair.
    """
    return [
        (
            _gather(method.teacher_tap, of_teacher, convert),
            _gather(method.student_tap, of_student, convert),
        )
        for method in methods
    ]


class FeaturePairs:
    """Holds both models and reads the features that each method compares.

    It is a plain object, so that Keras neither trains nor saves the models in it.

    Args:
        teacher: `FrozenTeacher`.
        student: A built `keras.Model`.
        methods: List of `DistillationMethod`s.

    Attributes:
        output_spec: The student's outputs as `KerasTensor`s.
        shapes: List with the `(teacher's, student's)` shapes of each method, channels
            last.

    Raises:
        PreflightError: Lists every tap that does not exist or does not fit.
    """

    def __init__(self, teacher, student, methods):
        self._teacher = teacher
        self._student = student
        self._methods = list(methods)
        self._read_specs()

    def _read_specs(self):
        """Checks all taps and computes the shapes and kinds of their features."""
        teacher, student, methods = self._teacher.model, self._student, self._methods
        inputs = common_inputs(teacher, student, self._teacher.preprocess)
        _check_taps({"student": student, "teacher": teacher}, methods)
        self.output_spec, of_student = output_specs(
            student, inputs, taps_of(methods, "student")
        )
        self.shapes, self._sources = [], None
        if not methods:
            return
        outputs, of_teacher = self._teacher.specs(inputs, taps_of(methods, "teacher"))
        findings = Findings()
        for method in methods:
            with findings.collecting():
                _check_single_features(method, teacher, student, of_teacher, of_student)
                check_logits(method, teacher, student, outputs, self.output_spec)
        findings.raise_errors()
        self._sources = (
            TappedFeatures(teacher, of_teacher),
            TappedFeatures(student, of_student),
        )
        self.shapes = self._paired(of_teacher, of_student, shape_of)

    def _paired(self, of_teacher, of_student, convert=lambda feature: feature):
        from_teacher, from_student = self._sources
        return pair_up(
            self._methods,
            from_teacher.channels_last(of_teacher),
            from_student.channels_last(of_student),
            convert,
        )

    def build_methods(self):
        """Builds the layers of the methods, which must exist before the optimizer.

        Raises:
            PreflightError: Lists all features that a method cannot compare.
        """
        findings = Findings()
        with findings.collecting():
            attach_heads(self._methods, self._teacher.model, self.output_spec)
        kinds = []
        if self._sources is not None:
            kinds = pair_up(self._methods, *(each.kinds for each in self._sources))
        for method, shapes, of_pair in zip(
            self._methods, self.shapes, kinds, strict=True
        ):
            if not method.built:
                method.tapped_kinds = of_pair
                with findings.collecting():
                    method.build(*shapes)
        findings.raise_errors()

    def read(self, x, training=True, collector=None):
        """Runs both models once.

        Args:
            x: Batch of inputs.
            training: Boolean, whether the student runs in training mode.
            collector: Optional `TappedTensors`, which collects the student's.

        Returns:
            `(y_pred, features)`: the student's outputs, and the pair of features of
            each method. A method with several taps has lists of features in the pair.
        """
        y_pred, of_student = call_with_taps(
            self._student,
            x,
            taps_of(self._methods, "student"),
            collector,
            training=training,
        )
        if not self._methods:
            return y_pred, []
        of_teacher = self._teacher.features(x, taps_of(self._methods, "teacher"))
        return y_pred, self._paired(of_teacher, of_student)

    def replace_teacher(self, model):
        """Replaces the teacher.

        Args:
            model: A built `keras.Model` whose features have the same shapes and kinds
                as those of the old teacher.

        Raises:
            ValueError: If the features differ. The old teacher is kept.
        """
        before = dict(vars(self))
        previous, self._teacher.model = self._teacher.model, model
        try:
            self._read_specs()
            self._check_like(before["shapes"], before["_sources"])
            attach_heads(self._methods, model, self.output_spec)
        except ValueError:
            self._teacher.model = previous
            vars(self).update(before)
            raise

    def _check_like(self, shapes, sources):
        """Raises `ValueError` unless the built methods can use the new features."""
        if self.shapes != shapes:
            raise ValueError(
                "The new teacher's features must have the shapes that the methods were "
                f"built for. Received: {self.shapes}, expected: {shapes}. Build a new "
                "Distiller for this teacher."
            )
        if sources is not None and self._sources[0].kinds != sources[0].kinds:
            raise ValueError(
                "The new teacher's features must be of the kinds that the methods were "
                f"built for. Received: {self._sources[0].kinds}, expected: "
                f"{sources[0].kinds}. Build a new Distiller for this teacher."
            )


class TappedFeatures:
    """Holds the kinds and channel axes of the features that a model's taps give.

    Args:
        model: The `keras.Model`.
        specs: Dict from tap to the `KerasTensor` that it gives, or to a dictionary
            of them.

    Attributes:
        kinds: Dict from tap to the kind of its feature (see `kinds.kind_of`), or to a
            dictionary of kinds.
    """

    def __init__(self, model, specs):
        def by_tap(function):
            return {
                tap: _each(lambda spec, tap=tap: function(model, tap, spec.shape), spec)
                for tap, spec in specs.items()
            }

        self.kinds = by_tap(kind_of)
        self._axes = by_tap(channel_axis_of)

    def channels_last(self, features):
        """Returns tapped features with their channels on the last axis."""
        return {
            tap: _each(channels_last, feature, self._axes[tap])
            for tap, feature in features.items()
        }


def _each(function, *features):
    """Applies a function to features, or to each entry of dictionaries of features."""
    if isinstance(features[0], dict):
        return {
            name: function(*(feature[name] for feature in features))
            for name in features[0]
        }
    return function(*features)


def shape_of(feature):
    """Returns the shape of a feature, or a dict of the shapes of a pyramid's levels."""
    if isinstance(feature, dict):
        return {level: tuple(tensor.shape) for level, tensor in feature.items()}
    return tuple(feature.shape)


def _check_taps(models, methods):
    findings = Findings()
    for whose, model in models.items():
        for tap in taps_of(methods, whose):
            if tap and not tap.startswith(":"):
                with findings.collecting():
                    find_layer(model, tap)
    findings.raise_errors()


def _check_single_features(method, teacher, student, of_teacher, of_student):
    """Raises `ValueError` if a tap gives a pyramid that the method does not accept.

    Args:
        method: The method.
        teacher: The teacher.
        student: The student.
        of_teacher: Dict from the teacher's taps to their features.
        of_student: Dict from the student's taps to their features.
    """
    if method.takes_pyramid:
        return
    for model, whose, features in (
        (teacher, "teacher", of_teacher),
        (student, "student", of_student),
    ):
        for tap in taps_of([method], whose):
            check_is_tensor(model, tap, features[tap])


def _gather(tap, features, convert):
    if isinstance(tap, (list, tuple)):
        return [convert(features[name]) for name in tap]
    return convert(features[tap])
