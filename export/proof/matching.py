"""Matches detections of an artifact with the Keras student's, in any order.

Rounding may swap two detections of almost the same score, and now and then decide
anew which of two boxes is suppressed. So detections are compared with the nearest of
the same class, not with the one in the same place.
"""

import numpy as np


def match(outputs, reference, tolerance):
    """Finds the detections of one list in another.

    Two are the same if they have the same class, and a box and a score that differ by
    at most `tolerance`.

    Args:
        outputs: dict of arrays as `decoded` gives with `nms`.
        reference: the same from the student.
        tolerance: float.

    Returns:
        `(differences, share)`: array of the largest difference of each detection that
        was found, and the share of detections that were found, 0 to 1.

    Example:

    ```python
    match(detections, detections, 1e-4)  # (zeros, 1.0)
    ```
    """
    differences, num_found, num_all = [], 0, 0
    for index in range(len(reference["num_detections"])):
        distances = _distances(_of_image(outputs, index), _of_image(reference, index))
        num_all += sum(distances.shape)
        if distances.size == 0:
            continue
        nearest = distances.min(axis=0)
        found = nearest <= tolerance
        differences.append(nearest[found])
        # Both ways, to notice lost detections and added ones.
        num_found += min(found.sum(), (distances.min(axis=1) <= tolerance).sum())
    differences = np.concatenate([np.zeros(0), *differences])
    return differences, 2 * float(num_found) / num_all if num_all else 1.0


def _of_image(outputs, index):
    count = outputs["num_detections"][index]
    values = np.concatenate(
        [outputs["boxes"][index], outputs["scores"][index][:, None]], axis=-1
    )
    return values[:count].astype("float64"), outputs["classes"][index][:count]


def _distances(detections, others):
    """Returns how far each is from each other, infinite between two classes."""
    (values, classes), (other_values, other_classes) = detections, others
    distances = np.abs(values[:, None] - other_values[None]).max(axis=-1)
    same = classes[:, None] == other_classes[None]
    return np.where(same, distances, np.inf)
