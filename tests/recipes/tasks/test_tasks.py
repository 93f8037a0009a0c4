"""Detection and segmentation through the commands' own code, on real digit scenes."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers.image_folders import write_scenes

from keras_diffkd import models
from keras_diffkd.export.serving.detection import decoded
from keras_diffkd.preflight import feature_rows
from keras_diffkd.pruning import taylor
from keras_diffkd.recipes import distill, evaluate, shrinking, tasks, train_teacher
from keras_diffkd.recipes.data import load_data, take_samples
from keras_diffkd.recipes.methods import build_methods
from keras_diffkd.recipes.report.write import write_report
from keras_diffkd.recipes.run.directory import RunDirectory
from keras_diffkd.recipes.run.metrics_log import read_metrics
from keras_diffkd.recipes.training import build_distiller

FILES = {
    "detection": "digit_scenes_retinanet.flags",
    "segmentation": "digit_scenes_deeplabv3.flags",
}
# As small as the students.
TEACHERS = {
    "detection": "--teacher=retinanet_scenes_student",
    "segmentation": "--teacher=deeplabv3_scenes_student",
}
SAID = {"detection": "mAP50 0.0", "segmentation": "pixels of training images"}
METRIC = {"detection": "val_mAP", "segmentation": "val_mean_iou"}


@pytest.fixture
def tiny(parse, tmp_path, data_dir):
    """Sets the flags of an experiment on a few scenes."""

    def tiny(task, *arguments):
        parse(
            f"--flagfile={distill_experiment(task)}",
            "--dataset=digit_scenes/small",
            f"--data_dir={data_dir}",
            f"--run_dir={tmp_path / 'run'}",
            "--epochs=1",
            "--steps_per_epoch=2",
            "--batch_size=8",
            *arguments,
        )
        return tmp_path / "run"

    return tiny


def distill_experiment(task):
    from keras_diffkd.recipes.command_line import EXPERIMENTS

    return EXPERIMENTS / FILES[task]


@pytest.mark.long
@pytest.mark.parametrize("task", FILES)
def test_teacher_student_and_evaluation(task, tiny, tmp_path, data_dir, capsys):
    # As a user's own images. AdamW has many operations for each variable to trace.
    dataset = f"--dataset={write_scenes(tmp_path / 'scenes', task, data_dir)}"
    given = (dataset, TEACHERS[task], "--optimizer=sgd", "--learning_rate=0.01")
    run = tiny(task, *given)
    train_teacher.main([])
    tiny(task, *given)
    capsys.readouterr()
    distill.main([])
    said = capsys.readouterr()
    assert SAID[task] in said.out
    assert "diffkd_features" in said.out
    assert "1x1 convolution" in said.out
    # A teacher of two steps knows nothing.
    assert "warning: The teacher" in said.err
    [line] = read_metrics(run / "metrics.jsonl")
    assert np.isfinite(line["diffkd_features/distill"])
    assert 0 <= line[METRIC[task]] <= 1
    tiny(task, *given, f"--picture={run / 'picture.png'}")
    evaluate.main([])
    picture = plt.imread(run / "picture.png")
    assert picture.shape[0] > 500
    assert picture.std() > 0.1
    table = capsys.readouterr().out
    assert "scenes, 32 test images" in table
    assert {"detection": "mAP50", "segmentation": "mIoU"}[task] in table
    page = write_report(RunDirectory(run), data=load_data()).read_text()
    assert "Where teacher and student disagree most" in page
    assert "Predictions" in page


def test_a_segmenter_made_out_of_its_teacher_has_the_same_taps(tiny):
    tiny("segmentation", "--student=shrink:0.5", "--method=diffkd")
    data = load_data()
    teacher = models.build_model("deeplabv3_scenes_teacher", data.image_shape, 11)
    student = shrinking.build(teacher, data, 0.5)
    assert student.count_params() < teacher.count_params() / 3
    distiller = build_distiller(student, data, teacher, build_methods_of_flags())
    rows = feature_rows(distiller)
    assert [row[2] for row in rows] == ["4x4x256", "64x64x11"]
    assert [row[4] for row in rows] == ["4x4x128", "64x64x11"]


def test_a_detector_made_out_of_its_teacher(tiny, tmp_path, rng, monkeypatch):
    monkeypatch.setattr(taylor, "BATCHES", 1)
    detector = models.build_model("retinanet_scenes_teacher", (64, 64, 3), 10)
    # As a pretrained teacher of KerasHub, whose labels had another format.
    detector.bounding_box_format = "yxyx"
    colors = {"mean": [0.0] * 3, "std": [1.0] * 3}
    teacher = models.with_preprocessing(detector, lambda pixels: pixels, colors)
    path, tap = tmp_path / "teacher.keras", f"{detector.name}/backbone/fpn"
    teacher.save(path)
    settings = [f"--teacher={path}", "--student=shrink:0.25", "--importance=taylor"]
    run = tiny("detection", *settings, "--method=none", "--steps_per_epoch=1")
    distill.main([])
    [line] = read_metrics(run / "metrics.jsonl")
    assert 0 <= line["val_mAP"] <= 1
    # It trained with the loss of its class, has the taps, and is exported with boxes.
    student = models.load_model(str(run / "student.keras"))
    assert student.count_params() < teacher.count_params() / 10
    images = rng.normal(size=(2, 64, 64, 3)).astype("float32")
    boxes = decoded(student)(images)["boxes"]
    assert boxes.shape == decoded(detector)(images)["boxes"].shape
    taps = [f"--teacher_tap={tap}", f"--student_tap={tap}"]
    tiny("detection", *settings, "--method=diffkd", *taps)
    data = load_data()
    distiller = build_distiller(student, data, teacher, build_methods_of_flags())
    rows = feature_rows(distiller)
    assert [row[2] for row in rows] == ["8x8x256", "4x4x256"]
    assert [row[4] for row in rows] == ["8x8x64", "4x4x64"]


def test_the_task_decides_what_is_tapped(tiny):
    tiny("detection", "--method=diffkd,fitnet,vkd,afd", "--share_denoiser")
    methods = {method.name: method for method in build_methods_of_flags()}
    # No DiffKD on logits: a detector's are not one tensor of classes.
    assert set(methods) == {"diffkd_features", "fitnet", "vkd", "afd"}
    assert methods["diffkd_features"].teacher_tap == "backbone/fpn"
    assert methods["diffkd_features"].share_denoiser
    assert methods["vkd"].normalization == "batch"
    assert methods["afd"].student_tap == ["backbone/fpn:P3", "backbone/fpn:P4"]
    tiny("segmentation", "--method=diffkd,kd,dist")
    methods = {method.name: method for method in build_methods_of_flags()}
    assert set(methods) == {"diffkd_features", "diffkd_logits", "kd", "dist"}
    assert methods["diffkd_features"].student_tap == "backbone/spatial_pyramid_pooling"


def build_methods_of_flags():
    from keras_diffkd.recipes import flags

    return build_methods(flags.METHOD.value)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Files of teachers that are not trained, by task."""
    folder = tmp_path_factory.mktemp("teachers")
    made = {"detection": ("retinanet", 10), "segmentation": ("deeplabv3", 11)}
    paths = {task: folder / f"{task}.keras" for task in made}
    for task, (family, classes) in made.items():
        model = models.build_model(f"{family}_scenes_teacher", (64, 64, 3), classes)
        model.save(paths[task])
    return paths


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("detection", ["--method=kd"], "--method=kd compares class scores"),
        ("detection", ["--method=diffkd,dkd"], "--method=dkd compares class scores"),
        (
            "detection",
            ["--method=diffkd", "--standardize_logits"],
            "--standardize_logits is for kd",
        ),
        ("segmentation", ["--method=rtk"], "--teacher_taps is required"),
        (
            "detection",
            ["--student=deeplabv3_scenes_student", "--method=none"],
            "must be a detector",
        ),
        (
            "segmentation",
            ["--student=retinanet_scenes_student", "--method=none"],
            "must be a segmenter",
        ),
        (
            "segmentation",
            ["--task=classification", "--method=none"],
            "digit_scenes.*is not an image classification data set",
        ),
        (
            "detection",
            ["--teacher_tap=backbone/fpn:P5"],
            "'P5' does not exist. Received: .'P3', 'P4'",
        ),
        (
            "detection",
            ["--teacher_tap=backbone/neck"],
            "no layer 'backbone/neck'",
        ),
        (
            "detection",
            ["--student=retinanet_resnet18"],
            "same levels. Received: teacher .'P3', 'P4'., student .'P3', 'P4', 'P5'",
        ),
        (
            "detection",
            ["--teacher=hub:retinanet_resnet50_fpn_cocoo"],
            "available ObjectDetector or a folder.*retinanet_resnet50_fpn_coco",
        ),
        ("detection", ["--augment=random_resized_crop"], "augment"),
    ],
)
def test_mistakes_are_named_before_training(
    task, arguments, message, tiny, tmp_path, teachers
):
    tiny(task, f"--teacher={teachers[task]}", *arguments)
    with pytest.raises(ValueError, match=message):
        distill.main([])
    assert not (tmp_path / "run" / "student.keras").exists()


