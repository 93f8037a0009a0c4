"""What is written for the web page; neither Chromium nor npm is needed."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile

import keras
import numpy as np
import pytest
from helpers.web_pages import fake_runtime
from PIL import Image

from keras_diffkd.export import (
    ExportError,
    VerificationError,
    export_student,
    verify,
    write_web_page,
)
from keras_diffkd.export.records.fingerprints import fingerprint
from keras_diffkd.export.records.manifest import read_manifest
from keras_diffkd.export.records.page import describe_page, find_page_damage, is_page
from keras_diffkd.export.web import runtime
from keras_diffkd.export.web.page import STATIC

NORMALIZATION = {"mean": [0.5], "std": [0.25], "input_range": [0, 255]}


@pytest.fixture
def runtime_dir(tmp_path):
    return fake_runtime(tmp_path / "node_modules" / "onnxruntime-web" / "dist").parent


@pytest.fixture
def gray_export(helpers, tmp_path, runtime_dir):
    """An export with a page in it, and the function that made it."""
    student = helpers.randomize(
        keras.Sequential(
            [keras.Input((4, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(5)],
            name="gray_student",
        )
    )

    def export(**options):
        options = {"web": {"runtime_dir": runtime_dir}, **options}
        return export_student(
            student,
            tmp_path / "export",
            ["onnx"],
            labels=helpers.labels,
            normalization=NORMALIZATION,
            source={"experiment": "gray", "run_dir": "/secret/place"},
            **options,
        )

    export()
    return tmp_path / "export", export


def test_the_folder_is_complete(gray_export, runtime_dir):
    folder = gray_export[0] / "web"
    files = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert files >= {"index.html", "app.js", "style.css", "page.json", "student.onnx"}
    license = (folder / "runtime" / "LICENSE.txt").read_text()
    assert "Copyright (c) Microsoft Corporation" in license
    model = (gray_export[0] / "student.onnx").read_bytes()
    assert (folder / "student.onnx").read_bytes() == model
    # Whatever a page asks for is there, under a name that file servers know.
    for path in folder.glob("*.*"):
        if path.suffix in (".html", ".js"):
            text = path.read_text(encoding="utf-8")
            asked = re.findall(r"""(?:src=|href=|from |here\()"([\w./-]+)\"""", text)
            assert {(folder / name).is_file() for name in asked} <= {True}
    assert {path.suffix for path in folder.rglob("*.*")} <= {
        *(".html", ".css", ".js", ".json", ".onnx", ".wasm", ".txt"),
    }
    assert is_page(folder)


def test_opened_as_a_file_the_page_says_how_to_serve_it():
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert "python -m http.server" in script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}' " in text, "browsers run no other"


@pytest.mark.parametrize(
    ("labels", "drawing", "is_drawn"),
    [
        (["0", "1"], None, True),
        (None, None, True),
        (["shirt", "boot"], None, False),
        (["shirt", "boot"], True, True),
        (["0", "1"], False, False),
    ],
)
def test_digits_and_letters_are_drawn(gray_export, labels, drawing, is_drawn):
    manifest = read_manifest(gray_export[0]) | {"labels": labels}
    page = describe_page(manifest, "Clothes", drawing)
    assert (page["drawing"] is not None) == is_drawn
    assert page["title"] == "Clothes"


def test_photos_are_not_drawn(gray_export):
    manifest = read_manifest(gray_export[0])
    manifest["inputs"][0]["shape"] = [None, 64, 64, 1]
    with pytest.raises(ExportError, match="Leave the drawing area out"):
        describe_page(manifest, drawing=True)


def test_nothing_comes_from_elsewhere():
    for path in STATIC.glob("*"):
        if path.suffix != ".txt":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"https?://|\beval\(|new Function", text), path.name


def test_metadata(gray_export, helpers):
    text = (gray_export[0] / "web" / "page.json").read_text()
    assert "secret" not in text
    page = json.loads(text)
    assert page["title"] == "gray student"
    assert page["task"] == "classification"
    assert page["labels"] == helpers.labels
    assert page["normalization"] == {"mean": [0.5], "std": [0.25]}
    assert page["input"] == {
        "name": "image",
        "dtype": "float32",
        "height": 4,
        "width": 6,
        "channels": 1,
    }
    assert page["drawing"]["margin"] == 0
    assert page["runtime"] == {"package": "onnxruntime-web", "version": "9.8.7"}
    assert page["samples"] == []


