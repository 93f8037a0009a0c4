"""Says what a smaller model kept."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ShrinkReport:
    """Describes a model that `shrink` made.

    Attributes:
        width: Float, the share of channels that was kept.
        parameters: `(before, after)`.
        multiply_adds: `(before, after)`, of kernels and attention for one sample.
        kept: Dict from paths of layers to integer arrays, the output channels of the
            teacher that each output channel of the student comes from. A path with
            `" (heads)"` lists the heads of an attention layer, for each position; one
            with `" (call 2)"` those of a call that keeps others than the first.
        left: Dict from the paths of layers that kept their whole width to the reasons.

    Example:

    >>> print(ShrinkReport(0.5, (100, 30), (90, 24), {}, {"fc": "an output"}))
    width 0.5: parameters 100 -> 30, multiply-adds 90 -> 24
    at full width: fc (an output)
    """

    width: float
    parameters: tuple
    multiply_adds: tuple
    kept: dict
    left: dict

    def __str__(self):
        before, after = self.parameters
        lines = [
            f"width {self.width:g}: parameters {before:,} -> {after:,}, multiply-adds "
            f"{self.multiply_adds[0]:,} -> {self.multiply_adds[1]:,}"
        ]
        if self.left:
            names = [f"{path} ({reason})" for path, reason in self.left.items()]
            lines.append(f"at full width: {', '.join(names)}")
        return "\n".join(lines)