def test_a_detector_that_finds_everything_has_a_map_of_one(tiny):
    tiny("detection")
    data = load_data()
    task = tasks.current()
    evaluation = task.evaluation(
        models.build_model("retinanet_scenes_student", data.image_shape, 10), data
    )
    _, targets = take_samples(data)
    detector = evaluation.detector
    images = np.zeros((len(targets["labels"]), *data.image_shape), "float32")
    boxes, labels = detector.label_encoder(
        images=images, gt_boxes=targets["boxes"], gt_classes=targets["labels"]
    )
    labels = keras.ops.cast(labels, "int32")
    scores = 40.0 * keras.ops.one_hot(labels, 10) - 20.0
    outputs = {"bbox_regression": np.array(boxes), "cls_logits": np.array(scores)}
    evaluation.update(outputs, targets)
    found = evaluation.result()
    assert found["mAP50"] > 0.99
    assert found["mAP"] > 0.95


def test_a_segmenter_that_is_right_everywhere_has_a_mean_iou_of_one(tiny):
    tiny("segmentation")
    data = load_data()
    images, masks = take_samples(data)
    metrics = tasks.current().metrics(None, data)
    right = {"logits": np.eye(11, dtype="float32")[masks]}
    assert metrics(right, masks)["mIoU"] == pytest.approx(1.0)
    wrong = {"logits": np.eye(11, dtype="float32")[(masks + 1) % 11]}
    assert metrics(wrong, masks)["mIoU"] == pytest.approx(0.0)


