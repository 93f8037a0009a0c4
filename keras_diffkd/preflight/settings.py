"""Checks loss weights, the learning rate and the arguments of `fit`."""

import keras
import numpy as np

from keras_diffkd.keras_private.layers import all_layers
from keras_diffkd.keras_private.trainer import learning_rate
from keras_diffkd.validation.arguments import is_balanced, is_schedule

# Share of validation labels with classes missing in training that implies sorting.
UNSEEN = 0.2


def check_weights(findings, distiller):
    """Adds problems with the weights of the losses."""
    task = distiller.task_loss_weight
    weights = {"task_loss_weight": task}
    for method in distiller.methods:
        for name, weight in method.loss_weights.items():
            weights[f"weight of {method.name}/{name}"] = weight
    for name, weight in weights.items():
        if is_balanced(weight):
            continue
        if not is_schedule(weight) and (not _is_number(weight) or weight < 0):
            findings.error(
                f"The {name} must be a finite number of at least 0. "
                f"Received: {weight!r}"
            )
    if task == 0 and any(map(is_balanced, weights.values())):
        findings.error(
            'The weight "balanced" compares the gradient of a method\'s loss with that '
            "of the task loss, whose weight is 0. Received: "
            f"{weights}. Set a positive `task_loss_weight`, or numbers as weights of "
            "the methods' losses."
        )
    of_methods = list(weights.values())[1:]
    if all(weight == 0 for weight in weights.values()):
        findings.error(
            "All losses have weight 0: nothing would be trained. Received: "
            f"{weights}. Set a positive weight for the task loss or a method."
        )
    elif of_methods and not any(of_methods):
        findings.warn(
            "All losses of the methods have weight 0: the teacher has no effect. "
            f"Received: {weights}. Set a positive weight for a method, or pass no "
            "methods."
        )


def check_trainable(findings, distiller):
    """Adds a problem if the student has nothing to train."""
    student = distiller.student
    if student.trainable_variables:
        return
    received = f"Received: 0 trainable of {len(student.variables)} variables. "
    if distiller.trainable_variables:
        findings.warn(
            f"The student {student.name!r} has no trainable weights: only layers of "
            f"the methods are trained. {received}Set `distiller.student.trainable = "
            "True` and compile again to train the student."
        )
    else:
        findings.error(
            f"The student {student.name!r} has no trainable weights, so training would "
            f"not change it. {received}Set `student.trainable = True` before you pass "
            "it to Distiller."
        )


def check_learning_rate(findings, optimizer, callbacks):
    """Adds problems with the learning rate of the first step.

    Args:
        findings: `Findings`.
        optimizer: The compiled optimizer.
        callbacks: List of the callbacks of `fit`, which may set the learning rate.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = optimizer.learning_rate
    given = learning_rate(optimizer)
    if is_schedule(given):
        rate, follows = given(0), True
    else:
        # Of Keras's own callbacks, only these change the learning rate.
        follows = any(
            not type(c).__module__.startswith("keras.")
            or "Learning" in type(c).__name__
            or isinstance(c, keras.callbacks.LambdaCallback)
            for c in callbacks
        )
    rate = float(keras.ops.convert_to_numpy(rate))
    if not np.isfinite(rate) or rate < 0:
        findings.error(
            "The learning rate must be a finite number of at least 0. Received: "
            f"{rate}. Set another learning rate in `compile`."
        )
    elif rate == 0 and not follows:
        findings.warn(
            "The learning rate is 0: nothing will be learned. Received: "
            f"{type(optimizer).__name__} with learning_rate=0. Set a positive one in "
            "`compile`."
        )


def check_fit_arguments(findings, look, arguments):
    """Adds problems with the numbers that are passed to `fit`.

    Args:
        findings: `Findings`.
        look: `Look` at the data, or `None`.
        arguments: Dict of the arguments of `fit`.
    """
    for name, least in (("batch_size", 1), ("epochs", 0), ("steps_per_epoch", 1)):
        value = arguments[name]
        if value is not None and not _is_integer(value, least):
            findings.error(
                f"`{name}` must be an integer of at least {least}. Received: "
                f"{name}={value!r}"
            )
    split = arguments["validation_split"]
    if not _is_number(split) or not 0 <= split < 1:
        findings.error(
            "`validation_split` must be at least 0 and below 1. Received: "
            f"validation_split={split!r}"
        )
    epochs, first = arguments["epochs"], arguments["initial_epoch"]
    if _is_integer(epochs, 0) and _is_integer(first, 0) and first >= epochs:
        findings.warn(
            "Nothing will be trained: `epochs` is the number of the last epoch, so it "
            f"must be larger than `initial_epoch`. Received: epochs={epochs}, "
            f"initial_epoch={first}."
        )
    if arguments["class_weight"] is not None and (
        look is not None and look.sample_weight is not None
    ):
        findings.error(
            "Pass `class_weight` or `sample_weight`, not both. Received: both. "
            "Multiply the class weights into `sample_weight`."
        )


def check_batch_norm(findings, distiller, look):
    """Adds a warning if batch normalization trains on batches of one sample."""
    if look.batch_size != 1:
        return
    for model in (distiller.student, *distiller.methods):
        for layer in all_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
                findings.warn(
                    "Batch normalization needs more than one sample, because it "
                    "computes statistics over the batch. Received: batch size 1 with "
                    f"{layer.name!r} in {model.name!r}. Use a larger batch, or freeze "
                    "the normalization layers."
                )
                return


def check_labels_in_order(findings, look, arguments, outputs):
    """Adds a warning if labels are sorted and `validation_split` separates classes."""
    split = arguments["validation_split"]
    y = look.y
    if not (_is_number(split) and 0 < split < 1) or not isinstance(y, np.ndarray):
        return
    if len(outputs) != 1 or outputs[0].kind != "sparse" or y.ndim > 2:
        return
    labels = y.reshape(-1)
    cut = int(len(labels) * (1 - split))
    unseen = sorted(set(labels[cut:].tolist()) - set(labels[:cut].tolist()))
    # All samples of a rare class may be at the end by chance.
    if unseen and cut and np.isin(labels[cut:], unseen).mean() > UNSEEN:
        findings.warn(
            "`validation_split` takes the last samples, which have classes that are "
            f"missing in training. Received: {unseen[:10]} only in the last "
            f"{len(labels) - cut} labels. Shuffle the arrays first, or pass "
            "`validation_data`."
        )


def _is_number(value):
    return (
        isinstance(value, (int, float, np.number))
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )


def _is_integer(value, least):
    return (
        isinstance(value, (int, np.integer))
        and not isinstance(value, bool)
        and value >= least
    )
