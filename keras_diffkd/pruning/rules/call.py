"""Defines what a rule receives and returns."""

import dataclasses

from keras_diffkd.pruning.labels import along, fixed_labels


@dataclasses.dataclass
class Call:
    """Describes one call of a layer or operation in the graph of a model.

    Attributes:
        operation: The `keras.Layer` or `keras.Operation`.
        path: String, its path in the model.
        tensors: List of the input tensors in the graph.
        inputs: List of their labels.
        output_shapes: List of the shapes of the output tensors.
        arguments: `(args, kwargs)` of the call, with `KerasTensor` inputs.
        channels: `Channels`.
    """

    operation: object
    path: str
    tensors: list
    inputs: list
    output_shapes: list
    arguments: tuple
    channels: object

    @property
    def shapes(self):
        """Returns the shapes of the input tensors."""
        return [tensor.shape for tensor in self.tensors]

    @property
    def rank(self):
        """Returns the rank of the first output."""
        return len(self.output_shapes[0])

    def along(self, axis, index=0):
        """Returns the atoms along an axis of an input, or `None` if another has some.

        Args:
            axis: Integer.
            index: Integer, which input.
        """
        return along(self.inputs[index], axis, self.shapes[index])

    def labels_of(self, tensor):
        """Returns the labels of an input tensor."""
        place = next(i for i, each in enumerate(self.tensors) if each is tensor)
        return self.inputs[place]

    def keep(self, reason):
        """Fixes all channels of the inputs, and returns a `Change` with fixed outputs.

        Args:
            reason: String that says why.
        """
        for labels in self.inputs:
            self.channels.fix(labels, reason)
        return Change(
            [
                fixed_labels(self.channels, len(shape), reason)
                for shape in self.output_shapes
            ]
        )


@dataclasses.dataclass
class Change:
    """Says how a layer changes if channels are removed.

    Attributes:
        outputs: List of the labels of the output tensors.
        weights: Dict from the ends of the paths of the layer's weights (`"kernel"`) to
            dicts from axes to the atoms along them.
        config: Dict from names in the layer's configuration to new values: an array
            of atoms stands for the number of them that stay, also in tuples.
        uses: Dict from the ends of paths of weights to the number of times that a call
            multiplies each element for one sample.
        products: List of `(factor, atoms)`: other products of a call for one sample,
            `factor` for each atom that stays.
    """

    outputs: list
    weights: dict = dataclasses.field(default_factory=dict)
    config: dict = dataclasses.field(default_factory=dict)
    uses: dict = dataclasses.field(default_factory=dict)
    products: list = dataclasses.field(default_factory=list)
