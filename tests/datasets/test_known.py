import pytest
import tensorflow_datasets as tfds

from keras_diffkd.datasets import Digits
from keras_diffkd.datasets.known import (
    DETECTION,
    SEGMENTATION,
    DetectionConventions,
    find_conventions,
)

DEFAULT = DetectionConventions()


@pytest.mark.parametrize(
    ("name", "max_boxes"),
    [
        ("digit_scenes", 3),
        ("digit_scenes/small", 3),
        ("digit_scenes/large", 8),
        ("coco/2014", 100),
        ("bccd", None),
    ],
)
def test_conventions_of_a_config_or_of_the_whole_data_set(tmp_path, name, max_boxes):
    builder = tfds.builder(name, data_dir=tmp_path)
    assert find_conventions(DETECTION, builder, DEFAULT).max_boxes == max_boxes


def test_builders_without_configs(tmp_path):
    assert find_conventions(DETECTION, Digits(data_dir=tmp_path), DEFAULT) is DEFAULT


@pytest.mark.parametrize("name", sorted(SEGMENTATION))
def test_every_class_has_one_value_and_is_not_ignored(name):
    known = SEGMENTATION[name]
    values = known.values or range(len(known.label_names))
    assert len(set(values)) == len(known.label_names)
    assert not set(values) & set(known.ignored)
