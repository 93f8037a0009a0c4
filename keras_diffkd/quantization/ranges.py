"""Holds the int8 ranges of a student, as a plain object and as a JSON file."""

import json
import math
import numbers
from pathlib import Path

from keras_diffkd.atomic_files import written_aside
from keras_diffkd.training.fake_quantization import STEPS

VERSION = 1


def step_of(minimum, maximum):
    """Returns the difference of two neighboring values of a range."""
    return (maximum - minimum) / STEPS


class QuantizationRanges:
    """The ranges of a student's tensors, from which int8 files are made.

    `Distiller.quantization_ranges()` returns them. They belong to one student:
    a range has the name of the layer that computes the tensor.

    Args:
        minimums_maximums: Dict from the name of each range to `(minimum, maximum)`,
            floats with `minimum <= 0 <= maximum`.
        not_simulated: List of the paths of layers that stay float.
        skip: List of the names of layers that stay float because the user said so.

    Raises:
        ValueError: If a range is not finite, or does not contain 0.

    Example:

    >>> ranges = QuantizationRanges({"image": (0.0, 1.0), "conv": (-2.0, 3.0)}, [])
    >>> ranges.minimums_maximums["conv"]
    (-2.0, 3.0)
    >>> QuantizationRanges.from_json(ranges.to_json()) == ranges
    True
    """

    def __init__(self, minimums_maximums, not_simulated=(), skip=()):
        _check(minimums_maximums)
        self.minimums_maximums = {
            name: (float(minimum), float(maximum))
            for name, (minimum, maximum) in minimums_maximums.items()
        }
        self.not_simulated = list(not_simulated)
        self.skip = list(skip)

    def __eq__(self, other):
        return (
            isinstance(other, QuantizationRanges) and self.to_json() == other.to_json()
        )

    __hash__ = None

    def __repr__(self):
        return f"QuantizationRanges of {len(self.minimums_maximums)} tensors"

    def to_json(self):
        """Returns the ranges as a dict that JSON can hold."""
        return {
            "version": VERSION,
            "ranges": {k: list(v) for k, v in self.minimums_maximums.items()},
            "not_simulated": self.not_simulated,
            "skip": self.skip,
        }

    @classmethod
    def from_json(cls, content):
        """Returns the ranges of a dict that `to_json` returned.

        Raises:
            ValueError: If the dict is not of that form.
        """
        is_dict = isinstance(content, dict)
        if not is_dict or content.get("version") != VERSION:
            received = content.get("version") if is_dict else type(content).__name__
            raise ValueError(
                f"Quantization ranges must be a dictionary of version {VERSION}. "
                f"Received: {received!r}. Write them with `QuantizationRanges.save`."
            )
        lists = [content.get(name, []) for name in ("not_simulated", "skip")]
        return cls(content.get("ranges"), *lists)

    def save(self, path):
        """Writes the ranges to a JSON file, whole or not at all."""
        with written_aside(path) as aside:
            aside.write_text(json.dumps(self.to_json(), indent=1) + "\n")

    @classmethod
    def load(cls, path):
        """Returns the ranges of a file that `save` wrote.

        Raises:
            ValueError: If the file is damaged. The message names it.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def check_sites(self, names, student):
        """Raises `ValueError` unless the ranges are those of a student.

        Args:
            names: Iterable of the names of the student's ranges.
            student: The `keras.Model`, for the message.
        """
        expected, received = set(names), set(self.minimums_maximums)
        if expected != received:
            raise ValueError(
                f"The quantization ranges belong to another student than "
                f"{student.name!r}. Missing: {_some(expected - received)}. Not known "
                f"here: {_some(received - expected)}. Use the ranges that were saved "
                "with this student."
            )


def _check(ranges):
    if not isinstance(ranges, dict) or not ranges:
        raise ValueError(
            "Quantization ranges must be a dictionary from name to (minimum, maximum), "
            f"not empty. Received: {ranges!r}"
        )
    for name, pair in ranges.items():
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not (
            is_pair
            and all(isinstance(v, numbers.Real) and math.isfinite(v) for v in pair)
            and pair[0] <= 0 <= pair[1]
        ):
            raise ValueError(
                f"The quantization range of {name!r} must be two finite numbers with "
                f"minimum <= 0 <= maximum. Received: {pair!r}. Train with "
                "`quantization=QuantizationAware()` again, or restore the file."
            )


def _some(names):
    names = sorted(names)
    if not names:
        return "nothing"
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