def test_samples_are_the_pixels_that_they_were_made_from(
    gray_export, runtime_dir, tmp_path
):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 1))
    images = ((pixels / 255 - 0.5) / 0.25).astype("float32")
    page = write_web_page(
        gray_export[0],
        tmp_path / "page",
        title="Letters",
        samples=(images, np.array([4, 0, 2])),
        runtime_dir=runtime_dir,
    )
    assert page["title"] == "Letters"
    assert [entry["label"] for entry in page["samples"]] == ["e", "a", "c"]
    for entry, expected in zip(page["samples"], pixels, strict=True):
        found = np.asarray(Image.open(tmp_path / "page" / entry["file"]))
        np.testing.assert_array_equal(found, expected[..., 0])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 4, 4, 1)), "do not have the shape"),
        (np.full((2, 4, 6, 1), 9.0), "not what the student takes"),
        ((np.zeros((2, 4, 6, 1)), np.zeros(2)), "one integer label"),
    ],
)
def test_wrong_samples_leave_the_older_page(
    samples, message, gray_export, runtime_dir, tmp_path, helpers
):
    options = {"runtime_dir": runtime_dir}
    write_web_page(gray_export[0], tmp_path / "page", **options)
    before = helpers.hash_files(tmp_path / "page")
    with pytest.raises(ValueError, match=message):
        write_web_page(gray_export[0], tmp_path / "page", samples=samples, **options)
    assert helpers.hash_files(tmp_path / "page") == before
    assert not list(tmp_path.glob(".page*"))
    write_web_page(gray_export[0], tmp_path / "page", title="New", **options)
    assert "New" in (tmp_path / "page" / "page.json").read_text()


def test_the_page_is_part_of_the_export(gray_export, helpers):
    """It is kept with it, stays beside further files, and goes if it is told to."""
    folder, export = gray_export
    before = helpers.hash_files(folder)
    with pytest.raises(ExportError, match="does not have"):
        export(web={"runtime_dir": folder})
    with pytest.raises(ValueError, match="do not have the shape"):
        export(web={"runtime_dir": _runtime_of(folder), "samples": np.zeros((1, 2))})
    assert helpers.hash_files(folder) == before
    assert [path.name for path in folder.parent.glob(".export*")] == []

    page = helpers.hash_files(folder / "web")
    export(web=None)
    assert helpers.hash_files(folder / "web") == page
    export(web=None, replace=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "report.json",
        "student.onnx",
    ]


