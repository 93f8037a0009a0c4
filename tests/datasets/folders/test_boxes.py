"""Images with COCO's JSON are found as users arrange them, and boxes are theirs."""

import json
import re

import numpy as np
import pytest
from helpers.image_folders import colors
from PIL import Image

from keras_diffkd.datasets import load_detection
from keras_diffkd.errors import DataWarning

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]


def write(folder, names, json_file="labels.json", images="images", start=0, **changes):
    """Writes images of 20x40 with a box each, which tells its number, and the JSON."""
    entries, objects = [], []
    for number, name in enumerate(names, start=start):
        path = folder / images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colors(20, 40, seed=number)).save(path)
        entries.append(
            {"id": 100 + number, "file_name": name, "width": 40, "height": 20}
        )
        box = [number + 1, 2, 10.5, 4]
        category = CATEGORIES[number % 2]["id"]
        objects.append({"image_id": 100 + number, "category_id": category, "bbox": box})
    content = {"images": entries, "annotations": objects, "categories": CATEGORIES}
    path = folder / json_file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | changes))
    return folder


def change(folder, edit, json_file="labels.json"):
    content = json.loads((folder / json_file).read_text())
    edit(content)
    (folder / json_file).write_text(json.dumps(content))


@pytest.fixture
def load(tmp_path):
    def load(folder, **options):
        options = {"data_dir": tmp_path / "data", "batch_size": 1} | options
        return load_detection(folder, augment="none", max_boxes=2, **options)

    return load


def objects_of(dataset, count):
    """Boxes and labels by the number that the left side of the box tells."""
    found = {}
    for _, objects in dataset.unbatch().take(count).as_numpy_iterator():
        real = objects["labels"] >= 0
        boxes, labels = objects["boxes"][real], objects["labels"][real]
        found[round(float(boxes[0, 0])) - 1] = boxes.tolist(), labels.tolist()
    return found


def expected(number):
    left = number + 1
    return pytest.approx([left, 2, left + 10.5, 6], abs=1e-4), [1 - number % 2]


def check(found, numbers):
    assert sorted(found) == sorted(numbers)
    for number in numbers:
        [box], labels = found[number]
        right, label = expected(number)
        assert box == right
        assert labels == label


def test_one_file_beside_the_images(tmp_path, load):
    folder = write(tmp_path / "set", [f"{i}.png" for i in range(10)])
    for path in (folder, str(folder / "labels.json")):
        data = load(path)
        assert (data.num_train_examples, data.num_test_examples) == (8, 2)
        # In the order of the ids.
        assert data.label_names == ["dog", "cat"]
        assert data.image_shape == (20, 40, 3)
        found = objects_of(data.train, 8) | objects_of(data.test, 2)
        check(found, range(10))


@pytest.mark.parametrize("layout", ["roboflow", "coco", "coco in images", "names"])
def test_splits(tmp_path, load, layout):
    folder = tmp_path / "set"
    for split, names, start in (
        ("train", ["a.jpg", "b.jpg"], 0),
        ("val", ["c.jpg"], 5),
    ):
        file, images = {
            "roboflow": (f"{split}/_annotations.coco.json", split),
            "coco": (f"annotations/instances_{split}2017.json", f"{split}2017"),
            "coco in images": (f"annotations/{split}.json", f"images/{split}"),
            "names": (f"{split}.json", "images"),
        }[layout]
        write(folder, names, file, images, start)
    data = load(folder)
    check(objects_of(data.train, 2), [0, 1])
    check(objects_of(data.test, 1), [5])


