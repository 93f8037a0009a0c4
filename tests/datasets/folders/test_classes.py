"""Classes and splits are found as users arrange them."""

import re

import pytest

from keras_diffkd.datasets.folders.classes import find_classified
from keras_diffkd.datasets.folders.paths import is_path


@pytest.fixture
def write(tmp_path):
    """Writes empty files; what is in them does not matter yet."""

    def write(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return write


def found(path):
    examples, names = find_classified(path)
    root = path.parent if path.suffix else path
    return names, [
        (example.image.relative_to(root).as_posix(), example.split, example.target)
        for example in examples
    ]


def test_a_folder_of_classes(write):
    root = write("b/1.png", "a/2.JPG", "a/deep/3.jpeg", "a/notes.txt", "a/.hidden.png")
    (root / "__MACOSX").mkdir()
    assert found(root) == (
        ["a", "b"],
        [
            ("a/2.JPG", "train", 0),
            ("a/deep/3.jpeg", "train", 0),
            ("b/1.png", "train", 1),
        ],
    )


@pytest.mark.parametrize(
    ("folder", "split"),
    [("val", "validation"), ("valid", "validation"), ("Test", "test")],
)
def test_folders_of_splits(write, folder, split):
    root = write("train/a/1.png", "train/b/2.png", f"{folder}/b/3.png")
    assert found(root) == (
        ["a", "b"],
        [
            ("train/a/1.png", "train", 0),
            ("train/b/2.png", "train", 1),
            (f"{folder}/b/3.png", split, 1),
        ],
    )


def test_a_table(write):
    root = write("images/1.png", "2.png", "3.png")
    table = root / "labels.csv"
    table.write_text(
        "\ufefflabel,Image,split,author\n"
        '"dog, big",images/1.png,train,me\ncat,2.png,valid,\ncat,3.png,train,me\n',
        encoding="utf-8",
    )
    assert found(table) == (
        ["cat", "dog, big"],
        [
            ("images/1.png", "train", 1),
            ("2.png", "validation", 0),
            ("3.png", "train", 0),
        ],
    )


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "at least two classes. Received: no subfolders and 0 images"),
        (["1.png", "2.png"], "no subfolders and 2 images beside them"),
        (["a/1.png"], "at least two classes"),
        (["a/1.png", "b/notes.txt"], "class folder .*/b has no images"),
        (["test/a/1.png"], "has the splits .'test'., but not 'train'"),
        (
            ["train/a/1.png", "train/b/1.png", "test/c/1.png"],
            "has the classes c, which",
        ),
        (["train/a/1.png", "Train/b/1.png"], "both stand for the split 'train'"),
    ],
)
def test_folders_that_are_arranged_otherwise(write, files, says):
    with pytest.raises(ValueError, match=says) as error:
        find_classified(write(*files))
    assert str(write()) in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must have the columns 'image' and 'label'.*an empty file"),
        ("file,label\n1.png,a\n", "Received: .'file', 'label'."),
        ("image;label\n1.png;a\n", "separated by commas"),
        ("image,label\n", "at least two classes. Received: no rows"),
        ("image,label\n1.png,a\n", "at least two classes. Received: .'a'."),
        ("image,label\n1.png,\n", "Line 2 of .* has no label"),
        ("image,label\n,a\n", "Line 2 of .* has no image"),
        ("image,label\n1.png,a\n9.png,b\n", "Line 3 of .* does not exist: .*9.png"),
        ("image,label,split\n1.png,a,dev\n", "Line 2 .* split. Received: 'dev'"),
        (
            "image,label,split\n1.png,a,test\n1.png,b,test\n",
            "no row of the split 'trai",
        ),
        (b"image,label\n\xff.png,a\n", "not a CSV file in UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_tables_that_are_wrong(write, text, says):
    table = write("1.png") / "labels.csv"
    if text is not None:
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=says) as error:
        find_classified(table)
    assert str(table) in str(error.value)


def test_folders_that_cannot_be_read(write):
    with pytest.raises(ValueError, match="nowhere must be a folder, but it does not"):
        find_classified(write() / "nowhere")
    with pytest.raises(ValueError, match="1.png must be a folder, but it is a file"):
        find_classified(write("1.png") / "1.png")
    root = write("a/1.png", "b/1.png")
    (root / "a" / "again").symlink_to(root / "a")
    with pytest.raises(ValueError, match=re.escape(f"{root}/a/again is a link")):
        find_classified(root)


def test_what_is_a_path(write, monkeypatch):
    root = write("photos/a/1.png", "cifar/3.0.2/dataset_info.json", "digits/a/1.png")
    write("mnist/teacher/flags.txt", "cifar100/teacher.keras", "runs/flags.txt")
    monkeypatch.chdir(root)
    for path in ("photos", "photos/a", "./nowhere", "/nowhere", "~/x", "t.csv", root):
        assert is_path(path), path
    for name in (
        "nowhere",
        "coco/2017",
        "cifar",
        "digits",
        "mnist",
        "cifar100",
        "runs",
        "",
        None,
        3,
    ):
        assert not is_path(name), name
