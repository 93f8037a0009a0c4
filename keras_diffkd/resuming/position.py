"""Describes the position of a training."""

import typing


class Position(typing.NamedTuple):
    """Describes the progress of a training.

    Attributes:
        epoch: Integer, the current epoch, from 0.
        step_in_epoch: Integer, the number of completed steps in that epoch.
        step: Integer, the number of completed steps in total.
    """

    epoch: int
    step_in_epoch: int
    step: int


def position_of(snapshot):
    """Returns the `Position` of a snapshot, or the start if it is `None`."""
    if snapshot is None:
        return Position(0, 0, 0)
    return Position(**{name: snapshot.state[name] for name in Position._fields})
