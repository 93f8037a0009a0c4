"""Inputs and outputs of a student or of a file: names, shapes and dtypes."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One input or output, as a file has it and the manifest describes it.

    Attributes:
        name: str.
        shape: list of int, or None for an axis of any size. The first is the batch.
        dtype: str.
        quantization: dict of `scale` and `zero_point` of integers that stand for
            floats, or None.

    Example:

    ```python
    TensorInfo("image", [None, 8, 8, 1], "float32")
    ```
    """

    name: str
    shape: list
    dtype: str
    quantization: dict | None = None

    @classmethod
    def of(cls, spec, batch_size=None):
        """Describes a `tf.TensorSpec` for a batch size; None is any."""
        return cls(spec.name, [batch_size, *spec.shape[1:]], spec.dtype.name)

    @classmethod
    def from_json(cls, content):
        """Reads what `to_json` gave.

        Raises:
            ValueError: if it describes no tensor.
        """
        try:
            name, shape, dtype = (content[key] for key in ("name", "shape", "dtype"))
            return cls(name, list(shape), dtype, content.get("quantization"))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                "Expected a dict with name, shape and dtype of a tensor. "
                f"Received: {content!r}"
            ) from error

    def to_json(self):
        """Returns a dict for the manifest, with `quantization` where there is any."""
        content = {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}
        if self.quantization is not None:
            content["quantization"] = self.quantization
        return content

    def __str__(self):
        scales = f" {self.quantization}" if self.quantization is not None else ""
        return f"{self.name} {self.shape} {self.dtype}{scales}"


def describe(specs, batch_size=None):
    """Returns a `TensorInfo` of each tensor.

    Args:
        specs: list of `tf.TensorSpec`.
        batch_size: int, or None for any.

    Example:

    ```python
    describe(serving.inputs, 1)[0].shape  # [1, 8, 8, 1]
    ```
    """
    return [TensorInfo.of(spec, batch_size) for spec in specs]
