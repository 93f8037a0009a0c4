"""Checks a list of methods."""

from keras_diffkd.methods.method import DistillationMethod
from keras_diffkd.validation.findings import Findings


def check_methods(methods, teacher):
    """Raises `ValueError` unless all are methods with unique names and a teacher."""
    for method in methods:
        if not isinstance(method, DistillationMethod):
            raise ValueError(
                "`methods` must be a list of keras_diffkd.DistillationMethod (or "
                "keras.distillation.DistillationLoss). "
                f"Received: {type(method).__name__}"
            )
    names = [method.name for method in methods]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            "Every method needs its own name, which prefixes its logs. Received: "
            f'{names}. Rename {repeated}, for example with `name="diffkd_logits"`.'
        )
    if methods and teacher is None:
        raise ValueError(
            f"The methods {names} need a `teacher`. Received: teacher=None. Pass the "
            "teacher model, or `methods=[]` to train the student alone."
        )


def prepare_student(student, methods):
    """Returns the student after `prepare_student` of every method.

    Raises:
        PreflightError: If methods cannot re-parameterize it; lists all problems.
    """
    findings = Findings()
    for method in methods:
        with findings.collecting():
            student = method.prepare_student(student)
    findings.raise_errors()
    return student
