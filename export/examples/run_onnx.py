"""Runs an ONNX student on one image, with nothing but NumPy and onnxruntime.

    pip install numpy onnxruntime
    python run_onnx.py student.onnx image.npy

The image is a uint8 array (height, width, channels) of the student's size, as
`numpy.save` writes it. Labels and normalization are read from the file itself.
Prints the top labels and their probabilities, of a segmenter the share of the pixels
that each class has, of a detector the objects with a score above 0.5.
"""

import json
import sys

import numpy as np
import onnxruntime


def main(model_file, image_file):
    """Reads the file and the image, runs the one on the other and prints."""
    session = onnxruntime.InferenceSession(
        model_file, providers=["CPUExecutionProvider"]
    )
    metadata = session.get_modelmeta().custom_metadata_map  # JSON by key.
    labels = json.loads(metadata.get("labels", "null"))
    taken = session.get_inputs()[0]
    image = read_image(image_file, taken.shape[1:])
    size = image.shape[:2]
    if taken.type != "tensor(uint8)":  # Else the graph normalizes.
        image = normalize(image, json.loads(metadata.get("normalization", "null")))
    names = [output.name for output in session.get_outputs()]
    arrays = [array[0] for array in session.run(names, {taken.name: image[None]})]
    predictions = json.loads(metadata.get("predictions", "null"))
    outputs = dict(zip(names, arrays, strict=True))
    print_result(outputs, labels, size, predictions)


def read_image(file, shape):
    """Returns the pixels of an image of that shape."""
    image = np.load(file, allow_pickle=False)
    fits = len(image.shape) == len(shape) and all(
        isinstance(size, str) or size == found  # A name stands for any size.
        for size, found in zip(shape, image.shape, strict=True)
    )
    if image.dtype != np.uint8 or not fits:
        sys.exit(f"Expected uint8 {list(shape)}, received {image.dtype} {image.shape}")
    return image


def normalize(image, how):
    """Returns an image with the normalization of the training."""
    if not how or how.get("input_range", [0, 255]) != [0, 255]:
        sys.exit(f"The file does not say how to normalize pixels. Received: {how}")
    return ((image / 255 - how["mean"]) / how["std"]).astype("float32")


def print_result(outputs, labels, size, predictions=None):
    """Prints what the outputs say of one image of this (height, width)."""
    labels = dict(enumerate(labels or []))
    if "boxes" in outputs:
        for box, score, k in find_objects(**outputs):
            box = np.round(box * [*size[::-1], *size[::-1]], 1).tolist()
            print(f"{score:.4f} {labels.get(k, k)} left, top, right, bottom: {box}")
        return
    if len(outputs) != 1:
        sys.exit(f"Not a classifier, segmenter or detector: it returns {list(outputs)}")
    ((name, values),) = outputs.items()
    is_class = values.dtype.kind in "iu"  # Not a score of each.
    if not is_class:
        probabilities = find_probabilities(values, (predictions or {}).get(name, {}))
        if values.shape[-1] == 1 and len(labels) == 1:
            labels = {0: f"not {labels[0]}", 1: labels[0]}
    if is_class or values.ndim == 3:
        classes = values if is_class else probabilities.argmax(-1)
        pixels = np.bincount(classes.ravel())
        for k in np.flatnonzero(pixels).tolist():
            print(f"{pixels[k] / pixels.sum():.4f} {labels.get(k, k)}")
        return
    for k in np.argsort(-probabilities, kind="stable")[:3].tolist():
        print(f"{probabilities[k]:.4f} {labels.get(k, k)}")


def find_probabilities(values, how):
    """Returns those of all classes; one unit is the second of two."""
    is_one = values.shape[-1] == 1
    if not how.get("is_probability"):
        values = values.astype("float64")
        if is_one or how.get("kind") == "threshold":
            values = 1 / (1 + np.exp(-values))
        else:
            powers = np.exp(values - values.max(axis=-1, keepdims=True))
            values = powers / powers.sum(axis=-1, keepdims=True)
    return np.concatenate([1 - values, values], axis=-1) if is_one else values


def find_objects(boxes, scores, classes=None, threshold=0.5, **_):
    """Returns (box, score, class) of each object, best first."""
    if classes is not None:  # The graph has suppressed, and sorted.
        found = range(np.count_nonzero(scores > threshold))
        return [(boxes[i], scores[i], int(classes[i])) for i in found]
    found, kept = map(tuple, np.argwhere(scores > threshold).tolist()), []
    for i, k in sorted(found, key=lambda at: -scores[at]):
        if all(k != other or iou(boxes[i], box) <= 0.5 for box, _, other in kept):
            kept.append((boxes[i], scores[i, k], k))
    return kept


def iou(a, b):
    """Returns the intersection of two boxes over their union."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = np.prod(np.maximum(sides, 0))
    return both / max(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both, 1e-9)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
