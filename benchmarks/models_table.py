"""Writes the table of models that `--list_models` prints, and docs/models.md.

Run it from the root of the repository: `python benchmarks/models_table.py`. It builds
all models, which takes two minutes.
"""

import math
import re
from pathlib import Path

import keras
import tensorflow as tf

from keras_diffkd.export.records.table import align_columns
from keras_diffkd.features.specs import list_taps
from keras_diffkd.models import load_model
from keras_diffkd.models.zoo import CLASSIFIERS, DETECTORS, SEGMENTERS, ZOO

ROOT = Path(__file__).parents[1]
TEXT = ROOT / "recipes" / "entry_points" / "models.txt"
PAGE = ROOT / "docs" / "models.md"
START, END = "<!-- table: python benchmarks/models_table.py -->", "<!-- end -->"
COLUMNS = ["model", "image", "classes", "parameters", "multiply-adds", "taps"]
APPLICATIONS = (
    "MobileNetV3Small",
    "MobileNetV2",
    "MobileNetV3Large",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "DenseNet121",
    "ResNet50",
    "ConvNeXtTiny",
)
# The image and the classes of the data set that a model is for.
MADE_FOR = {
    r"digits_": ((8, 8, 1), 10),
    r"fashion_": ((28, 28, 1), 10),
    r".*_scenes_": ((64, 64, 3), 10),
    r"(retinanet|deeplabv3)_": ((512, 512, 3), 21),
    r"(resnet(18|34|50)|mobilenet_v1)$|applications:": ((224, 224, 3), 1000),
    r"resnet|wrn": ((32, 32, 3), 100),
}
SPECS = (*ZOO, *(f"applications:{name}" for name in APPLICATIONS))


def row(spec):
    """Returns the row of a model, a list of strings.

    Args:
        spec: String, as in `models.load_model`.
    """
    shape, classes = next(
        found for start, found in MADE_FOR.items() if re.match(start, spec)
    )
    task = "detection" if spec in DETECTORS else "classification"
    model = load_model(spec, input_shape=shape, num_classes=classes, task=task)
    return [
        spec,
        "x".join(map(str, shape)),
        str(classes),
        f"{model.count_params():,}",
        format_count(multiply_adds(model, shape)),
        ", ".join(taps(spec, model)),
    ]


def taps(spec, model):
    """Returns the taps that feature methods usually read."""
    if spec in DETECTORS:
        return ["backbone/fpn"]
    if spec in SEGMENTERS:
        return ["backbone/spatial_pyramid_pooling"]
    found = list_taps(model)
    if spec in CLASSIFIERS:
        return [tap for tap in found if re.fullmatch(r"stage\d+|features", tap)]
    maps = [
        tap
        for tap, shape in found.items()
        # Keras numbers layers without a name by what was built before.
        if len(shape) == 4 and shape[1] != 1 and not re.match("activation", tap)
    ]
    return maps[-1:]


def multiply_adds(model, shape):
    """Returns the multiply-adds of convolutions and dense layers for one image.

    Args:
        model: A `keras.Model`.
        shape: `(height, width, channels)`.
    """
    call = tf.function(lambda x: model(x, training=False), autograph=False)
    graph = call.get_concrete_function(tf.TensorSpec((1, *shape))).graph
    return _of_graph(graph)


def _of_graph(graph):
    return sum(_of_operation(operation) for operation in graph.get_operations())


def _of_operation(op):
    if "PartitionedCall" in op.type:  # Such as a convolution in groups.
        return _of_graph(op.graph._get_function(op.get_attr("f").name).graph)
    if op.type in ("Conv2D", "DepthwiseConv2dNative"):
        kernel, positions = op.inputs[1].shape, op.outputs[0].shape[1:-1]
        return math.prod(kernel) * math.prod(positions)
    if op.type in ("MatMul", "BatchMatMulV2"):
        return math.prod(op.outputs[0].shape) * op.inputs[0].shape[-1]
    return 0


def format_count(count):
    """Returns a count with three digits: `"41.0 M"`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:#.3g}".rstrip(".") + f" {unit}"
    return str(count)


def main():
    """Writes both files."""
    rows = []
    for spec in SPECS:
        keras.backend.clear_session()
        rows.append(row(spec))
        print(rows[-1], flush=True)
    TEXT.write_text(align_columns(COLUMNS, rows) + "\n", encoding="utf-8")
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([f"`{r[0]}`", *r[1:]] for r in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
