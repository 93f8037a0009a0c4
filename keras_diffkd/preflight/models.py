"""Checks the arguments of a `Distiller`."""

from keras_diffkd.methods.checks import check_methods
from keras_diffkd.validation.arguments import check_weight
from keras_diffkd.validation.findings import Findings
from keras_diffkd.validation.models import (
    check_model,
    check_nothing_shared,
    check_student,
)


def check_arguments(teacher, student, methods, task_loss_weight, teacher_preprocess):
    """Raises `PreflightError` with all problems in the arguments of a `Distiller`."""
    findings = Findings()
    with findings.collecting():
        check_methods(methods, teacher)
    with findings.collecting():
        check_student(student)
    with findings.collecting():
        check_weight("task_loss_weight", task_loss_weight)
    if teacher is not None:
        with findings.collecting():
            check_model(teacher, "teacher")
    if teacher_preprocess is not None and not callable(teacher_preprocess):
        findings.error(
            "`teacher_preprocess` must be None or a callable that takes the batch of "
            f"inputs. Received: {teacher_preprocess!r}"
        )
    findings.raise_errors()
    if teacher is not None:
        check_nothing_shared(teacher, student)
