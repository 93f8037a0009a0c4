"""Writes a folder that runs a student in the browser, from any static file server."""

import shutil
from pathlib import Path

from keras_diffkd.errors import ExportError, ManifestError

from ..records.fingerprints import find_damage, fingerprint, write_sealed
from ..records.folder import replacing
from ..records.manifest import read_manifest
from ..records.page import FILE_NAME, describe_page, is_page
from .pictures import write_pictures
from .runtime import copy_runtime, find_runtime

STATIC = Path(__file__).parent / "static"
LICENSE = "onnxruntime_license.txt"
RUNTIME = "runtime"


def write_web_page(
    export_dir,
    output_dir,
    *,
    title=None,
    samples=None,
    drawing=None,
    runtime_dir=None,
):
    """Writes a page that runs the ONNX artifact of an export in the browser.

    Digits and letters are drawn; other classifiers, segmenters and detectors take
    pictures. The folder has everything, so that it works offline, and pictures stay in
    the browser. It appears when it is complete, and replaces an older page.

    Args:
        export_dir: folder that `export_student` wrote, with "onnx" among its formats
            and, unless the student takes uint8 pixels, with `normalization`.
        output_dir: folder for the page: absent, empty, or an older page.
        title: str, heading of the page; None for the student's name.
        samples: images to try, as the student takes them, or `(images, targets)`; they
            are published with the page. None for no samples.
        drawing: bool, whether the page has an area to draw on, or is for pictures; None
            for an area if the images are small and gray and the classes are digits or
            letters.
        runtime_dir: folder that has the npm package onnxruntime-web, for use without
            network; None to fetch it once with `npm pack` (see `find_runtime`).

    Returns:
        dict, the content of `page.json`.

    Raises:
        ValueError: if `output_dir` holds anything else, or `samples` are not the
            student's images.
        ExportError: if the export has no intact ONNX file, the page cannot show the
            student, or onnxruntime-web is not to be had.

    Example:

    ```python
    write_web_page("runs/digits/export", "page", samples=images[:8])
    # python -m http.server --directory page
    ```
    """
    export_dir, output_dir = Path(export_dir), Path(output_dir).resolve()
    check_page_folder(output_dir)
    model = _find_model(export_dir)
    page = describe_page(read_manifest(export_dir), title, drawing)
    runtime = find_runtime(runtime_dir)
    with replacing(output_dir) as folder:
        for path in STATIC.iterdir():
            if path.name != LICENSE:
                shutil.copyfile(path, folder / path.name)
        shutil.copyfile(model, folder / model.name)
        page["model"] = model.name
        page["samples"] = (
            [] if samples is None else write_pictures(folder / "samples", page, samples)
        )
        page["runtime"] = copy_runtime(runtime, folder / RUNTIME)
        shutil.copyfile(STATIC / LICENSE, folder / RUNTIME / "LICENSE.txt")
        page["files"] = fingerprint(folder)["files"]
        return write_sealed(folder / FILE_NAME, page)


def prepare_page(options, manifest, formats):
    """Finds out what a page inside an export needs, before anything is written.

    Args:
        options: dict of arguments of `write_web_page`.
        manifest: `Manifest` of the export.
        formats: list of names.

    Returns:
        dict of arguments of `write_web_page`.

    Raises:
        ValueError: if the options are others, or the ONNX file is not among the
            formats.
        ExportError: as `write_web_page` does.

    Example:

    ```python
    prepare_page({"title": "Digits"}, manifest, ["onnx"])
    ```
    """
    known = ("title", "samples", "drawing", "runtime_dir")
    if not isinstance(options, dict) or set(options) - set(known):
        raise ValueError(
            f"Expected `web` to be None or a dict with keys of {list(known)}. "
            f"Received: web={options!r}"
        )
    if "onnx" not in formats:
        raise ValueError(
            "The web page runs student.onnx: add 'onnx' to the formats. Received: "
            f"formats={formats} with a web page"
        )
    describe_page(manifest.to_json(), drawing=options.get("drawing"))
    return {**options, "runtime_dir": find_runtime(options.get("runtime_dir"))}


def check_page_folder(output_dir):
    """Raises `ValueError` if a folder holds anything but an older page.

    Example:

    ```python
    check_page_folder(Path("page"))
    ```
    """
    if not output_dir.exists() or is_page(output_dir):
        return
    if not output_dir.is_dir() or any(output_dir.iterdir()):
        raise ValueError(
            "The folder for the web page holds something else. Choose another folder, "
            f"or move its content away. Received: '{output_dir}'"
        )


def _find_model(export_dir):
    try:
        artifacts = read_manifest(export_dir)["artifacts"]
    except ManifestError as error:
        raise ExportError(
            "The web page is made from a folder that `export_student` wrote. Received: "
            f"'{export_dir}' (manifest.json: {error})"
        ) from error
    if "onnx" not in artifacts:
        raise ExportError(
            "The web page runs student.onnx. Export with 'onnx' among the formats. "
            f"Received: '{export_dir}' with {', '.join(artifacts)}"
        )
    path = export_dir / artifacts["onnx"]["file"]
    reasons = find_damage(path, artifacts["onnx"])
    if reasons:
        raise ExportError(
            f"The file for the web page is not the one that was verified; export "
            f"again. Received: '{path}' ({', '.join(reasons)})"
        )
    return path