def test_boxes_that_are_not_quite_right(tmp_path, load):
    folder = write(tmp_path / "set", [f"{i}.png" for i in range(6)])

    def edit(content):
        objects = content["annotations"]
        objects[0]["bbox"] = [30, -5, 20, 15]
        objects += [
            {"image_id": 101, "category_id": 3, "bbox": [50, 2, 5, 5]},
            {"image_id": 101, "category_id": 3, "bbox": [5, 2, 0, 5]},
            {"image_id": 101, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ]
        content["categories"].append({"id": 1, "name": "things"})

    change(folder, edit)
    with pytest.warns(DataWarning) as said:
        data = load(folder, test_split="train")
    for text in (
        "1 boxes reach beyond their image",
        "2 boxes are outside their image or have no area",
        "1 objects are marked as crowds and left out",
        "1 classes have no box: things",
    ):
        assert any(f"set: {text}" in str(each.message) for each in said), text
    found = objects_of(data.train, 6)
    assert found[29] == ([[30.0, 0.0, 40.0, 10.0]], [2])
    assert found[1] == ([pytest.approx([2, 2, 12.5, 6], abs=1e-4)], [1])


def drop(key):
    return lambda content: content["annotations"][0].pop(key)


def put(where, **values):
    return lambda content: content[where][0].update(values)


SPOILED = {
    "no id": (drop("image_id"), "must have image_id, category_id, bbox in each entry"),
    "no box": (drop("bbox"), "must have image_id, category_id, bbox"),
    "other image": (put("annotations", image_id=9), "image_id 9, which is not in"),
    "other category": (put("annotations", category_id=9), "category_id 9, which is"),
    "three sides": (put("annotations", bbox=[1, 2, 3]), "boxes .x, y, width, height."),
    "text": (put("annotations", bbox=["1", 2, 3, 4]), "boxes .x, y, width, height."),
    "NaN": (put("annotations", bbox=[1, 2, 3, float("nan")]), "boxes .x, y, width"),
    "a list as id": (put("images", id=[1]), "not a number or a text"),
    "image twice": (put("images", file_name="1.png"), "name each image once"),
    "category twice": (put("categories", id=3), "an integer of its own"),
    "shares": (
        lambda content: [
            each.update(bbox=[0.1, 0.1, 0.5, 0.5]) for each in content["annotations"]
        ],
        "must be in pixels, not shares",
    ),
    "no lists": (lambda content: content.pop("categories"), "a dictionary with the li"),
    "no images": (
        lambda content: content.update(images=[], annotations=[]),
        "labels.json has no images",
    ),
    "no objects": (lambda content: content.update(annotations=[]), "has no boxes in"),
    "files elsewhere": (
        lambda content: [
            each.update(file_name=f"x/{each['file_name']}")
            for each in content["images"]
        ],
        "no usable images .*set/x/0.png: it cannot be read: No such file",
    ),
    "other sizes": (
        lambda content: [each.update(width=20) for each in content["images"]],
        "no usable images .*the JSON file says 20x20, but it is 20x40",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_wrong_is_named(tmp_path, load, name):
    edit, says = SPOILED[name]
    folder = write(tmp_path / "set", ["0.png", "1.png", "2.png"])
    change(folder, edit)
    with pytest.raises(ValueError, match=says) as error:
        load(folder)
    assert re.search(re.escape(str(folder)), str(error.value))


def test_files_that_are_not_there_or_unclear(tmp_path, load):
    folder = tmp_path / "set"
    folder.mkdir()
    for content, says in (
        (None, "must have a JSON file in the format of COCO.*Received: none"),
        ("", "set/labels.json is not a JSON file"),
        ("[]", "a dictionary with the lists .*Received: list"),
    ):
        if content is not None:
            (folder / "labels.json").write_text(content)
        with pytest.raises(ValueError, match=says):
            load(folder)
    (folder / "more.json").touch()
    with pytest.raises(ValueError, match="one JSON file for each split.*labels.json"):
        load(folder)
    with pytest.raises(ValueError, match="nowhere.json cannot be read: No such file"):
        load(folder / "nowhere.json")
    other = write(tmp_path / "other", ["0.png"], "train/a.json", "train")
    names = [{"id": 7, "name": "bird"}]
    write(other, ["0.png"], "val/a.json", "val", categories=names, annotations=[])
    with pytest.raises(ValueError, match="same categories.*3: dog; 7: bird; 7: cat"):
        load(other)


def test_images_without_objects_count(tmp_path, load):
    folder = write(tmp_path / "set", ["0.png", "1.png", "2.png", "3.png"])
    change(
        folder, lambda content: content.update(annotations=content["annotations"][:3])
    )
    data = load(folder, test_split="train")
    labels = [o["labels"] for _, o in data.train.unbatch().take(4).as_numpy_iterator()]
    assert sorted((np.array(labels) >= 0).sum(-1)) == [0, 1, 1, 1]
