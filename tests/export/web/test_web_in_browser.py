"""The web page in headless Chromium, against the Keras student."""

import keras
import numpy as np
import pytest
from helpers.web_pages import Page, chromium, require_runtime, served
from PIL import Image

from keras_diffkd import datasets
from keras_diffkd.export import decoded, export_student, write_web_page
from keras_diffkd.models import build_model

SCENES = {"mean": [0.5] * 3, "std": [2.5] * 3, "input_range": [0, 255]}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    require_runtime()
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A trained student, its export with the page, and images of the test split."""
    runtime = require_runtime()
    root = tmp_path_factory.mktemp("digits")
    data = datasets.load_classification(
        "digits", data_dir=str(root / "data"), batch_size=64
    )
    keras.utils.set_random_seed(0)
    student = build_model("digits_student", data.image_shape, data.num_classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile(keras.optimizers.Adam(0.01), loss)
    student.fit(
        data.train,
        epochs=6,
        steps_per_epoch=data.steps_per_epoch,
        shuffle=False,
        verbose=0,
    )
    images, labels = (array.numpy()[:12] for array in next(iter(data.test)))
    export_student(
        student,
        root / "export",
        ["onnx"],
        labels=data.label_names,
        normalization=data.normalization,
        web={"samples": (images, labels), "runtime_dir": runtime},
    )
    return student, root / "export" / "web", images


def probabilities(student, images):
    logits = student(images, training=False)
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def normalize(pixels):
    """Pixels as the data set `digits` normalizes them."""
    return ((pixels / 255.0 - 0.3049) / 0.3756).astype("float32")


def test_predictions_are_the_keras_students(browser, digits):
    student, folder, images = digits
    expected = probabilities(student, images)
    assert len(set(expected.argmax(-1))) > 3

    with served(folder) as (address, asked):
        page = Page(browser, address)
        assert page.text("h1") == "digits student"
        assert page.text("#summary") == "Draw something"
        assert page.rows() == [], "nothing is said of an empty pad"
        for index, of_keras in enumerate(expected):
            page.choose_sample(index)
            found = page.probabilities()
            assert found.argmax() == of_keras.argmax()
            np.testing.assert_allclose(found, of_keras, atol=1e-3)
            assert page.text("#summary") == str(of_keras.argmax())
        assert float(page.text("#time").split(" ms")[0]) > 0

    assert page.complaints() == []
    assert all(path.startswith("/") for path in asked)


def test_drawing(browser, digits):
    """Strokes become bright ink in the middle, and are what the student is given."""
    from selenium.webdriver import ActionChains

    student, folder, _ = digits
    with served(folder) as (address, _):
        page = Page(browser, address)
        [pad] = page.find("#pad")
        steps = [(-60, -60), (0, 120), (120, 0), (0, -120), (-120, 0)]
        with page.another_run():
            move = ActionChains(browser).move_to_element_with_offset(pad, *steps[0])
            move.click_and_hold()
            for dx, dy in steps[1:]:
                move.move_by_offset(dx, dy)
            move.release().perform()
        page.wait(lambda _: page.seen(8, 8)[0, 4, 0] > 150)
        check_ring(page, student)

        with page.another_run():
            page.find("#clear")[0].click()
        assert page.text("#summary") == "Draw something"
        assert page.rows() == []


def test_drawing_with_the_keyboard(browser, digits):
    from selenium.webdriver import ActionChains, Keys

    student, folder, _ = digits
    with served(folder) as (address, _):
        page = Page(browser, address)
        page.evaluate("document.getElementById('pad').focus()")
        sides = (Keys.LEFT, Keys.DOWN, Keys.RIGHT, Keys.UP)
        keys = " " + "".join(key * 8 for key in sides) + " "
        ActionChains(browser).send_keys(keys).perform()
        page.wait(lambda _: page.seen(8, 8)[:, 0].min() > 100)
        check_ring(page, student)

        with page.another_run():
            ActionChains(browser).send_keys(Keys.DELETE).perform()
        assert page.text("#summary") == "Draw something"


def check_ring(page, student):
    seen = page.seen(8, 8)[..., :1]
    for edge in (seen[0], seen[-1], seen[:, 0], seen[:, -1]):
        assert edge.max() > 100  # Where the training images have theirs.
    assert seen[3:5, 3:5].max() == 0
    [of_keras] = probabilities(student, normalize(seen[None]))
    np.testing.assert_allclose(page.probabilities(), of_keras, atol=1e-3)


def test_pictures_from_files(browser, digits, tmp_path):
    student, folder, _ = digits
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 1)).astype("uint8")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "digit.png")
    (tmp_path / "notes.png").write_text("no picture")
    with served(folder) as (address, _):
        page = Page(browser, address)
        page.choose_file(tmp_path / "digit.png")
        [of_keras] = probabilities(student, normalize(pixels[None]))
        np.testing.assert_allclose(page.probabilities(), of_keras, atol=1e-3)

        page.find("#file")[0].send_keys(str(tmp_path / "notes.png"))
        page.wait(lambda _: "notes.png is not a picture" in page.text("#status"))


def test_phones_do_not_scroll_sideways(browser, digits):
    _, folder, _ = digits
    with served(folder) as (address, _):
        device = {"width": 320, "height": 640, "deviceScaleFactor": 2, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
        try:
            page = Page(browser, address)
            widths = "return [document.documentElement.scrollWidth, innerWidth]"
            assert page.evaluate(widths) == [320, 320]
        finally:
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_students_of_raw_pixels(browser, tmp_path):
    """Their preprocessing is inside; the page gives them bytes. Names are text."""
    evil = "<img src=x onerror=\"document.body.id = 'evil'\">"
    keras.utils.set_random_seed(1)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3)).astype("uint8")
    student = keras.Sequential(
        [
            keras.Input((5, 6, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    runtime = require_runtime()
    web = {"samples": pixels, "runtime_dir": runtime, "title": evil}
    labels = [evil, "b", f"c{evil}"]
    export_student(
        student, tmp_path / "export", ["onnx"], samples=pixels, labels=labels, web=web
    )
    with served(tmp_path / "export" / "web") as (address, _):
        page = Page(browser, address)
        assert page.text("h1") == evil
        page.choose_sample(1)
        assert sorted(row["name"] for row in page.rows()) == sorted(labels)
        assert page.find("#classes img, h1 img, #summary img") == []
        assert page.evaluate("return document.body.id") == ""
        expected = probabilities(student, pixels)[1]
        np.testing.assert_allclose(page.probabilities(), expected, atol=1e-3)
    assert page.complaints() == []


def export_scenes(model, folder, pixels, **options):
    images = ((pixels / 255 - 0.5) / 2.5).astype("float32")
    export_student(
        model,
        folder / "export",
        ["onnx"],
        samples=images,
        normalization=SCENES,
        tolerance=1e-3,
        **options,
    )
    write_web_page(
        folder / "export",
        folder / "page",
        samples=images,
        runtime_dir=require_runtime(),
    )
    return folder / "page", images


@pytest.fixture(scope="module")
def scene_pixels():
    return np.random.default_rng(3).integers(0, 256, (2, 64, 64, 3))


def test_segmenter(browser, segmenter, scene_pixels, tmp_path):
    labels = ["background", *map(str, range(10))]
    folder, images = export_scenes(segmenter, tmp_path, scene_pixels, labels=labels)
    logits = keras.ops.convert_to_numpy(segmenter(images, training=False))

    with served(folder) as (address, _):
        page = Page(browser, address)
        page.choose_sample(1)
        rows, seen = page.rows(), page.seen(64, 64)
    assert page.complaints() == []

    mask = logits[1].argmax(-1)
    found = {labels[k] for k in np.unique(mask)}
    assert found == {row["name"] for row in rows}
    # The background is as it was, and all else is covered with color.
    background = mask == 0
    np.testing.assert_array_equal(seen[background], scene_pixels[1][background])
    assert (seen[~background] != scene_pixels[1][~background]).any(-1).mean() > 0.95


@pytest.mark.parametrize("nms", [None, {"score_threshold": 0.005}])
def test_detector(nms, browser, detector, scene_pixels, tmp_path):
    folder, images = export_scenes(detector, tmp_path, scene_pixels, nms=nms)
    options = {"max_detections": 100, "iou_threshold": 0.5, "score_threshold": 0.005}
    model = decoded(detector, options)
    expected = {
        name: keras.ops.convert_to_numpy(output)[0]
        for name, output in model(images[:1], training=False).items()
    }
    # Between two of the best.
    lowest = float(expected["scores"][20:22].mean())
    with served(folder) as (address, _):
        page = Page(browser, address)
        page.choose_sample(0)
        page.evaluate(
            "const slider = document.getElementById('threshold');"
            "slider.min = 0; slider.step = 'any';"
            "slider.value = arguments[0]; slider.dispatchEvent(new Event('input'));",
            lowest,
        )
        rows, seen = page.rows(), page.seen(64, 64)
    assert page.complaints() == []

    count = int((expected["scores"] >= lowest).sum())
    assert len(rows) == count == 21
    for row, box, score in zip(
        rows, expected["boxes"][:count], expected["scores"], strict=False
    ):
        np.testing.assert_allclose(float(row["score"]), score, atol=1e-3)
        found = [float(part) for part in row["box"].split()]
        np.testing.assert_allclose(found, box, atol=1e-2)
    assert (seen != scene_pixels[0]).any()
