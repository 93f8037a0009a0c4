import types

import keras
import pytest

from keras_diffkd.recipes import distill, flags
from keras_diffkd.recipes.command_line import EXPERIMENTS, parse_flags
from keras_diffkd.recipes.methods import build_methods
from keras_diffkd.recipes.networks import build_network
from keras_diffkd.recipes.training import build_distiller

FILES = sorted(EXPERIMENTS.glob("*.flags"))
# The published images are larger; the networks take any size.
IMAGE_SHAPES = {
    "digits": (8, 8, 1),
    "cifar100": (32, 32, 3),
    "imagenet2012": (64, 64, 3),
}
NUM_CLASSES = {"digits": 10, "cifar100": 100, "imagenet2012": 1000}


def test_the_experiments_are_there():
    assert [file.stem for file in FILES] == [
        "cifar100_resnet56_resnet20",
        "cifar100_wrn40_2_wrn40_1",
        "digits",
        "imagenet_resnet34_resnet18",
        "imagenet_resnet50_mobilenet",
    ]


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


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_experiment_builds(parse, file):
    parse_flags("diffkd-distill", distill.main, ["test", f"--flagfile={file}"])
    dataset = flags.DATASET.value
    data = types.SimpleNamespace(
        image_shape=IMAGE_SHAPES[dataset],
        num_classes=NUM_CLASSES[dataset],
        steps_per_epoch=10,
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
    assert {method.name for method in distiller.methods} == {
        "diffkd_features",
        "diffkd_logits",
    }
    assert all(method.built for method in distiller.methods)
    assert all(int(epoch) < flags.EPOCHS.value for epoch in flags.MILESTONES.value)
