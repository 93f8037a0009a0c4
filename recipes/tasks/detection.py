"""Defines object detection."""

import keras
import numpy as np

from keras_diffkd import datasets
from keras_diffkd.export.serving.detection import NMS, PerClassSuppression
from keras_diffkd.keras_private.layers import all_layers
from keras_diffkd.metrics import coco_map, detections

from .. import flags
from .task import Evaluation, Task, evaluate, forward

# Pictures leave out boxes with lower scores.
SHOWN_SCORE = 0.5
OUTPUTS = ("bbox_regression", "cls_logits")


class Detection(Task):
    """Predicts boxes with labels; models are KerasHub detectors with their own loss."""

    name = "detection"
    tap = "backbone/fpn"
    taps = ("backbone/fpn:P3", "backbone/fpn:P4")
    gives_logits = False
    # The loss of boxes is large at first: without it, SGD's default rate diverges.
    global_clipnorm = 1.0
    vkd_normalization = "batch"
    # Balanced weights are too large for detectors: docs/choosing_a_method.md.
    distill_weight = 1.0

    def load(self, name, **settings):
        return datasets.load_detection(name, **settings)

    def check_model(self, model, spec):
        output = getattr(model, "output", None)
        if not isinstance(output, dict) or set(output) != set(OUTPUTS):
            raise ValueError(
                f"{spec} must be a detector that gives {' and '.join(OUTPUTS)}, as "
                f"KerasHub's RetinaNet does. Received: {output}. Check --task"
            )

    def prepare_student(self, student):
        if getattr(student, "bounding_box_format", None) != "xyxy":
            raise ValueError(
                f"The detector {student.name!r} must have its own loss, with boxes as "
                "'xyxy'. Received: bounding_box_format="
                f"{getattr(student, 'bounding_box_format', None)!r}. Build it with "
                "KerasHub and bounding_box_format='xyxy'"
            )
        student.compile(
            optimizer="sgd",  # Unused: the distiller has the optimizer.
            box_loss=keras.losses.Huber(reduction="sum"),
            loss_weights={
                "bbox_regression": flags.BOX_LOSS_WEIGHT.value,
                "cls_logits": 1.0,
            },
        )

    def compile_arguments(self, data):
        return {"loss": None, "metrics": None}

    def callbacks(self, data):
        return [MeanAveragePrecisionLog(self, data)]

    def evaluation(self, model, data):
        return MeanAveragePrecision(_detector(model), data.num_classes)

    def truths(self, targets):
        pairs = zip(targets["boxes"], targets["labels"], strict=True)
        return [(boxes, labels, None) for boxes, labels in pairs]

    def predictions(self, model, outputs):
        boxes, scores, classes = detections(outputs, _detector(model))
        classes = np.where(scores >= SHOWN_SCORE, classes, -1)
        return list(zip(boxes, classes, scores, strict=True))

    def draw(self, axes, prediction, data):
        boxes, classes, scores = prediction
        for index in np.flatnonzero(classes >= 0):
            text = data.label_names[classes[index]]
            if scores is not None:
                text += f" {scores[index]:.0%}"
            color = f"C{classes[index] % 10}"
            _drawn(boxes[index], text, color, axes)

    def disagreement(self, first, second):
        """Returns the share of shown boxes without a match in the other prediction."""
        (boxes, classes, _), (others, of_others, _) = map(_shown, (first, second))
        count = len(boxes) + len(others)
        if not (len(boxes) and len(others)):
            return float(count > 0)
        same = (_overlaps(boxes, others) >= 0.5) & (classes[:, None] == of_others)
        alone = np.sum(~same.any(axis=1)) + np.sum(~same.any(axis=0))
        return float(alone / count)


def _shown(prediction):
    boxes, classes, scores = prediction
    return boxes[classes >= 0], classes[classes >= 0], scores


def _overlaps(boxes, others):
    """Returns the intersection over union of every pair of two lists of boxes."""
    sizes = [np.prod(each[:, 2:] - each[:, :2], axis=-1) for each in (boxes, others)]
    pairs = boxes[:, None], others[None]
    low = np.maximum(*(each[..., :2] for each in pairs))
    high = np.minimum(*(each[..., 2:] for each in pairs))
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1)
    return shared / np.maximum(sizes[0][:, None] + sizes[1] - shared, 1e-12)


def _drawn(box, text, color, axes):
    from matplotlib.patches import Rectangle

    left, top, right, bottom = box
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, color=color)
    )
    background = {"facecolor": "black", "edgecolor": "none", "pad": 0.6}
    axes.text(left, top, text, color=color, fontsize=7, va="bottom", bbox=background)


class MeanAveragePrecision(Evaluation):
    """Measures the mAP of COCO, and the mAP at an overlap of 0.5.

    Args:
        detector: KerasHub model that decodes its outputs.
        num_classes: int.
    """

    def __init__(self, detector, num_classes):
        self.detector = detector
        self.num_classes = num_classes
        self._found, self._targets = [], []

    def update(self, outputs, targets):
        # Boxes take a thousandth of the memory of all anchors' outputs.
        self._found.append(self._detections(outputs))
        self._targets.append(targets)

    def _detections(self, outputs):
        if "boxes" not in outputs:
            return detections(outputs, self.detector)
        if "num_detections" not in outputs:
            # An artifact's own boxes are judged: int8 may spoil them alone.
            suppress = PerClassSuppression(**NMS)
            outputs = suppress([outputs["boxes"], outputs["scores"]])
            outputs = {name: np.array(output) for name, output in outputs.items()}
        return self._suppressed(outputs)

    def _suppressed(self, outputs):
        """Returns the boxes, in pixels, of an artifact that does the suppression."""
        height, width = self.detector.input_shape[1:3]
        boxes = outputs["boxes"] * np.array([width, height] * 2, "float32")
        found = np.arange(boxes.shape[1]) < outputs["num_detections"][:, None]
        return boxes, outputs["scores"], np.where(found, outputs["classes"], -1)

    def result(self):
        boxes, scores, classes = map(np.concatenate, zip(*self._found, strict=True))
        targets = keras.tree.map_structure(
            lambda *batches: np.concatenate(batches), *self._targets
        )
        return coco_map(boxes, scores, classes, targets, self.num_classes)


class MeanAveragePrecisionLog(keras.callbacks.Callback):
    """Adds `val_mAP` and `val_mAP50` of the test split to the logs of every epoch.

    Args:
        task: `Detection`.
        data: `DetectionData`.
    """

    def __init__(self, task, data):
        super().__init__()
        self.task = task
        self.data = data

    def on_train_begin(self, logs=None):
        # Traced once for all epochs. The distiller may round its student to int8.
        self._forward = forward(self.model)

    def on_epoch_end(self, epoch, logs=None):
        evaluation = self.task.evaluation(self.model.student, self.data)
        found = evaluate(self._forward, self.data, evaluation)
        logs.update({f"val_{name}": value for name, value in found.items()})


def _detector(model):
    """Returns the part of a model that knows its anchors."""
    for layer in all_layers(model):
        if hasattr(layer, "anchor_generator"):
            return layer
    raise ValueError(
        f"The model {model.name!r} has no anchors to decode its boxes with. Received: "
        f"{type(model).__name__}, expected a RetinaNetObjectDetector of KerasHub"
    )
