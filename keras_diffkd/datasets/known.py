"""Lists the conventions of the literature for particular data sets."""

import dataclasses

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclasses.dataclass(frozen=True)
class Conventions:
    """Describes how a data set is usually split, augmented and normalized.

    Attributes:
        mean: Mean per channel of pixels scaled to 0..1. `None` stands for 0.5.
        std: Standard deviation per channel of pixels scaled to 0..1. `None` stands for
            0.5.
        augment: Name of a training augmentation in `augmentation.py`. `None` stands for
            a choice by image size (see `load_classification`).
        test_split: Split on which results are reported. `None` stands for "test", or
            "validation" if there is no "test".
    """

    mean: tuple | None = None
    std: tuple | None = None
    augment: str | None = None
    test_split: str | None = None


@dataclasses.dataclass(frozen=True)
class DetectionConventions(Conventions):
    """Describes how an object detection data set is usually read.

    Attributes:
        max_boxes: Largest number of objects in an image. `None` stands for 100, or more
            if one of the first images has more.
        empty_boxes: Boolean, whether a few boxes have no area.
    """

    max_boxes: int | None = None
    empty_boxes: bool = False


@dataclasses.dataclass(frozen=True)
class SegmentationConventions(Conventions):
    """Describes the meaning of the pixels in a data set's masks.

    Attributes:
        label_names: Names of the classes, in order. `None` stands for the names in the
            metadata of the data set.
        values: Pixel value of each class. `None` stands for 0, 1, ...
        ignored: Pixel values that do not stand for a class.
    """

    label_names: tuple | None = None
    values: tuple | None = None
    ignored: tuple = ()


def find_conventions(table, builder, default):
    """Returns the conventions for the config of a data set, or for the data set.

    Args:
        table: `CONVENTIONS`, `DETECTION` or `SEGMENTATION`.
        builder: A `tfds.core.DatasetBuilder`.
        default: Conventions to return for a data set that is not in the table.
    """
    config = builder.builder_config
    full_name = f"{builder.name}/{config.name}" if config else builder.name
    return table.get(full_name) or table.get(builder.name) or default


CONVENTIONS = {
    # Mean and standard deviation of the pixels of the training split.
    "digits": Conventions((0.3049,), (0.3756,), "crop"),
    "fashion_mnist": Conventions((0.2860,), (0.3530,), "crop_flip"),
    "cifar10": Conventions(
        (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "crop_flip"
    ),
    "cifar100": Conventions(
        (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), "crop_flip"
    ),
    # The test split of ImageNet has no labels.
    "imagenet2012": Conventions(
        **_IMAGENET, augment="random_resized_crop", test_split="validation"
    ),
    "imagenette": Conventions(
        **_IMAGENET, augment="random_resized_crop", test_split="validation"
    ),
}

# Mean and standard deviation of the pixels of the training split. Images are not
# mirrored, because a mirrored digit is not a digit.
_DIGIT_SCENES = {"mean": (0.1615,) * 3, "std": (0.1706,) * 3, "augment": "crop"}

# Lin et al., arXiv 1708.02002, only mirror. The test split has no boxes.
_COCO = DetectionConventions(
    **_IMAGENET,
    augment="flip",
    test_split="validation",
    max_boxes=100,
    # The training split of 2017 has a few.
    empty_boxes=True,
)

DETECTION = {
    "digit_scenes": DetectionConventions(**_DIGIT_SCENES, max_boxes=3),
    "digit_scenes/large": DetectionConventions(**_DIGIT_SCENES, max_boxes=8),
    "coco": _COCO,
    "voc": DetectionConventions(**_IMAGENET, augment="flip", max_boxes=64),
    # The test split of 2012 has no boxes.
    "voc/2012": DetectionConventions(
        **_IMAGENET, augment="flip", test_split="validation", max_boxes=64
    ),
}

_CITYSCAPES = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}

SEGMENTATION = {
    "digit_scenes": SegmentationConventions(
        **_DIGIT_SCENES, label_names=("background", *map(str, range(10)))
    ),
    "oxford_iiit_pet": SegmentationConventions(
        **_IMAGENET,
        augment="crop_flip",
        label_names=("pet", "background", "border"),
        values=(1, 2, 3),
    ),
    # The benchmark uses 19 of the 34 classes. The masks of the test split are void.
    "cityscapes": SegmentationConventions(
        **_IMAGENET,
        augment="crop_flip",
        test_split="validation",
        label_names=tuple(_CITYSCAPES),
        values=tuple(_CITYSCAPES.values()),
        ignored=(*sorted(set(range(34)) - set(_CITYSCAPES.values())), 255),
    ),
}
