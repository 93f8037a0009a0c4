"""Finds the targets of the output that a method compares."""

import keras

from keras_diffkd.training.task import task_outputs


def method_targets(distiller, method, y, y_pred, feature):
    """Returns the targets for a method.

    Args:
        distiller: The `Distiller`.
        method: One of its methods.
        y: Batch of targets, or `None`.
        y_pred: The student's outputs.
        feature: Feature that the student's tap of the method gives.

    Returns:
        The targets of one output, for a method that needs labels and compares this
        output or a feature before the only one. Otherwise all targets, as given.
    """
    needs_labels = method.needs_targets or method.needs_teacher_head
    if not needs_labels or not keras.tree.is_nested(y):
        return y
    outputs, _ = compared_outputs(distiller, y_pred, feature)
    return outputs[0].of(y) if outputs else y


def compared_outputs(distiller, y_pred, feature):
    """Returns the outputs to which a feature belongs, and whether it is an output.

    Args:
        distiller: The `Distiller`.
        y_pred: The student's outputs.
        feature: Feature of the student.

    Returns:
        `(outputs, is_output)`: a list of `TaskOutput`s and a boolean.
    """
    outputs = task_outputs(distiller)
    own = [output for output in outputs if output.of(y_pred) is feature]
    if own:
        return own, True
    # A feature may come before the only output, such as logits before a softmax.
    return (outputs if len(outputs) == 1 else []), False
