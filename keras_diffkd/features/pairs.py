"""What methods compare: tapped features of teacher and student, in pairs."""

from keras_diffkd.features.inputs import common_inputs
from keras_diffkd.features.kinds import channel_axis_of, channels_last, kind_of
from keras_diffkd.features.logits import check_logits
from keras_diffkd.features.taps import check_is_tensor, find_layer, output_specs
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


def pair_specs(frozen, student, methods):
    """Checks the taps of all methods, and tells what they will give.

    Args:
        frozen: `FrozenTeacher`.
        student: A built `keras.Model`.
        methods: List of `DistillationMethod`s.

    Returns:
        `(outputs, shapes, tapped)`: the student's outputs as `KerasTensor`s, of every
        method the pair of shapes, channels last, and the pair of `TappedFeatures`, the
        teacher's and the student's.

    Raises:
        PreflightError: With every tap that does not exist or does not fit.
    """
    teacher = frozen.model
    inputs = common_inputs(teacher, student, frozen.preprocess)
    _check_taps({"student": student, "teacher": teacher}, methods)
    student_outputs, of_student = output_specs(
        student, inputs, taps_of(methods, "student")
    )
    if not methods:
        return student_outputs, [], None
    teacher_outputs, of_teacher = frozen.specs(inputs, taps_of(methods, "teacher"))
    findings = Findings()
    for method in methods:
        with findings.collecting():
            _check_single_features(method, teacher, student, of_teacher, of_student)
            check_logits(method, teacher, student, teacher_outputs, student_outputs)
    findings.raise_errors()
    tapped = TappedFeatures(teacher, of_teacher), TappedFeatures(student, of_student)
    shapes = pair_up(
        methods,
        tapped[0].channels_last(of_teacher),
        tapped[1].channels_last(of_student),
        shape_of,
    )
    return student_outputs, shapes, tapped


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


def check_same_kinds(tapped, expected):
    """Raises `ValueError` if a new teacher's features are of another kind.

    Args:
        tapped: Pair of `TappedFeatures` with the new teacher, or `None`.
        expected: The same with the old one.
    """
    if tapped is not None and tapped[0].kinds != expected[0].kinds:
        raise ValueError(
            "The new teacher must give features of the kinds that the methods were "
            f"built for. Received: {tapped[0].kinds}, expected: {expected[0].kinds}"
        )


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
