"""Folders and browsers for the tests of the web page."""

import base64
import contextlib
import functools
import http.server
import io
import os
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from keras_diffkd.export.web import runtime

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def fake_runtime(folder):
    """A folder that looks as if it had onnxruntime-web."""
    folder.mkdir(parents=True)
    (folder / "ort.wasm.bundle.min.mjs").write_text("/*! ONNX Runtime Web v9.8.7 */")
    (folder / "ort-wasm-simd-threaded.wasm").write_bytes(b"\0asm")
    return folder


def require_runtime():
    """Returns where onnxruntime-web is; skips the test where it is not."""
    given = os.environ.get("DIFFKD_WEB_RUNTIME")
    if given or all((runtime.cache_folder() / name).exists() for name in runtime.FILES):
        return runtime.find_runtime(given)
    return pytest.skip(
        "onnxruntime-web is not here: run `npm install "
        f"{runtime.PACKAGE}@{runtime.VERSION}` and set DIFFKD_WEB_RUNTIME to "
        "node_modules/onnxruntime-web"
    )


@contextlib.contextmanager
def chromium(profile):
    """A headless Chromium; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    binary = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in (*OPTIONS, f"--user-data-dir={profile}", "--window-size=1000,1000"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    browser = webdriver.Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()


@contextlib.contextmanager
def served(folder):
    """The address of a plain file server, and the list of paths it was asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, template, *values):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/index.html", asked
        server.shutdown()
        thread.join()


class Page:
    """The page in a browser, as a user has it."""

    def __init__(self, browser, address):
        from selenium.webdriver.support.wait import WebDriverWait

        self.browser = browser
        self.wait = WebDriverWait(browser, 60).until
        browser.get(address)
        self.wait(lambda _: self.runs or self.find("#status.error"))
        assert self.find("#status.error") == []

    @property
    def runs(self):
        return int(self.evaluate("return document.body.dataset.runs ?? 0"))

    def evaluate(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def find(self, selector):
        return self.browser.find_elements("css selector", selector)

    def text(self, selector):
        return self.find(selector)[0].text

    @contextlib.contextmanager
    def another_run(self):
        before = self.runs
        yield
        self.wait(lambda _: self.runs > before)
        self.wait(lambda _: self.find("#output[aria-busy=false]"))

    def choose_sample(self, index):
        button = self.find("#samples button")[index]
        button.click()
        self.wait(lambda _: button.get_attribute("aria-pressed") == "true")
        self.wait(lambda _: self.find("#output[aria-busy=false]"))

    def choose_file(self, path):
        with self.another_run():
            self.find("#file")[0].send_keys(str(path))

    def rows(self):
        return self.evaluate(
            "return [...document.querySelectorAll('#classes li')].map(row => "
            "({...row.dataset, name: row.querySelector('.name').textContent}))"
        )

    def probabilities(self):
        rows = sorted(self.rows(), key=lambda row: int(row["index"]))
        return np.array([float(row["probability"]) for row in rows])

    def seen(self, height, width):
        """The pixels that the page shows as what the student sees."""
        url = self.evaluate("return document.getElementById('view').toDataURL()")
        content = base64.b64decode(url.split(",")[1])
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        factor = pixels.shape[0] // height
        middle = slice(factor // 2, None, factor)
        return pixels[middle, middle][:height, :width]

    def complaints(self):
        """What the browser's console has, such as files that were not there."""
        return [entry["message"] for entry in self.browser.get_log("browser")]