def test_a_page_that_was_changed_is_found(gray_export):
    folder, _ = gray_export
    page = folder / "web"
    assert find_page_damage(page) == []
    for path in (page / "app.js", page / "runtime" / "LICENSE.txt"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        name = path.relative_to(page).as_posix()
        assert find_page_damage(page) == [
            f"{name} is missing, was changed, or is not part of the page"
        ]
        path.unlink()
        assert len(find_page_damage(page)) == 1
        path.write_bytes(content)
    (page / "more.js").write_text("")
    assert "more.js" in find_page_damage(page)[0]
    (page / "more.js").unlink()
    path = page / "page.json"
    content = path.read_text()
    path.write_text(content.replace('"parameters": ', '"parameters": 1'))
    assert "do not belong together" in find_page_damage(page)[0]
    path.write_text("{}")
    assert find_page_damage(page) == ["page.json is missing or corrupt"]


def test_a_changed_page_fails_the_verification(gray_export, helpers):
    folder, export = gray_export
    student = helpers.randomize(
        keras.Sequential(
            [keras.Input((4, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(5)],
            name="gray_student",
        )
    )
    verify(folder, student, None)
    (folder / "web" / "app.js").unlink()
    with pytest.raises(VerificationError, match="web: app.js is missing"):
        verify(folder, student, None)


def _runtime_of(folder):
    return folder.parent / "node_modules" / "onnxruntime-web"


def test_a_folder_that_is_not_a_page_is_left_alone(gray_export, tmp_path, runtime_dir):
    folder, export = gray_export
    (folder / "web" / "page.json").write_text("{}")
    with pytest.raises(ValueError, match="not part of the export: web"):
        export()
    with pytest.raises(ValueError, match="holds something else"):
        write_web_page(folder, tmp_path, runtime_dir=runtime_dir)


def test_wrong_arguments(gray_export, runtime_dir, tmp_path, student):
    folder, export = gray_export
    with pytest.raises(ValueError, match="keys of.*'title'"):
        export(web={"name": "x"})
    web = {"runtime_dir": runtime_dir}
    with pytest.raises(ValueError, match="add 'onnx' to the formats"):
        export_student(student, tmp_path / "other", ["tflite"], web=web)
    with pytest.raises(ExportError, match="1 or 3 channels"):
        export_student(student, tmp_path / "other", ["onnx"], web=web)
    assert not (tmp_path / "other").exists()

    (folder / "student.onnx").write_bytes(b"damaged")
    with pytest.raises(ExportError, match="truncated"):
        write_web_page(folder, tmp_path / "page", runtime_dir=runtime_dir)
    with pytest.raises(ExportError, match="manifest.json: missing"):
        write_web_page(tmp_path, tmp_path / "page", runtime_dir=runtime_dir)


def manifest(**changes):
    image = {"name": "image", "shape": [None, 28, 28, 1], "dtype": "float32"}
    logits = {"name": "logits", "shape": [None, 10], "dtype": "float32"}
    return {
        "student": {"name": "student", "parameters": 7},
        "inputs": [image],
        "outputs": [logits],
        "labels": None,
        "normalization": NORMALIZATION,
        "detection": None,
        **changes,
    }


@pytest.mark.parametrize(
    ("labels", "shown"),
    [(["yes"], ["not yes", "yes"]), (["no", "yes"], ["no", "yes"]), (None, None)],
)
def test_labels_of_one_unit(labels, shown):
    """The page shows both classes; the one label is that of the second."""
    one = [{"name": "logits", "shape": [None, 1], "dtype": "float32"}]
    assert describe_page(manifest(outputs=one, labels=labels))["labels"] == shown


@pytest.mark.parametrize(
    ("prediction", "values", "expected"),
    [
        ({"kind": "class", "is_probability": False}, [0, np.log(3)], [0.25, 0.75]),
        ({"kind": "class", "is_probability": True}, [0.25, 0.75], [0.25, 0.75]),
        ({"kind": "threshold", "is_probability": True}, [0.75], [0.25, 0.75]),
        ({"kind": "threshold", "is_probability": False}, [np.log(3)], [0.25, 0.75]),
        ({"kind": "threshold", "is_probability": True}, [0.7, 0.9], [0.7, 0.9]),
        ({"kind": "threshold", "is_probability": False}, [0, np.log(3)], [0.5, 0.75]),
        (None, [0, np.log(3)], [0.25, 0.75]),  # Of an older export.
    ],
)
def test_probabilities_in_javascript(prediction, values, expected):
    found = in_node(f"probabilities({json.dumps(values)}, {json.dumps(prediction)})")
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [({"threshold": 0.5}, [0, 1]), ({"threshold": 0.0}, [1, 1]), (None, [1, 1])],
)
def test_mask_of_one_unit_in_javascript(prediction, expected):
    tensor = "{dims: [1, 1, 2, 1], data: [0.4, 0.6]}"
    found = in_node(f"Array.from(mask({tensor}, {json.dumps(prediction)}).classes)")
    assert found == expected


def in_node(expression):
    """Evaluates an expression with the page's functions, without a browser."""
    if shutil.which("node") is None:
        pytest.skip("needs node on the PATH")
    source = (STATIC / "results.js").read_text()
    program = f"{source}\nconsole.log(JSON.stringify({expression}))"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def with_shape(key, shape, dtype="float32"):
    return {key: [{"name": "image", "shape": shape, "dtype": dtype}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization": None}, "normalization=None"),
        ({"normalization": {"mean": [0.5] * 3, "std": [1.0] * 3}}, "1 numbers each"),
        ({"normalization": {**NORMALIZATION, "std": [0]}}, "Export with normal"),
        ({"normalization": {**NORMALIZATION, "input_range": [0, 1]}}, "input_range"),
        (with_shape("inputs", [None, 4]), "feeds one image"),
        (with_shape("inputs", [None, 8, 8, 1], "int32"), "an input of int32"),
        (with_shape("inputs", [4, 8, 8, 1]), "one image at a time.*for batches of 4"),
        (with_shape("outputs", [None, 4, 4]), "outputs of shape"),
    ],
)
def test_students_that_the_page_cannot_run(changes, message):
    with pytest.raises(ExportError, match=message):
        describe_page(manifest(**changes))


def test_a_batch_of_one_is_an_image():
    page = describe_page(manifest(**with_shape("inputs", [1, 8, 8, 1])))
    assert page["input"]["height"] == 8


def test_tasks():
    assert describe_page(manifest())["drawing"]["margin"] == pytest.approx(1 / 7)
    masks = describe_page(manifest(**with_shape("outputs", [None, 28, 28, 3])))
    assert (masks["task"], masks["drawing"]) == ("segmentation", None)
    boxes = {"box_format": "rel_xyxy", "nms": {"score_threshold": 0.1}}
    found = describe_page(manifest(detection=boxes))
    assert (found["task"], found["nms"]) == ("detection", {"score_threshold": 0.1})
    # Preprocessing is inside, so that none is needed here.
    raw = with_shape("inputs", [None, 8, 8, 3], "uint8")
    assert describe_page(manifest(**raw, normalization=None))["normalization"] is None


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A stand-in for npm, which packs a file that a test has made."""
    archive = tmp_path / "packed.tgz"
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'[ -f "{archive}" ] || {{ echo "ENOTFOUND: no network" >&2; exit 1; }}\n'
        f'cp "{archive}" onnxruntime-web.tgz\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return archive


def pack(archive, folder):
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(fake_runtime(folder), "package/dist")
    return base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()


def test_the_runtime_is_fetched_once(npm, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "SHA512", pack(npm, tmp_path / "source"))
    folder = runtime.find_runtime()
    assert sorted(path.name for path in folder.iterdir()) == sorted(runtime.FILES)
    assert list(folder.parent.iterdir()) == [folder]
    npm.unlink()
    assert runtime.find_runtime() == folder


def test_a_cache_that_was_changed_is_refused(npm, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "SHA512", pack(npm, tmp_path / "source"))
    folder = runtime.find_runtime()
    hashes = {name: fingerprint(folder / name)["sha256"] for name in runtime.FILES}
    monkeypatch.setattr(runtime, "_SHA256", hashes)
    runtime.copy_runtime(folder, tmp_path / "first")
    path = folder / "ort-wasm-simd-threaded.wasm"
    path.write_bytes(path.read_bytes()[:-1] + b"M")
    with pytest.raises(ExportError, match="wasm' is not the file of onnxruntime-web"):
        runtime.copy_runtime(folder, tmp_path / "second")


def test_a_version_that_is_known_is_checked_wherever_it_is(runtime_dir, tmp_path):
    source = runtime_dir / "dist"
    first = source / "ort.wasm.bundle.min.mjs"
    first.write_text(f"/*! ONNX Runtime Web v{runtime.VERSION} */")
    with pytest.raises(ExportError, match="changed or damaged. Remove"):
        runtime.copy_runtime(source, tmp_path / "copy")


def test_an_archive_that_was_changed_is_refused(npm, tmp_path):
    pack(npm, tmp_path / "source")
    with pytest.raises(ExportError, match="not the one that was published"):
        runtime.find_runtime()
    assert list(runtime.cache_folder().parent.iterdir()) == []


def test_without_network_or_npm(npm, monkeypatch):
    with pytest.raises(ExportError, match="--web_runtime.*ENOTFOUND: no network"):
        runtime.find_runtime()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ExportError, match=r"npm.* is not installed\. Install Node"):
        runtime.find_runtime()


def test_a_folder_with_the_runtime(runtime_dir, tmp_path):
    dist = runtime_dir / "dist"
    assert runtime.find_runtime(runtime_dir) == dist == runtime.find_runtime(dist)
    with pytest.raises(ExportError, match="npm install onnxruntime-web@"):
        runtime.find_runtime(tmp_path)