def test_disagreement_of_classifiers_is_of_those_who_are_sure():
    task = tasks.Classification()
    assert task.disagreement((3, 0.9), (3, 0.2)) == 0.0
    assert task.disagreement((3, 0.9), (1, 0.5)) == pytest.approx(0.45)


def test_disagreement_of_segmenters_is_of_pixels():
    first, second = np.zeros((2, 4), int), np.eye(2, 4, dtype=int)
    assert tasks.Segmentation().disagreement(first, second) == 0.25


def test_disagreement_of_detectors_is_of_boxes():
    box, far = [0.0, 0.0, 4.0, 4.0], [20.0, 20.0, 24.0, 24.0]
    near = [0.0, 1.0, 4.0, 4.0]  # They share 3 of 4 parts.

    def said(*boxes_and_classes):
        boxes = np.array([b for b, _ in boxes_and_classes]).reshape(-1, 4)
        return boxes, np.array([c for _, c in boxes_and_classes], int), None

    disagreement = tasks.Detection().disagreement
    assert disagreement(said((box, 1)), said((near, 1))) == 0.0
    assert disagreement(said((box, 1)), said((box, 2))) == 1.0
    assert disagreement(said((box, 1), (far, 1)), said((near, 1))) == pytest.approx(
        1 / 3
    )
    # Class -1: too unsure to be shown.
    assert disagreement(said((box, 1), (far, -1)), said((near, 1))) == 0.0
    assert disagreement(said((box, 1)), said((box, -1))) == 1.0
    assert disagreement(said(), said()) == 0.0
