"""The named tuples that travel through a training step."""

import typing


class Batch(typing.NamedTuple):
    """Holds a batch of data. `sample_weight` weights the task loss."""

    x: object
    y: object = None
    sample_weight: object = None


class StepValues(typing.NamedTuple):
    """Holds the values that a step reads instead of variables.

    Attributes:
        trainable: List of values of `distiller.trainable_variables`.
        state: List of values of `state_variables(distiller)`. It is shorter if a step
            has found more variables since.
        teacher: List of values of `distiller.record.teacher_variables`.
        loss_weights: Vector that `LossWeights.next` returned.
        seed: Integer folded into every seed generator, so that replicas with different
            integers draw different noise. 0 changes nothing.
        loss_scale: Float that multiplies the loss to differentiate.
    """

    trainable: list
    state: list
    teacher: list
    loss_weights: object
    seed: object = 0
    loss_scale: object = 1.0


class StepResults(typing.NamedTuple):
    """Holds the results of a step, except the loss to differentiate.

    Attributes:
        losses: Dict from the names in the logs to float32 scalars. `loss` is the
            weighted sum.
        y_pred: The student's outputs and their masks.
        state: New values of `state_variables(distiller)`, including the variables that
            the step found.
        features: Pairs of features that `Distiller.tapped_features` returned.
    """

    losses: dict
    y_pred: tuple
    state: list
    features: list
