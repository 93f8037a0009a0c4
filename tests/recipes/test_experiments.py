import types

import keras
import keras_hub
import pytest

from keras_diffkd.features.specs import output_specs
from keras_diffkd.models import with_preprocessing
from keras_diffkd.recipes import distill, flags
from keras_diffkd.recipes.command_line import EXPERIMENTS, parse_flags
from keras_diffkd.recipes.methods import build_methods
from keras_diffkd.recipes.networks import build_network
from keras_diffkd.recipes.training import build_distiller

FILES = sorted(EXPERIMENTS.glob("*.flags"))
# The published images are larger; the networks take any size.
IMAGE_SHAPES = {
    "digits": (8, 8, 1),
    "fashion_mnist": (28, 28, 1),
    "cifar100": (32, 32, 3),
    "imagenet2012": (64, 64, 3),
    "digit_scenes": (64, 64, 3),
    "coco/2017": (128, 128, 3),
    "cityscapes": (64, 128, 3),
}
NUM_CLASSES = {"digits": 10, "fashion_mnist": 10, "cifar100": 100, "imagenet2012": 1000}
NUM_CLASSES |= {"coco/2017": 80, "cityscapes": 19}
# Presets, which only the network has.
PRESETS = ["imagenet_swin_large_swin_tiny"]


def test_the_experiments_are_there():
    assert [file.stem for file in FILES] == [
        "cifar100_resnet56_resnet20",
        "cifar100_wrn40_2_wrn40_1",
        "cityscapes_deeplabv3_resnet101_resnet18",
        "coco_retinanet_resnet101_resnet50",
        "digit_scenes_deeplabv3",
        "digit_scenes_retinanet",
        "digits",
        "digits_few",
        "fashion_mnist",
        "imagenet_resnet34_resnet18",
        "imagenet_resnet50_mobilenet",
        *PRESETS,
    ]


def test_those_of_papers_keep_the_weights_of_the_papers(parse):
    names = ("cifar100", "cityscapes", "coco", "imagenet")
    files = [file for file in FILES if file.stem.startswith(names)]
    assert len(files) == 7
    for file in files:
        parse(f"--flagfile={file}")
        assert flags.DISTILL_WEIGHT.value == 1.0


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_experiment_opens_with_what_a_reader_wants_to_know(file):
    text = "".join(
        line for line in file.read_text().splitlines(True) if line.startswith("#")
    )
    for heading in ("Commands", "Settings:", "Aims at:", "Run by us:"):
        assert f"# {heading}" in text
    for command in ("diffkd-train-teacher", "diffkd-distill", "diffkd-evaluate"):
        assert command in text
    assert file.read_text().startswith("# ")


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if file.stem not in PRESETS],
    ids=lambda file: file.stem,
)
def test_an_experiment_builds(parse, file):
    parse_flags("diffkd-distill", distill.main, ["test", f"--flagfile={file}"])
    dataset = flags.DATASET.value
    classes = {"detection": 10, "segmentation": 11}.get(flags.TASK.value)
    data = types.SimpleNamespace(
        image_shape=IMAGE_SHAPES[dataset],
        num_classes=NUM_CLASSES.get(dataset, classes),
        steps_per_epoch=10,
        num_unlabeled_examples=0,
        ignore_label=255 if dataset == "cityscapes" else None,
    )
    teacher = build_network(flags.TEACHER.value, data)
    student = build_network(flags.STUDENT.value, data)
    assert student.count_params() < teacher.count_params()

    methods = build_methods(flags.METHOD.value)
    distiller = build_distiller(student, data, teacher, methods)

    rate = distiller.optimizer.learning_rate
    assert float(keras.ops.convert_to_numpy(rate)) == pytest.approx(
        flags.LEARNING_RATE.value
    )
    names = {method.name for method in distiller.methods}
    assert "diffkd_features" in names
    if flags.TASK.value == "classification":
        of_logits = "kd" if file.stem == "digits_few" else "diffkd_logits"
        assert names == {"diffkd_features", of_logits}
    assert all(method.built for method in distiller.methods)
    assert all(int(epoch) < flags.EPOCHS.value for epoch in flags.MILESTONES.value)


def test_the_taps_of_the_swin_experiment_exist(parse):
    """With small models of the class, under the names that the presets have."""
    file = EXPERIMENTS / "imagenet_swin_large_swin_tiny.flags"
    parse_flags("diffkd-distill", distill.main, ["test", f"--flagfile={file}"])
    colors = {"mean": [0.5] * 3, "std": [0.5] * 3}
    teacher = with_preprocessing(small_swin(16), lambda pixels: pixels, colors)
    student = small_swin(8)
    [features, logits] = build_methods(flags.METHOD.value)
    assert logits.teacher_tap is None
    inputs = keras.KerasTensor((None, 64, 64, 3))
    for model, tap in (
        (teacher, features.teacher_tap),
        (student, features.student_tap),
    ):
        _, specs = output_specs(model, inputs, [tap])
        assert len(specs[tap].shape) == 3
    for spec in (flags.TEACHER.value, flags.STUDENT.value):
        name = spec.removeprefix("hub:").removesuffix("+new")
        assert name in keras_hub.models.ImageClassifier.presets


def small_swin(width):
    backbone = keras_hub.models.SwinTransformerBackbone(
        image_shape=(64, 64, 3),
        patch_size=4,
        embed_dim=width,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
    )
    return keras_hub.models.SwinTransformerImageClassifier(backbone, num_classes=10)
