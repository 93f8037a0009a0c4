"""Folders of images, tables, masks and boxes that are wrong."""

import functools
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
from PIL import Image
from wrong_input_models import Case

from keras_diffkd.datasets import (
    load_classification,
    load_detection,
    load_segmentation,
)
from keras_diffkd.errors import DataWarning

SIDE = 8
CLASSES = ("cat", "dog")
PER_CLASS = 5
LOADERS = {
    "classes": load_classification,
    "masks": load_segmentation,
    "boxes": load_detection,
}


@functools.cache
def scratch():
    """Returns a folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory()


@functools.cache
def right():
    """Returns the folder with a right folder of each kind."""
    root = Path(scratch().name) / "right"
    for number in range(len(CLASSES) * PER_CLASS):
        name = CLASSES[number % len(CLASSES)]
        write_image(root / "classes" / name / f"{number}.png", number)
        write_image(root / "masks" / "images" / f"{number}.png", number)
        write_image(root / "boxes" / "images" / f"{number}.png", number)
        mask = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 3
        save(root / "masks" / "masks" / f"{number}.png", mask.astype("uint8"))
    count = range(len(CLASSES) * PER_CLASS)
    coco = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in count],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 4, 5]}
            for i in count
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (root / "boxes" / "boxes.json").write_text(json.dumps(coco))
    return root


def write_image(path, number):
    """Writes an image of its own for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3))
    save(path, pixels.astype("uint8"))


def save(path, pixels):
    """Writes pixels as the image that the end of the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def folder_case(kind, given, says, spoil, inside="", **options):
    """Returns a `Case`: a copy of a right folder, what spoils it, and its loading.

    Args:
        kind: One of `LOADERS`.
        given: As in `Case`.
        says: As in `Case`.
        spoil: Callable that receives the folder and changes it.
        inside: String, what to load in the folder.
        **options: Further arguments of the loader.
    """

    def ours():
        root = Path(scratch().name)
        folder = root / kind
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(right() / kind, folder)
        spoil(folder)
        path = folder / inside if inside else folder
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                LOADERS[kind](path, data_dir=root / "data", batch_size=2, **options)
            except ValueError as error:
                raise ValueError(_short(str(error), root)) from error
        for warning in caught:
            warnings.warn(_short(str(warning.message), root), DataWarning, stacklevel=1)

    return Case(given, says, ours, None)


def _short(text, root):
    return text.replace(f"{root}/", "")


def changed_boxes(edit):
    """Returns a function that changes what the JSON file holds."""

    def spoil(folder):
        path = folder / "boxes.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    return spoil


def first_box(**values):
    """Returns a function that changes the first object in the JSON file."""
    return changed_boxes(lambda content: content["annotations"][0].update(values))


def table(text):
    """Returns a function that writes a CSV file."""
    return lambda folder: (folder / "labels.csv").write_text(text)


def every_mask(change):
    """Returns a function that changes the pixels of all masks."""

    def spoil(folder):
        for path in (folder / "masks").iterdir():
            save(path, change(np.asarray(Image.open(path))))

    return spoil


def cut(path):
    """Leaves only the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def into_one_folder(folder):
    """Leaves no subfolders."""
    for path in list(folder.glob("*/*.png")):
        path.rename(folder / path.name)
    for name in CLASSES:
        (folder / name).rmdir()


def only_a_test_split(folder):
    """Moves all classes into the folder `test`."""
    for name in CLASSES:
        shutil.move(folder / name, folder / "test" / name)


def other_test_classes(folder):
    """Makes two splits with different classes."""
    for name in CLASSES:
        shutil.move(folder / name, folder / "train" / name)
    write_image(folder / "test" / "bird" / "0.png", 0)


def test_images_from_training(folder):
    """Makes two splits that share images."""
    for name in CLASSES:
        shutil.copytree(folder / name, folder / "test" / name)
        shutil.move(folder / name, folder / "train" / name)


def jpeg_masks(folder):
    """Saves all masks as JPEG."""
    for path in list((folder / "masks").iterdir()):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()


def all_of_one_class(folder):
    """Empties all images of a class."""
    for path in (folder / "cat").iterdir():
        path.write_bytes(b"")


