"""Builds the learning rate schedule and the optimizer that follows it."""

import keras

from . import flags, tasks
from .flag_values import changed
from .optimizers import CoupledSGD


def build_optimizer(steps_per_epoch):
    """Builds the optimizer that the flags describe.

    Args:
        steps_per_epoch: int, training steps in one epoch.

    Returns:
        A `keras.optimizers.Optimizer`.

    Raises:
        ValueError: if the learning rate is not positive, or a flag does not belong
            to the chosen schedule or lies outside the training.
    """
    learning_rate = build_schedule(steps_per_epoch)
    if flags.OPTIMIZER.value == "adamw":
        return keras.optimizers.AdamW(
            learning_rate,
            weight_decay=flags.WEIGHT_DECAY.value,
            global_clipnorm=_global_clipnorm(),
        )
    return CoupledSGD(
        learning_rate,
        momentum=flags.MOMENTUM.value,
        nesterov=flags.NESTEROV.value,
        coupled_weight_decay=flags.WEIGHT_DECAY.value,
        global_clipnorm=_global_clipnorm(),
    )


def cosine_flags(epochs, learning_rate, **others):
    """Returns a context in which the flags describe a training along a cosine.

    Args:
        epochs: int.
        learning_rate: float, at the beginning; it decreases to 0.
        **others: further flags to set, by name.
    """
    return changed(
        epochs=epochs,
        learning_rate=learning_rate,
        lr_schedule="cosine",
        milestones=[],
        warmup_epochs=0,
        **others,
    )


def _global_clipnorm():
    """Returns the norm to clip gradients to, or `None`."""
    if flags.GLOBAL_CLIPNORM.value is None:
        return tasks.current().global_clipnorm
    return flags.GLOBAL_CLIPNORM.value or None


def build_schedule(steps_per_epoch):
    """Builds the learning rate schedule that the flags describe.

    Args:
        steps_per_epoch: int, training steps in one epoch.

    Returns:
        A float, or a `keras.optimizers.schedules.LearningRateSchedule`.
    """
    kind, rate = flags.LR_SCHEDULE.value, flags.LEARNING_RATE.value
    if not rate > 0:
        raise ValueError(f"--learning_rate must be positive. Received: {rate}")
    if flags.MILESTONES.value and kind != "step":
        raise ValueError(f"--milestones needs --lr_schedule=step, not {kind}")
    if flags.WARMUP_EPOCHS.value and kind != "cosine":
        raise ValueError(
            f"--warmup_epochs needs --lr_schedule=cosine. Received: {kind}"
        )
    if kind == "step":
        return _steps(rate, steps_per_epoch)
    if kind == "cosine":
        return _cosine(rate, steps_per_epoch)
    if kind == "polynomial":
        return keras.optimizers.schedules.PolynomialDecay(
            rate, flags.EPOCHS.value * steps_per_epoch, end_learning_rate=0.0, power=0.9
        )
    return rate


def _steps(rate, steps_per_epoch):
    milestones = _milestones()
    rates = [rate * flags.LR_DECAY.value**i for i in range(len(milestones) + 1)]
    # PiecewiseConstantDecay keeps a value up to and including its boundary.
    boundaries = [epoch * steps_per_epoch - 1 for epoch in milestones]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def _milestones():
    received = ",".join(flags.MILESTONES.value)
    try:
        milestones = [int(epoch) for epoch in flags.MILESTONES.value]
    except ValueError:
        milestones = []
    if not milestones or milestones[0] < 1 or milestones != sorted(set(milestones)):
        raise ValueError(
            "--lr_schedule=step needs --milestones: epochs in rising order, such as "
            f"150,180,210. Received: {received!r}"
        )
    return milestones


def _cosine(rate, steps_per_epoch):
    warmup, epochs = flags.WARMUP_EPOCHS.value, flags.EPOCHS.value
    if warmup >= epochs:
        raise ValueError(
            f"--warmup_epochs must be less than --epochs={epochs}. Received: {warmup}"
        )
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else rate,
        decay_steps=(epochs - warmup) * steps_per_epoch,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup * steps_per_epoch,
    )
