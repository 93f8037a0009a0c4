"""Runs all checks before the first step of a training."""

import inspect

import keras

from keras_diffkd.preflight import (
    detection,
    inputs,
    methods,
    outputs,
    sample_weights,
    scaling,
    settings,
    targets,
)
from keras_diffkd.preflight.batches import look_at
from keras_diffkd.training import task
from keras_diffkd.training.fit_watch import listed
from keras_diffkd.validation.findings import Findings

FIT = inspect.signature(keras.Model.fit)


def check_fit(distiller, x=None, y=None, *args, replay=False, memory=None, **kwargs):
    """Checks a distiller and the arguments of `fit` without changing anything.

    Args:
        distiller: A compiled `Distiller`.
        x: Data, as for `fit`.
        y: Targets, as for `fit`.
        *args: Further arguments of `fit`.
        replay: Boolean, whether to read the first batch of a generator. Train on the
            returned data in that case.
        memory: `CheckedData` that remembers data which need not be read again. The
            data that is read is added to it.
        **kwargs: Further arguments of `fit`.

    Returns:
        `(findings, x)`: the `Findings` and the data to train on. That is `x` itself, or
        for a generator another one that starts with the batch that was read.
    """
    bound = FIT.bind(distiller, x, y, *args, **kwargs)
    bound.apply_defaults()
    arguments = bound.arguments
    findings = Findings()
    check_configuration(findings, distiller, arguments)
    names = ("x", "y", "sample_weight", "validation_data")
    data = [arguments[name] for name in names]
    if memory is not None and memory.holds(*data):
        settings.check_fit_arguments(findings, None, arguments)
        return findings, x
    look, x = look_at(
        x,
        y,
        arguments["sample_weight"],
        batch_size=arguments["batch_size"],
        shuffle=arguments["shuffle"],
        replay=replay,
    )
    findings.look = look
    settings.check_fit_arguments(findings, look, arguments)
    if look is not None:
        check_data(findings, distiller, look, arguments)
    if memory is not None and not findings.errors:
        memory.keep(*data)
    return findings, x


def check_configuration(findings, distiller, arguments):
    """Adds problems that do not depend on the data."""
    with findings.collecting():
        distiller.frozen_teacher.check_weights()
    task.check_structure(findings, distiller)
    settings.check_weights(findings, distiller)
    settings.check_trainable(findings, distiller)
    callbacks = listed(arguments["callbacks"])
    settings.check_learning_rate(findings, distiller.optimizer, callbacks)


def check_data(findings, distiller, look, arguments):
    """Adds problems with the data, then problems with the models' outputs for it."""
    task_outputs = task.task_outputs(distiller)
    learns_from_labels = look.has_targets or distiller.learns_from_labels()
    fits = inputs.check_inputs(findings, look, distiller.student)
    if not look.chunks or inputs.is_one_sample(look, distiller.student):
        return  # The checks of the targets would report the same problem again.
    knows_labels = targets.check_targets(
        findings, look, task_outputs if learns_from_labels else []
    )
    sample_weights.check_weights(
        findings, look, arguments["class_weight"], task_outputs
    )
    detection.check_boxes(findings, look, distiller)
    if distiller.methods and not look.has_targets:
        for method in distiller.methods:
            if method.needs_targets and not (task_outputs and learns_from_labels):
                findings.error(
                    f"Method {method.name!r} needs the labels. Received: y=None. Pass "
                    "`y`, or a data set of `(x, y)`."
                )
    settings.check_batch_norm(findings, distiller, look)
    check_validation(findings, distiller, look, arguments, task_outputs)
    if not fits:
        return
    scaling.check_scaling(
        findings,
        look,
        distiller.teacher if distiller.methods else None,
        distiller.student,
        has_preprocess=distiller.frozen_teacher.preprocess is not None,
    )
    knows_labels = knows_labels and learns_from_labels
    if knows_labels:
        if arguments["class_weight"] is None:  # With it, rare classes are expected.
            targets.check_spread(findings, look, task_outputs)
        settings.check_labels_in_order(findings, look, arguments, task_outputs)
        methods.check_softmax(findings, distiller, look, task_outputs)
    check_models(findings, distiller, look, task_outputs if knows_labels else [])


def check_models(findings, distiller, look, task_outputs):
    """Adds problems with the outputs of both models on the first samples."""
    of_teacher, of_student = outputs.run_models(distiller, look)
    outputs.check_finite(findings, of_teacher, "teacher")
    outputs.check_finite(findings, of_student, "student")
    if findings.errors:
        return
    methods.check_taps(findings, distiller, look)
    for output in task_outputs:
        outputs.check_activation(findings, output, distiller.student, of_student)
        outputs.check_teacher(findings, output, look, of_teacher)


def check_validation(findings, distiller, look, arguments, task_outputs):
    """Adds problems with the validation data."""
    data = arguments["validation_data"]
    if data is None:
        return
    if isinstance(data, (list, tuple)):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(tuple(data))
    else:
        x, y, weight = data, None, None
    seen, _ = look_at(x, y, weight, batch_size=arguments["validation_batch_size"])
    if seen is None:
        return
    if inputs.check_inputs(findings, seen, distiller.student, "validation data"):
        scaling.check_same_range(findings, look, seen)
    if seen.chunks:
        targets.check_targets(findings, seen, task_outputs, "validation data")
        detection.check_boxes(findings, seen, distiller, "validation data")
