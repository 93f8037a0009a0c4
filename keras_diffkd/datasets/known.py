"""What the literature does with particular data sets."""

import dataclasses

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclasses.dataclass(frozen=True)
class Conventions:
    """How a data set is usually split, augmented and normalised.

    Attributes:
        mean: Per channel, of pixels scaled to 0..1. `None`: 0.5.
        std: Per channel, of pixels scaled to 0..1. `None`: 0.5.
        augment: Name of a training augmentation, see `augmentation.py`. `None`:
            by the image size, see `load_classification`.
        test_split: The split that results are reported on. `None`: "test", or
            "validation" where there is no "test".
    """

    mean: tuple | None = None
    std: tuple | None = None
    augment: str | None = None
    test_split: str | None = None


CONVENTIONS = {
    # Mean and standard deviation of the pixels of the training split.
    "digits": Conventions((0.3049,), (0.3756,), "crop"),
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
