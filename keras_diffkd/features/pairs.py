"""What methods compare: tapped features of teacher and student, in pairs."""

from keras_diffkd.features.head import attach_heads
from keras_diffkd.features.inputs import common_inputs
from keras_diffkd.features.kinds import channel_axis_of, channels_last, kind_of
from keras_diffkd.features.logits import check_logits
from keras_diffkd.features.paths import find_layer
from keras_diffkd.features.taps import call_with_taps, check_is_tensor, output_specs
from keras_diffkd.validation.findings import Findings


def taps_of(methods, whose):
    """Returns all taps of methods, in a list.

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
    """Returns what each method compares.

    Args:
        methods: List of `DistillationMethod`s.
        of_teacher: Dict from the teacher's taps to their features.
        of_student: The same of the student.
        convert: Function of a feature.

    Returns:
        List of `(teacher's, student's)`: features, or lists of them for a method that
        has several taps.
    """
    return [
        (
            _gather(method.teacher_tap, of_teacher, convert),
            _gather(method.student_tap, of_student, convert),
        )
        for method in methods
    ]


class FeaturePairs:
    """The features that every method compares: the teacher's and the student's.

    It is a plain object: Keras neither trains nor saves the models in it.

    Args:
        teacher: `FrozenTeacher`.
        student: A built `keras.Model`.
        methods: List of `DistillationMethod`s.

    Attributes:
        output_spec: The student's outputs as `KerasTensor`s.
        shapes: List of `(teacher's, student's)` shapes for every method, channels last.

    Raises:
        PreflightError: With every tap that does not exist or does not fit.
    """

    def __init__(self, teacher, student, methods):
        self._teacher = teacher
        self._student = student
        self._methods = list(methods)
        self._look()

    def _look(self):
        """Checks all taps and finds out what they will give."""
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
        """Creates the methods' layers, before the optimizer wants to know them.

        Raises:
            PreflightError: With all that a method cannot compare.
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

    def read(self, x, training=True):
        """Runs both models once.

        Args:
            x: Batch of inputs.
            training: Whether the student runs in training mode.

        Returns:
            `(y_pred, features)`: the student's outputs, and for every method the pair
            of features, or of lists of them if the method has several taps.
        """
        y_pred, of_student = call_with_taps(
            self._student, x, taps_of(self._methods, "student"), training=training
        )
        if not self._methods:
            return y_pred, []
        of_teacher = self._teacher.features(x, taps_of(self._methods, "teacher"))
        return y_pred, self._paired(of_teacher, of_student)

    def replace_teacher(self, model):
        """Takes another teacher.

        Args:
            model: A built `keras.Model` whose features are like the old one's.

        Raises:
            ValueError: If they are not. The old teacher stays then.
        """
        before = dict(vars(self))
        previous, self._teacher.model = self._teacher.model, model
        try:
            self._look()
            self._check_like(before["shapes"], before["_sources"])
            attach_heads(self._methods, model, self.output_spec)
        except ValueError:
            self._teacher.model = previous
            vars(self).update(before)
            raise

    def _check_like(self, shapes, sources):
        """Raises `ValueError` unless methods built for such features can go on."""
        if self.shapes != shapes:
            raise ValueError(
                "The new teacher must give features of the shapes that the methods "
                f"were built for. Received: {self.shapes}, expected: {shapes}"
            )
        if sources is not None and self._sources[0].kinds != sources[0].kinds:
            raise ValueError(
                "The new teacher must give features of the kinds that the methods were "
                f"built for. Received: {self._sources[0].kinds}, "
                f"expected: {sources[0].kinds}"
            )


class TappedFeatures:
    """What the layers around a model's taps tell about the features.

    Args:
        model: The `keras.Model`.
        specs: Dict from tap to the feature (or dictionary of features) that it
            gives, as `KerasTensor`s.

    Attributes:
        kinds: Dict from tap to what `feature_kinds.kind_of` returns, or to a
            dictionary of those.
    """

    def __init__(self, model, specs):
        def told(function):
            return {
                tap: _each(lambda spec, tap=tap: function(model, tap, spec.shape), spec)
                for tap, spec in specs.items()
            }

        self.kinds = told(kind_of)
        self._axes = told(channel_axis_of)

    def channels_last(self, features):
        """Returns tapped features with their channels on the last axis."""
        return {
            tap: _each(channels_last, feature, self._axes[tap])
            for tap, feature in features.items()
        }


def _each(function, *features):
    """Applies a function to features, or to every entry of dictionaries of them."""
    if isinstance(features[0], dict):
        return {
            name: function(*(feature[name] for feature in features))
            for name in features[0]
        }
    return function(*features)


def shape_of(feature):
    """Returns the shape of a feature, or of every level of a pyramid."""
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
    """Raises `ValueError` if a tap gives a pyramid to a method that takes none.

    Args:
        method: The method.
        teacher: The teacher.
        student: The student.
        of_teacher: Dict from the teacher's taps to their features.
        of_student: The same of the student.
    """
    if method.takes_pyramid:
        return
    for model, taps, features in (
        (teacher, method.teacher_tap, of_teacher),
        (student, method.student_tap, of_student),
    ):
        for tap in taps if isinstance(taps, (list, tuple)) else [taps]:
            check_is_tensor(model, tap, features[tap])


def _gather(tap, features, convert):
    if isinstance(tap, (list, tuple)):
        return [convert(features[name]) for name in tap]
    return convert(features[tap])