CLASS_FOLDERS = [
    folder_case(
        "classes", "a path that does not exist", "does not exist", lambda f: 0, "x"
    ),
    folder_case(
        "classes", "images without subfolders", "no subfolders", into_one_folder
    ),
    folder_case(
        "classes",
        "one class",
        "at least two classes",
        lambda f: shutil.rmtree(f / "dog"),
    ),
    folder_case(
        "classes",
        "a class folder without images",
        "has no images",
        lambda f: (f / "bird").mkdir(),
    ),
    folder_case("classes", "a test split alone", "not 'train'", only_a_test_split),
    folder_case(
        "classes", "other classes in the test split", "bird", other_test_classes
    ),
    folder_case(
        "classes",
        "test images that are training images",
        "10 of 10 images for testing are",
        test_images_from_training,
    ),
    folder_case(
        "classes",
        "a text file that is called .png",
        "it is not an image",
        lambda f: (f / "cat" / "0.png").write_text("<html>"),
    ),
    folder_case(
        "classes",
        "an image that is cut off, to be refused",
        "0.png: it is damaged.*Repair",
        lambda f: cut(f / "cat" / "0.png"),
        bad_images="refuse",
    ),
    folder_case(
        "classes",
        "a class of empty files",
        "no usable images of the class 'cat'",
        all_of_one_class,
    ),
    folder_case(
        "classes",
        "images of several sizes, no image_size",
        "differ in size",
        lambda f: save(f / "cat" / "0.png", np.zeros((9, 7), "uint8")),
    ),
    folder_case(
        "classes",
        "a folder that links to itself",
        "is a link to a folder that was read",
        lambda f: (f / "cat" / "again").symlink_to(f / "cat"),
    ),
    folder_case(
        "classes",
        "a share of 0% to test on",
        "above 0% and below 100%",
        lambda f: 0,
        test_split="0%",
    ),
    folder_case(
        "classes",
        "a CSV file with semicolons",
        "separated by commas",
        table("image;label\ncat/0.png;a\n"),
        "labels.csv",
    ),
    folder_case(
        "classes",
        "a CSV file that names no such image",
        "Line 2 of .* does not exist",
        table("image,label\ncat/99.png,a\n"),
        "labels.csv",
    ),
    folder_case(
        "classes",
        "a line of a CSV file without a label",
        "Line 3 of .* has no label",
        table("image,label\ncat/0.png,a\ndog/1.png,\n"),
        "labels.csv",
    ),
]
MASK_FOLDERS = [
    folder_case(
        "masks",
        "an image without a mask",
        "have no mask of the same name",
        lambda f: (f / "masks" / "0.png").unlink(),
    ),
    folder_case(
        "masks",
        "a mask of another size",
        "is 4x4, but the image is 8x8",
        lambda f: save(f / "masks" / "0.png", np.zeros((4, 4), "uint8")),
    ),
    folder_case("masks", "masks as JPEG", "which changes class numbers", jpeg_masks),
    folder_case(
        "masks",
        "masks of colors",
        "must have class numbers from 0 to 255",
        every_mask(lambda mask: np.stack([mask] * 3, -1)),
    ),
    folder_case(
        "masks",
        "masks of gray levels 0, 100, 200",
        "Received pixels: .0, 100, 200.",
        every_mask(lambda mask: mask * 100),
    ),
    folder_case(
        "masks",
        "masks of 0 and 255",
        "255 is taken as class 1",
        every_mask(lambda mask: (mask > 0) * np.uint8(255)),
    ),
    folder_case(
        "masks",
        "a classes.txt with too few names",
        "names 2 classes",
        lambda f: (f / "classes.txt").write_text("sky\nroad\n"),
    ),
    folder_case(
        "masks",
        "a folder without masks",
        "must have the folders 'images' and 'masks'",
        lambda f: shutil.rmtree(f / "masks"),
    ),
]
BOX_FOLDERS = [
    folder_case(
        "boxes",
        "a JSON file that is cut off",
        "is not a JSON file",
        lambda f: cut(f / "boxes.json"),
    ),
    folder_case(
        "boxes",
        "a JSON file of another format",
        "in the format of COCO",
        lambda f: (f / "boxes.json").write_text('{"shapes": []}'),
    ),
    folder_case(
        "boxes", "a box of an unknown image", "image_id 99", first_box(image_id=99)
    ),
    folder_case(
        "boxes", "a box of an unknown class", "category_id 9", first_box(category_id=9)
    ),
    folder_case(
        "boxes", "a box of three numbers", "boxes .x, y", first_box(bbox=[1, 2, 3])
    ),
    folder_case(
        "boxes",
        "boxes as shares of the image",
        "in pixels, not shares",
        changed_boxes(
            lambda content: [
                each.update(bbox=[0.1, 0.1, 0.5, 0.5])
                for each in content["annotations"]
            ]
        ),
    ),
    folder_case(
        "boxes",
        "a box that reaches beyond its image",
        "1 boxes reach beyond",
        first_box(bbox=[4, 4, 40, 40]),
    ),
    folder_case(
        "boxes",
        "a box without area",
        "1 boxes are outside their image or have no area",
        first_box(bbox=[1, 1, 0, 3]),
    ),
    folder_case(
        "boxes",
        "images that are elsewhere",
        "cannot be read: No such file",
        lambda f: shutil.move(f / "images", f / "elsewhere" / "deeper"),
    ),
    folder_case(
        "boxes",
        "two JSON files without a split in their names",
        "one JSON file for each split",
        lambda f: shutil.copy(f / "boxes.json", f / "other.json"),
    ),
]
FOLDERS = [*CLASS_FOLDERS, *MASK_FOLDERS, *BOX_FOLDERS]
