"""The position of a training."""

import typing


class Position(typing.NamedTuple):
    """How far a training is.

    Attributes:
        epoch: Integer, the epoch that it is in, from 0.
        step_in_epoch: Integer, steps of that epoch that are done.
        step: Integer, all steps that are done.
    """

    epoch: int
    step_in_epoch: int
    step: int


def position_of(snapshot):
    """Returns the `Position` at which a snapshot was taken; all 0 if it is `None`."""
    if snapshot is None:
        return Position(0, 0, 0)
    return Position(**{name: snapshot.state[name] for name in Position._fields})
