"""Which architectures `shrink` understands, and how exactly.

    python benchmarks/shrunk_architectures.py

Every model has new weights, with scales, biases and statistics that make a difference,
and is shrunk to half its width. The difference is the largest one over all outputs of
all layers between the small model and the teacher without the dropped channels,
relative to the largest value of that output. The table goes to the terminal and into
docs/shrinking.md.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_hub
import numpy as np
from absl import app, flags
from masked_teacher import largest_difference, randomized
from report import describe_machine, markdown_table, write_section

from keras_diffkd.models import build_model
from keras_diffkd.pruning.shrinkable import Shrinkable

flags.DEFINE_string("output", "docs/shrinking.md", "File to write the table into.")
flags.DEFINE_list("models", [], "Which models; unset: all, and write the table.")

TITLE = "Architectures"
ZOO = {
    "digits_teacher": (8, 8, 1),
    "fashion_teacher": (28, 28, 1),
    "resnet20": (32, 32, 3),
    "resnet8x4": (32, 32, 3),
    "wrn_16_2": (32, 32, 3),
    "resnet18": (64, 64, 3),
    "resnet50": (64, 64, 3),
    "mobilenet_v1": (64, 64, 3),
    "retinanet_scenes_teacher": (64, 64, 3),
    "retinanet_resnet18": (64, 64, 3),
    "deeplabv3_scenes_teacher": (64, 64, 3),
    "deeplabv3_resnet18": (64, 64, 3),
}
# Names, and sizes of the images where 64 pixels are too few.
APPLICATIONS = {
    "VGG16": 64,
    "ResNet50": 64,
    "ResNet50V2": 64,
    "InceptionV3": 75,
    "Xception": 71,
    "DenseNet121": 64,
    "NASNetMobile": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "ConvNeXtTiny": 64,
}


def application(name):
    """Returns a model of `keras.applications` for ten classes."""
    return getattr(keras.applications, name)(
        weights=None,
        input_shape=(APPLICATIONS[name],) * 2 + (3,),
        classes=10,
        classifier_activation=None,
    )


def hub_resnet():
    """Returns a ResNet of KerasHub with bottleneck blocks."""
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[2, 2],
        stackwise_num_strides=[1, 2],
        block_type="bottleneck_block",
        image_shape=(64, 64, 3),
    )
    return keras_hub.models.ResNetImageClassifier(backbone, num_classes=10)


def hub_vit():
    """Returns a small ViT of KerasHub."""
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=2,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
    )
    return keras_hub.models.ViTImageClassifier(backbone, num_classes=10)


MODELS = {
    **{
        name: lambda n=name, s=shape: build_model(n, s, 10)
        for name, shape in ZOO.items()
    },
    **{f"applications:{name}": lambda n=name: application(n) for name in APPLICATIONS},
    "KerasHub ResNet": hub_resnet,
    "KerasHub ViT": hub_vit,
}


def row_of(name):
    """Returns the cells of a model: parameters and multiply-adds before and after."""
    keras.utils.set_random_seed(0)
    teacher = randomized(MODELS[name]())
    try:
        source = Shrinkable(teacher)
        student, report = source.student(0.5)
    except ValueError as error:
        print(error)
        return [name, "", "", "not possible, see above"]
    rng = np.random.default_rng(0)
    # Models that rescale their images expect pixels up to 255.
    scale = 60 if "applications" in name else 1
    image = scale * rng.normal(size=(2, *teacher.input_shape[1:])).astype("float32")
    difference = largest_difference(source.graph, student, report, [image])
    millions = [f"{count / 1e6:.2f}" for count in report.multiply_adds]
    return [
        name,
        " to ".join(f"{count:,}" for count in report.parameters),
        " to ".join(millions),
        f"{difference:.1e}",
    ]


def main(argv):
    """Shrinks the models and writes the table."""
    del argv
    names = flags.FLAGS.models or list(MODELS)
    rows = []
    for name in names:
        rows.append(row_of(name))
        print(rows[-1], flush=True)
    header = ["model", "parameters", "millions of multiply-adds", "largest difference"]
    text = (
        "Half the width. Largest difference: between the small model and the teacher "
        "with the removed channels masked out, over all outputs of all layers, "
        "relative to the largest value of each. New weights, 64 pixels (8, 28 or 32 "
        f"for small models).\n\n{markdown_table(header, rows)}\n\n"
        f"{describe_machine()}; `python benchmarks/shrunk_architectures.py`."
    )
    print(text)
    if not flags.FLAGS.models:
        write_section(flags.FLAGS.output, TITLE, text)


if __name__ == "__main__":
    app.run(main)
