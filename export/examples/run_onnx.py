"""Runs an ONNX student on one image, with nothing but NumPy and onnxruntime.

    pip install numpy onnxruntime
    python run_onnx.py student.onnx image.npy

The image is a uint8 array (height, width, channels) of the student's size, as
`numpy.save` writes it. Labels and normalisation are read from the file itself.
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
    if taken.type != "tensor(uint8)":  # Else the graph normalises.
        image = normalize(image, json.loads(metadata.get("normalization", "null")))
    names = [output.name for output in session.get_outputs()]
    arrays = [array[0] for array in session.run(names, {taken.name: image[None]})]
    print_result(dict(zip(names, arrays, strict=True)), labels, size)


def read_image(file, shape):
    """Returns the pixels of an image of that shape."""
    image = np.load(file, allow_pickle=False)
    if image.dtype != np.uint8 or list(image.shape) != list(shape):
        sys.exit(f"Expected uint8 {list(shape)}, received {image.dtype} {image.shape}")
    return image


def normalize(image, how):
    """Returns what the student was trained on."""
    if not how or how.get("input_range", [0, 255]) != [0, 255]:
        sys.exit(f"The file does not say how to normalise pixels. Received: {how}")
    return ((image / 255 - how["mean"]) / how["std"]).astype("float32")


def print_result(outputs, labels, size):
    """Prints what the outputs say of one image of this (height, width)."""
    labels = dict(enumerate(labels or []))
    if "boxes" in outputs:
        for box, score, k in find_objects(**outputs):
            box = np.round(box * [*size[::-1], *size[::-1]], 1).tolist()
            print(f"{score:.4f} {labels.get(k, k)} left, top, right, bottom: {box}")
        return
    if len(outputs) != 1:
        sys.exit(f"No classifier, segmenter or detector: it gives {list(outputs)}")
    (logits,) = outputs.values()
    if logits.shape[-1] == 1:  # A single logit is that of the second of two classes.
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    if logits.ndim == 3:
        pixels = np.bincount(logits.argmax(-1).ravel())
        for k in np.flatnonzero(pixels).tolist():
            print(f"{pixels[k] / pixels.sum():.4f} {labels.get(k, k)}")
        return
    powers = np.exp(logits - logits.max())
    for k in np.argsort(-logits, kind="stable")[:3].tolist():
        print(f"{powers[k] / powers.sum():.4f} {labels.get(k, k)}")


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
