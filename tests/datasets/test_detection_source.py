import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_diffkd.datasets import detection_source
from keras_diffkd.datasets.detection_source import DetectionSource
from keras_diffkd.datasets.preparation import prepared_builder

PICTURE = np.zeros((4, 6, 3), np.uint8)
BOX = [0.25, 0.0, 0.5, 1.0]


def scenes(*objects):
    """Examples of (boxes, labels)."""
    return [(PICTURE, boxes, labels) for boxes, labels in objects]


def test_reads_the_features_that_are_there(make_scenes):
    examples = scenes(([BOX, [0, 0, 1, 1]], [2, 0]), ([], []))
    source = DetectionSource(make_scenes({"train": examples}))
    assert source.image_shape == (None, None, 3)
    assert source.num_classes == 3
    assert source.label_names == ["0", "1", "2"]
    read = list(source.read("train"))
    assert all(source.decode(image).shape == (4, 6, 3) for image, _, _ in read)
    objects = {
        tuple(labels.numpy()): boxes.numpy().tolist() for _, boxes, labels in read
    }
    assert objects == {(2, 0): [BOX, [0, 0, 1, 1]], (): []}
    assert source.survey("train") == (2, 2)


def test_reads_data_sets_without_their_code(make_scenes, tmp_path):
    make_scenes({"train": scenes(([BOX], [1]))})
    assert DetectionSource(prepared_builder("toy", tmp_path)).survey("train") == (1, 1)


def test_crowds_are_left_out(make_scenes):
    crowds = (np.bool_, [False, True, False])
    examples = scenes(([BOX, [0, 0, 1, 1], [0, 0, 0.5, 0.5]], [0, 1, 2]))
    source = DetectionSource(make_scenes({"train": examples}, is_crowd=crowds))
    _, boxes, labels = next(iter(source.read("train")))
    assert labels.numpy().tolist() == [0, 2]
    assert boxes.numpy().tolist() == [BOX, [0, 0, 0.5, 0.5]]


def test_of_several_classes_the_label_counts(make_scenes):
    pose = (tfds.features.ClassLabel(num_classes=2), [1])
    label = (tfds.features.ClassLabel(num_classes=7), [6])
    examples = {"train": scenes(([BOX], [1]))}
    source = DetectionSource(make_scenes(examples, pose=pose, label=label))
    assert source.num_classes == 7
    assert next(iter(source.read("train")))[2].numpy().tolist() == [6]


def test_several_classes_without_a_label(make_scenes):
    pose = (tfds.features.ClassLabel(num_classes=2), [1])
    builder = make_scenes({"train": scenes(([BOX], [1]))}, pose=pose)
    with pytest.raises(ValueError, match=r"one .*ClassLabel.*\['kind', 'pose'\]"):
        DetectionSource(builder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"things": tfds.features.Sequence({"kind": np.int64})}, "one sequence of obj"),
        (
            {"things": tfds.features.Sequence(tfds.features.BBoxFeature())},
            "Received none",
        ),
        (
            {"things": tfds.features.Sequence({"box": tfds.features.BBoxFeature()})},
            "one `tfds.features.ClassLabel`",
        ),
        (
            {
                "things": tfds.features.Sequence(
                    {"box": tfds.features.BBoxFeature(bbox_format="XYWH")}
                )
            },
            "must have boxes in the format .*XYWH",
        ),
        ({"picture": tfds.features.Image(dtype=np.uint16)}, "no image to train on"),
        ({"left": tfds.features.Image()}, r"no image.*Received \['left', 'picture'\]"),
    ],
)
def test_data_sets_that_are_not_for_detection(make_data_set, changes, message):
    objects = {
        "box": tfds.features.BBoxFeature(),
        "kind": tfds.features.ClassLabel(num_classes=3),
    }
    features = {
        "picture": tfds.features.Image(encoding_format="png"),
        "things": tfds.features.Sequence(objects),
    } | changes
    example = {key: PICTURE for key in features if key != "things"} | {"things": []}
    example["picture"] = PICTURE.astype(features["picture"].np_dtype)
    builder = make_data_set(features, {"train": [example]})
    with pytest.raises(ValueError, match=f"'toy/1.0.0'.*{message}"):
        DetectionSource(builder)


@pytest.mark.parametrize(
    ("box", "label", "message"),
    [
        ([0, 0, 1, 1.1], 0, r"outside its image.*\[0.0, 0.0, 1.0, 1.1.*in 0..1"),
        ([-0.1, 0, 1, 1], 0, "outside its image"),
        ([0, 0.5, 1, 0.5], 0, "without height or width"),
        ([0.9, 0, 0.1, 1], 0, "without height or width.*expected ymin < ymax"),
        ([0, 0, 1, np.nan], 0, "outside its image"),
        (BOX, -1, r"outside its 3 classes. Example \d of 'test' has \[-1\]"),
    ],
)
def test_bad_objects_are_found_before_anything_starts(make_scenes, box, label, message):
    examples = scenes(([BOX], [0]), ([BOX, box], [1, label]))
    source = DetectionSource(make_scenes({"test": examples}))
    with pytest.raises(ValueError, match=message):
        source.survey("test")


def test_known_boxes_without_area_pass(make_scenes):
    examples = scenes(([BOX, [0, 0.5, 1, 0.5]], [0, 0]))
    builder = make_scenes({"train": examples})
    assert DetectionSource(builder, empty_boxes=True).survey("train") == (1, 2)


@pytest.mark.parametrize("split", ["nonsense", "train[:0]"])
def test_unknown_and_empty_splits(make_scenes, split):
    source = DetectionSource(make_scenes({"train": scenes(([BOX], [0]))}))
    with pytest.raises(ValueError, match="no examples in the split"):
        source.survey(split)


def test_splits_without_any_box(make_scenes):
    source = DetectionSource(make_scenes({"test": scenes(([], []), ([], []))}))
    with pytest.raises(ValueError, match="no boxes in the split 'test'"):
        source.survey("test")


@pytest.mark.parametrize(
    ("box", "label", "message"),
    [
        (BOX, -1, "outside its 3 classes"),
        ([0, 0, 1, 2], 0, "outside its image"),
        ([1, 1, 0, 0], 0, "outside its image"),
    ],
)
def test_later_bad_objects_stop_the_reading(make_scenes, box, label, message):
    source = DetectionSource(make_scenes({"test": scenes(([box], [label]))}))
    objects = source.read("test").map(lambda _, *objects: source.check(*objects))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(objects)


def test_looks_at_the_first_examples_only(make_scenes, monkeypatch):
    monkeypatch.setattr(detection_source, "_NUM_EXAMPLES_CHECKED", 1)
    good, bad = ([BOX], [0]), ([BOX], [-1])
    builder = make_scenes({"a": scenes(*[good] * 5), "b": scenes(*[bad] * 5)})
    assert DetectionSource(builder).survey("a+b") == (10, 1)
