"""Collects tensors of the student in a forward pass, to compute gradients there."""

import keras

from keras_diffkd.features.pairs import taps_of
from keras_diffkd.features.paths import split_tap
from keras_diffkd.keras_private.layers import mask_of, set_mask


class TappedTensors:
    """Collects tensors of the student in a forward pass, to compute gradients there.

    A tapped tensor is part of the network. A branch is a copy for one method: a
    gradient with respect to it does not include other uses of the tensor.

    Args:
        offsets: Optional list of tensors of zeros that are added to the collected
            tensors, in their order. A gradient with respect to an offset is one with
            respect to the tensor, for backends that differentiate functions.

    Attributes:
        tensors: List of all collected tensors of floats.
    """

    def __init__(self, offsets=None):
        self.tensors = []
        self._offsets = offsets
        self._tapped = {}
        self._branches = {}

    def tap(self, path, outputs):
        """Collects the output of a tapped layer.

        Args:
            path: The layer's path, empty for the model's output.
            outputs: Structure of tensors.

        Returns:
            The structure that the next layers take.
        """
        outputs, self._tapped[path] = self._collect(outputs, lambda tensor: tensor)
        return outputs

    def branch(self, method, features):
        """Collects a copy of the features that a method compares.

        Args:
            method: The method.
            features: Structure of tensors.

        Returns:
            The copy.
        """
        features, self._branches[method.name] = self._collect(features, keras.ops.copy)
        return features

    def _collect(self, structure, copy):
        """Returns the structure with collected tensors, and that of their indices."""
        indices = keras.tree.map_structure(
            lambda tensor: self._add(tensor, copy), structure
        )
        collected = keras.tree.map_structure(
            lambda tensor, i: tensor if i < 0 else self.tensors[i], structure, indices
        )
        return collected, indices

    def _add(self, tensor, copy):
        """Adds a tensor to the list and returns its index, or -1 unless it is float."""
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if not keras.backend.is_float_dtype(dtype):
            return -1
        mask = mask_of(tensor)
        if self._offsets is None:
            tensor = copy(tensor)
        else:
            tensor = tensor + self._offsets[len(self.tensors)]
        if mask is not None:
            set_mask(tensor, mask)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def tapped_by(self, method):
        """Returns the positions in `tensors` of the tensors that a method taps."""
        found = set()
        for tap in taps_of([method], "student"):
            path, key = split_tap(tap)
            indices = self._tapped[path]
            found.update(keras.tree.flatten(indices[key] if key else indices))
        return sorted(found - {-1})

    def branches_of(self, method):
        """Returns the positions in `tensors` of the branches of a method."""
        return sorted({*keras.tree.flatten(self._branches[method.name])} - {-1})
