"""Runs the teacher again and compares it with what is stored."""

import dataclasses

import numpy as np

from keras_diffkd.teacher_cache.outputs import TeacherOutputs

# Of the spread of an output. Half precision alone costs some 3e-4, another processor or
# TF32 a little more. Another augmentation or preprocessing costs far more.
LARGEST_ERROR = 0.05


@dataclasses.dataclass(frozen=True)
class Verification:
    """Tells how the outputs of a teacher differ from the stored ones.

    Attributes:
        count: Integer, the number of views.
        errors: Dict from `None` (the logits) and each tap to the root mean square of
            the differences, relative to the spread of the teacher's output.
        largest: Dict from the same to the largest difference.
        changed_top1: Float, the share of views with another most likely class.

    Example:

    >>> print(Verification(64, {None: 0.0002}, {None: 0.0039}, 0.0))
    64 views: 0.00% have another top class; logits: error 0.0002, at most 0.0039
    """

    count: int
    errors: dict
    largest: dict
    changed_top1: float

    def __str__(self):
        parts = [
            f"{'logits' if tap is None else tap}: error {error:.2g}, at most "
            f"{self.largest[tap]:.2g}"
            for tap, error in self.errors.items()
        ]
        changed = f"{self.changed_top1:.2%} have another top class"
        return f"{self.count} views: {changed}; {'; '.join(parts)}"


def verify(cache, teacher, views, count, preprocess=None):
    """Runs the teacher on the first views of a training.

    Args:
        cache: `TeacherCache`.
        teacher: The teacher, a `keras.Model`.
        views: `FixedViews`.
        count: Integer, the number of views. At most one of each image is run.
        preprocess: As for `CacheBuilder`.

    Returns:
        A `Verification`.

    Raises:
        ValueError: If the cache was built for something else, or an error is too large.
    """
    cache.check(teacher, views, preprocess)
    pooled = cache.manifest["contents"]["pooled"]
    outputs = TeacherOutputs(
        teacher, [tap for tap in cache.taps if tap not in pooled], pooled, preprocess
    )
    size = views.batch_size
    count = min(count, views.num_images)
    pairs = []
    batches = views.numbered_train().take(-(-count // size))
    for numbers, images, _ in batches.as_numpy_iterator():
        kept = numbers[: count - sum(len(n) for n, _ in pairs)]
        found = {tap: array[: len(kept)] for tap, array in outputs(images).items()}
        if cache.manifest["contents"]["top_k"] is not None:
            found[None] = cache.as_stored(kept, found)[None]
        pairs.append((kept, found))
    numbers = np.concatenate([kept for kept, _ in pairs])
    fresh = {tap: np.concatenate([f[tap] for _, f in pairs]) for tap in pairs[0][1]}
    result = compare(cache.read(numbers), fresh)
    wrong = {tap: e for tap, e in result.errors.items() if not e <= LARGEST_ERROR}
    if wrong:
        raise ValueError(
            f"The teacher cache {cache.folder} does not hold what this teacher "
            f"computes. Received: {result}. Expected: errors of at most "
            f"{LARGEST_ERROR} of the spread. The images, the augmentation or the "
            "preprocessing have changed: build another cache in another folder."
        )
    return result


def compare(stored, fresh):
    """Returns the `Verification` of two dicts of outputs of the same views."""
    errors, largest = {}, {}
    for tap, array in fresh.items():
        difference = stored[tap] - array
        spread = np.std(array) or 1.0
        errors[tap] = float(np.sqrt(np.mean(difference**2)) / spread)
        largest[tap] = float(np.abs(difference).max())
    changed = stored[None].argmax(-1) != fresh[None].argmax(-1)
    return Verification(len(changed), errors, largest, float(changed.mean()))
