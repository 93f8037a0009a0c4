"""What methods compare: tapped features of teacher and student, in pairs."""

from keras_diffkd import checks
from keras_diffkd.preflight import Findings
from keras_diffkd.taps import find_layer, output_specs


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
        `(outputs, shapes)`: the student's outputs as `KerasTensor`s, and of every
        method the pair of shapes.

    Raises:
        PreflightError: With every tap that does not exist or does not fit.
    """
    teacher = frozen.model
    inputs = checks.common_inputs(teacher, student, frozen.preprocess)
    _check_taps({"student": student, "teacher": teacher}, methods)
    student_outputs, of_student = output_specs(
        student, inputs, taps_of(methods, "student")
    )
    if not methods:
        return student_outputs, []
    teacher_outputs, of_teacher = frozen.specs(inputs, taps_of(methods, "teacher"))
    findings = Findings()
    for method in methods:
        with findings.collecting():
            checks.check_single_features(
                method, teacher, student, of_teacher, of_student
            )
            checks.check_logits(
                method, teacher, student, teacher_outputs, student_outputs
            )
    findings.raise_errors()
    return student_outputs, pair_up(methods, of_teacher, of_student, shape_of)


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


def _gather(tap, features, convert):
    if isinstance(tap, (list, tuple)):
        return [convert(features[name]) for name in tap]
    return convert(features[tap])
