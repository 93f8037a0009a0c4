"""Keeps track of channels that a model can only lose together."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Birth:
    """Records the channels that a layer makes.

    Attributes:
        path: String, the path of the layer.
        atoms: Integer array, one channel for each position of the layer's width. A
            channel repeats if it fills several positions, as a head of attention does.
    """

    path: str
    atoms: np.ndarray


class Channels:
    """Numbers the channels of a model's tensors and unites those that depend.

    A channel is an integer, an atom. United atoms leave a model together or stay
    together; fixed ones stay. It is a disjoint-set forest.

    Attributes:
        births: List of `Birth`.

    Example:

    >>> channels = Channels()
    >>> first, second = channels.new("conv1", 3), channels.new("conv2", 3)
    >>> channels.unite(first, second)
    >>> channels.roots(second).tolist()
    [0, 1, 2]
    """

    def __init__(self):
        self.births = []
        self._parents = []
        self._reasons = []

    @property
    def count(self):
        """Returns the number of atoms."""
        return len(self._parents)

    def new(self, path, count, repeats=1, tiles=1):
        """Returns an array of new atoms that a layer makes.

        Args:
            path: String, the path of the layer.
            count: Integer, the number of atoms.
            repeats: Integer, the neighboring positions that each atom fills.
            tiles: Integer, how often the whole row repeats.
        """
        atoms = np.arange(len(self._parents), len(self._parents) + count)
        self._parents += atoms.tolist()
        self._reasons += [None] * count
        atoms = np.tile(np.repeat(atoms, repeats), tiles)
        self.births.append(Birth(path, atoms))
        return atoms

    def fixed(self, reason):
        """Returns a new atom that stays in the model.

        Args:
            reason: String that says why.
        """
        self._parents.append(len(self._parents))
        self._reasons.append(reason)
        return self._parents[-1]

    def roots(self, atoms):
        """Returns the representatives of atoms: equal ones for united atoms."""
        unique, places = np.unique(atoms, return_inverse=True)
        roots = np.array([self._root(atom) for atom in unique.tolist()], int)
        return roots[places].reshape(np.shape(atoms))

    def unite(self, first, second):
        """Unites atoms elementwise. The arrays broadcast."""
        pairs = np.stack(np.broadcast_arrays(first, second)).reshape(2, -1)
        for one, other in np.unique(pairs, axis=1).T.tolist():
            low, high = sorted((self._root(one), self._root(other)))
            if low != high:
                self._parents[high] = low
                self._reasons[low] = self._reasons[low] or self._reasons[high]

    def fix(self, atoms, reason):
        """Makes atoms stay in the model.

        Args:
            atoms: Integer array.
            reason: String that says why. The first reason counts.
        """
        for atom in np.unique(atoms).tolist():
            root = self._root(atom)
            self._reasons[root] = self._reasons[root] or reason

    def reason(self, atom):
        """Returns why an atom stays, or `None` if it can be removed."""
        return self._reasons[self._root(int(atom))]

    def all_fixed(self, atoms):
        """Returns whether all these atoms stay."""
        return all(self.reason(atom) for atom in np.unique(atoms))

    def _root(self, atom):
        while self._parents[atom] != atom:
            self._parents[atom] = self._parents[self._parents[atom]]
            atom = self._parents[atom]
        return atom
