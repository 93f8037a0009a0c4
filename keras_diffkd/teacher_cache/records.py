"""Turns a teacher's outputs into records of fixed size, and back."""

import numpy as np

DTYPES = ("float16", "float32")
# The largest number of a view that fits into a record.
MAX_VIEWS = 2**32


class RecordLayout:
    """Describes the record of a view.

    A record holds the number of the view, 4 bytes, which with the seed of the manifest
    is the seed of the augmentation; then the logits; then each tapped feature. With
    `top_k`, it holds the largest logits and their classes. Their offset is such that
    the probability of the other classes, spread evenly, has the logit 0: as methods
    compare probabilities, nothing else need be stored. Source: Shen & Xing, "A fast
    knowledge distillation framework for visual recognition" (arXiv 2112.01528).

    Args:
        classes: Integer, the number of logits.
        dtype: `"float16"` or `"float32"`.
        top_k: Integer, the number of logits to store. `None` stands for all.
        features: Dict from tap to the shape of its feature, without the batch axis.
        positions: Tuple, the height and width of the map of logits of a segmenter. A
            classifier has none.

    Attributes:
        dtype: The NumPy dtype of a record.
        shapes: Dict from `None` (the logits) and each tap to the shape of an output.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> RecordLayout(classes=1000, top_k=100).dtype.itemsize
    404
    >>> layout = RecordLayout(classes=2)
    >>> records = layout.encode([7], {None: np.array([[1.5, -2.0]])})
    >>> layout.decode(records, [7])[None]
    array([[ 1.5, -2. ]], dtype=float32)
    """

    def __init__(
        self, classes, dtype="float16", top_k=None, features=None, positions=()
    ):
        if dtype not in DTYPES:
            raise ValueError(f"`dtype` must be one of {DTYPES}. Received: {dtype!r}.")
        if top_k is not None and not (isinstance(top_k, int) and 0 < top_k < classes):
            raise ValueError(
                f"`top_k` must be an integer in 1 to {classes - 1}: the teacher has "
                f"{classes} classes. Received: {top_k!r}. Leave it out to store all."
            )
        self.shapes = {None: (*positions, classes), **(features or {})}
        self._top_k = top_k
        self._limits = np.finfo(dtype)
        number = ("number", "<u4")
        if top_k is None:
            logits = [("logits", _code(dtype), self.shapes[None])]
        else:
            kind = "<u2" if classes <= 2**16 else "<u4"
            shape = (*positions, top_k)
            logits = [("classes", kind, shape), ("top", _code(dtype), shape)]
        taps = [
            (f"tap {tap}", _code(dtype), tuple(shape))
            for tap, shape in self.shapes.items()
            if tap is not None
        ]
        self.dtype = np.dtype([number, *logits, *taps])

    @classmethod
    def of(cls, contents):
        """Returns the layout that the part `contents` of a manifest describes."""
        return cls(
            contents["classes"],
            contents["dtype"],
            contents["top_k"],
            {tap: tuple(shape) for tap, shape in contents["features"].items()},
            # Not in caches of classifiers that are older than those of segmenters.
            tuple(contents.get("positions", ())),
        )

    def encode(self, numbers, outputs):
        """Returns the records of a batch, as a list of `bytes`.

        Args:
            numbers: Integers, the numbers of the views.
            outputs: Dict with the keys of `shapes`: arrays with a batch axis.

        Raises:
            ValueError: If a value is not finite, or too large for the dtype.
        """
        records = np.zeros(len(numbers), self.dtype)
        records["number"] = numbers
        for tap, array in outputs.items():
            if tap is not None:
                array = self._checked(f"feature {tap!r}", array, numbers)
                records[f"tap {tap}"] = array
        logits = outputs[None]
        if self._top_k is None:
            records["logits"] = self._checked("logits", logits, numbers)
        else:
            records["classes"], top = _largest(logits, self._top_k)
            records["top"] = self._checked("logits", top, numbers)
        return [record.tobytes() for record in records]

    def decode(self, records, numbers, taps=None):
        """Returns a dict from tap to the float32 array of a batch.

        Args:
            records: List of `bytes`.
            numbers: Integers, the numbers that the records must have.
            taps: Iterable of the keys of `shapes` to return. Defaults to all.

        Raises:
            ValueError: If the records are not those of the views.
        """
        if {len(record) for record in records} - {self.dtype.itemsize}:
            raise ValueError("A record does not have the size that the manifest tells.")
        found = np.frombuffer(b"".join(records), self.dtype)
        if not np.array_equal(found["number"], numbers):
            raise ValueError("A record is not that of the view that it stands for.")
        wanted = self.shapes if taps is None else taps
        return {tap: self._decoded(found, tap) for tap in wanted}

    def _decoded(self, records, tap):
        if tap is not None:
            return records[f"tap {tap}"].astype("float32")
        if self._top_k is None:
            return records["logits"].astype("float32")
        logits = np.zeros((len(records), *self.shapes[None]), "float32")
        np.put_along_axis(logits, records["classes"].astype(int), records["top"], -1)
        return logits

    def _checked(self, what, array, numbers):
        fine = np.isfinite(array) & (np.abs(array) <= self._limits.max)
        if fine.all():
            return array
        index = int(np.argmin(fine.reshape(len(array), -1).all(axis=1)))
        raise ValueError(
            f"The teacher's {what} must be finite, and at most {self._limits.max:g} in "
            f"{self._limits.dtype.name}. Received: {_worst(array[index])} for the view "
            f"{numbers[index]}. Check the teacher on this image, or store float32."
        )


def _code(dtype):
    return np.dtype(dtype).newbyteorder("<")


def _worst(values):
    broken = values[~np.isfinite(values)]
    return broken.flat[0] if broken.size else values.flat[np.abs(values).argmax()]


def _largest(logits, k):
    """Returns the classes of the largest logits, and these relative to the others."""
    logits = np.asarray(logits, "float64")
    order = np.argsort(-logits, axis=-1, kind="stable")
    top, others = (
        np.take_along_axis(logits, part, -1) for part in np.split(order, [k], -1)
    )
    highest = others[..., :1]
    spread = highest + np.log(np.mean(np.exp(others - highest), axis=-1, keepdims=True))
    return order[..., :k], top - spread
