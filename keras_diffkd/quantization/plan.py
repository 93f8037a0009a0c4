"""Describes where a student is quantized."""

import dataclasses


@dataclasses.dataclass(eq=False)
class Site:
    """Describes a range that one tensor, or several tensors together, have.

    Attributes:
        name: Path of the layer that computes the tensor.
        count: Integer, how many tensors of a forward pass have the range.
        fixed: `(minimum, maximum)` that runtimes prescribe, or `None`.
        is_positive: Boolean, whether all values are known to be at least 0.
    """

    name: str
    count: int = 1
    fixed: tuple = None
    is_positive: bool = False


@dataclasses.dataclass(eq=False)
class PlannedCall:
    """Says how one call of a layer or operation is simulated.

    Attributes:
        operation: `keras.Layer` or `keras.Operation`.
        path: Its path in the model.
        kernels: Dict from the names of its kernels to the axes that do not tell output
            channels apart.
        entries: Dict from the positions of input tensors to the `Site`s with which
            they are quantized first.
        input: `Site` of its first input, or `None`.
        middle: `Site` of the tensor between the kernels of a separable convolution, or
            `None`.
        before_activation: `Site` of the tensor before the layer's activation function,
            or `None` if that is part of the kernel.
        output: `Site` of its result, or `None`.
        normalization: The batch normalization that is folded into it, or `None`.
        is_folded: Boolean, whether it is a batch normalization that is folded.
        is_float: Boolean, whether it is not simulated.
        is_read_outside: Boolean, whether code outside of layers reads its result.
    """

    operation: object
    path: str
    kernels: dict = dataclasses.field(default_factory=dict)
    entries: dict = dataclasses.field(default_factory=dict)
    input: Site = None
    middle: Site = None
    before_activation: Site = None
    output: Site = None
    normalization: object = None
    is_folded: bool = False
    is_float: bool = False
    is_read_outside: bool = False


@dataclasses.dataclass(frozen=True)
class QuantizationPlan:
    """Says how a student is simulated.

    Attributes:
        calls: Dict from ids of layers and operations to the list of their
            `PlannedCall`s, in the order in which they run.
        operations: List of these layers and operations.
        sites: Dict from name to `Site`.
        not_simulated: List of the paths of layers and operations that stay float.
    """

    calls: dict
    operations: list
    sites: dict
    not_simulated: list
