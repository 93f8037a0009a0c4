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
        offsets: List of zeros for `TappedTensors`, or `None`.
    """

    trainable: list
    state: list
    teacher: list
    loss_weights: object
    seed: object = 0
    loss_scale: object = 1.0
    offsets: object = None


class StepResults(typing.NamedTuple):
    """Holds the results of a step, except the loss to differentiate.

    Attributes:
        losses: Dict from the names in the logs to float32 scalars. `loss` is the
            weighted sum.
        y_pred: The student's outputs and their masks.
        state: New values of `state_variables(distiller)`, including the variables that
            the step found.
        features: Pairs of features that `Distiller.tapped_features` returned.
        balanced: `BalancedLosses`, or `None` if no weight is balanced.
        squared_norms: Tensor that `loss_balance.with_gradient_norms` added, or `None`.
    """

    losses: dict
    y_pred: tuple
    state: list
    features: list
    balanced: object = None
    squared_norms: object = None


class BalancedLosses(typing.NamedTuple):
    """Describes the losses whose gradients determine the weights of matching losses.

    Attributes:
        is_measuring: Boolean scalar, whether this step measures gradients.
        scalars: List of scaled losses to differentiate beside the total: the weighted
            task loss, then the matching losses of methods with several losses.
        tensors: List of the tensors of `TappedTensors`.
        matching: List of `MatchingLoss`.
    """

    is_measuring: object
    scalars: list
    tensors: list
    matching: list


class MatchingLoss(typing.NamedTuple):
    """Describes a loss whose weight is balanced.

    Attributes:
        tapped: Indices of the tensors in the student's network that it compares.
        branches: Indices of the copies that its method gets.
        weight: Its weight in the total loss, a scalar.
        index: Index among the scalars to differentiate, or `None` if the gradient of
            the total loss with respect to the branches is that of this loss alone.
    """

    tapped: list
    branches: list
    weight: object
    index: object
