"""Finds the channels that compete to stay, and selects them."""

import collections
import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Group:
    """Holds channels of the same layers, of which a share stays.

    Attributes:
        paths: Tuple of strings, the layers that make the channels.
        atoms: Integer array, the roots of the channels.
        repeats: Integer, the positions that each channel fills in a layer.
    """

    paths: tuple
    atoms: np.ndarray
    repeats: int

    def count(self, width, divisor):
        """Returns how many channels stay.

        Args:
            width: Float in (0, 1].
            divisor: Integer. The number of positions is a multiple of it, if the layer
                has that many, and at least one channel stays.
        """
        total = len(self.atoms)
        if width == 1:
            return total
        step = divisor // math.gcd(divisor, self.repeats)
        wanted = step * math.floor(width * total / step + 0.5)
        return min(total, max(wanted, step, 1))


def channel_groups(channels):
    """Returns the `Group`s of channels that can be removed.

    Channels compete if exactly the same layers make them. So each layer keeps the same
    share of each of its parts, as after a concatenation that is added to.

    Args:
        channels: `Channels`.
    """
    makers = collections.defaultdict(dict)
    for birth in channels.births:
        roots, counts = np.unique(channels.roots(birth.atoms), return_counts=True)
        for root, count in zip(roots.tolist(), counts.tolist(), strict=True):
            if channels.reason(root) is None:
                paths = makers[root]
                paths[birth.path] = max(count, paths.get(birth.path, 0))
    groups = collections.defaultdict(list)
    for root, paths in makers.items():
        groups[tuple(paths)].append((root, max(paths.values())))
    return [
        Group(paths, np.sort([root for root, _ in members]), members[0][1])
        for paths, members in groups.items()
    ]


def fixed_layers(graph):
    """Returns a dict from the layers that keep their whole width to the reasons.

    Args:
        graph: `ChannelGraph`.
    """
    channels, found = graph.channels, dict(graph.unknown)
    for birth in channels.births:
        reasons = [channels.reason(root) for root in np.unique(birth.atoms)]
        if all(reasons):
            found.setdefault(birth.path, reasons[0])
    return found


def selected(graph, groups, scores, width, divisor):
    """Returns a boolean array: which atoms stay.

    Args:
        graph: `ChannelGraph`.
        groups: List of `Group`.
        scores: List of float arrays, a score for each channel of each group.
        width: Float in (0, 1].
        divisor: Integer, see `Group.count`.
    """
    channels = graph.channels
    stays = np.ones(channels.count, bool)
    for group, score in zip(groups, scores, strict=True):
        worst = np.argsort(-score, kind="stable")[group.count(width, divisor) :]
        stays[group.atoms[worst]] = False
    return stays[channels.roots(np.arange(channels.count))]
