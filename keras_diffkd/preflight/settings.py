"""Checks on everything that is no data: weights, learning rate, arguments of `fit`."""

import keras
import numpy as np

from keras_diffkd.validation.arguments import is_schedule

# Share of the validation labels whose classes training has not: sorted labels.
UNSEEN = 0.2


def check_weights(findings, distiller):
    """Adds what is wrong with the weights of the losses."""
    task = distiller.task_loss_weight
    weights = {"task_loss_weight": task}
    for method in distiller.methods:
        for name, weight in method.loss_weights.items():
            weights[f"weight of {method.name}/{name}"] = weight
    for name, weight in weights.items():
        if not is_schedule(weight) and (not _is_number(weight) or weight < 0):
            findings.error(
                f"The {name} must be a finite number of at least 0. "
                f"Received: {weight!r}"
            )
    of_methods = list(weights.values())[1:]
    if all(weight == 0 for weight in weights.values()):
        findings.error(
            "All losses have weight 0: nothing would be trained. Received: "
            f"{weights}. Give the task loss or a method a positive weight."
        )
    elif of_methods and not any(of_methods):
        findings.warn(
            "All losses of the methods have weight 0: the teacher teaches nothing. "
            f"Received: {weights}."
        )


def check_trainable(findings, distiller):
    """Adds a problem if the student has nothing to train."""
    if not distiller.student.trainable_variables:
        findings.error(
            f"The student {distiller.student.name!r} has no trainable weights: it "
            "would stay as it is. Received: 0 trainable of "
            f"{len(distiller.student.variables)} variables. Set "
            "`student.trainable = True` before it is given to Distiller."
        )


def check_learning_rate(findings, optimizer, callbacks):
    """Adds what is wrong with the learning rate of the first step.

    Args:
        findings: `Findings`.
        optimizer: The compiled optimizer.
        callbacks: What `fit` was given; one of them may set the rate.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = optimizer.learning_rate
    if isinstance(
        optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule
    ):
        rate, follows = optimizer._learning_rate(0), True
    else:
        # Keras's own, but for those that set the rate, leave it as it is.
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
            f"{rate}. Choose another in `compile`."
        )
    elif rate == 0 and not follows:
        findings.warn(
            "The learning rate is 0: nothing will be learned. Received: "
            f"{type(optimizer).__name__} with learning_rate=0."
        )


def check_fit_arguments(findings, look, arguments):
    """Adds what is wrong with the numbers that `fit` is given.

    Args:
        findings: `Findings`.
        look: `Look` at the data, or `None`.
        arguments: Dict of the arguments of `fit`.
    """
    for name, least in (("batch_size", 1), ("epochs", 1), ("steps_per_epoch", 1)):
        value = arguments[name]
        if value is not None and not _is_integer(value, least):
            findings.error(
                f"`{name}` must be an integer of at least {least}. Received: "
                f"{name}={value!r}"
            )
    split = arguments["validation_split"]
    if not _is_number(split) or not 0 <= split < 1:
        findings.error(
            "`validation_split` must lie in 0 to 1, 1 excluded. Received: "
            f"validation_split={split!r}"
        )
    epochs, first = arguments["epochs"], arguments["initial_epoch"]
    if _is_integer(epochs, 1) and _is_integer(first, 1) and first >= epochs:
        findings.warn(
            f"Nothing will be trained: `epochs` is the last epoch, not their number. "
            f"Received: epochs={epochs}, initial_epoch={first}."
        )
    if arguments["class_weight"] is not None and (
        look is not None and look.sample_weight is not None
    ):
        findings.error(
            "Give `class_weight` or `sample_weight`, not both. Received: both. "
            "Multiply them into `sample_weight`."
        )


def check_batch_norm(findings, distiller, look):
    """Adds a warning for batch normalisation over a batch of one sample."""
    if look.batch_size != 1:
        return
    for model in (distiller.student, *distiller.methods):
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
                findings.warn(
                    "A training step has one sample, and batch normalisation takes "
                    f"its statistics over the batch. Received: batch size 1 with "
                    f"{layer.name!r} in {model.name!r}. Use a larger batch, or freeze "
                    "the normalisation layers."
                )
                return


def check_labels_in_order(findings, look, arguments, outputs):
    """Adds a warning if `validation_split` cuts off classes of sorted labels."""
    split = arguments["validation_split"]
    y = look.y
    if not (_is_number(split) and 0 < split < 1) or not isinstance(y, np.ndarray):
        return
    if len(outputs) != 1 or outputs[0].kind != "sparse" or y.ndim > 2:
        return
    labels = y.reshape(-1)
    cut = int(len(labels) * (1 - split))
    unseen = sorted(set(labels[cut:].tolist()) - set(labels[:cut].tolist()))
    # A few samples of a rare class may all be there by chance.
    if unseen and cut and np.isin(labels[cut:], unseen).mean() > UNSEEN:
        findings.warn(
            "`validation_split` takes the last samples, and they have classes that "
            f"training has not. Received: {unseen[:10]} in the last "
            f"{len(labels) - cut} labels alone. Shuffle the arrays first, or pass "
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
