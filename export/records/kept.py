"""Finds what of an older export stays beside the artifacts of a new one."""

import shutil

from keras_diffkd.errors import ManifestError

from ..formats import FORMATS
from .manifest import Manifest
from .page import FOLDER as PAGE
from .page import is_page

# The parts of a manifest that hold for all artifacts.
_SHARED = (
    "student",
    "input",
    "batch_size",
    "inputs",
    "outputs",
    "normalization",
    "labels",
    "predictions",
    "detection",
)


def find_kept(output_dir, manifest, formats, with_page):
    """Finds the artifacts of an older export that a new one does not replace.

    Args:
        output_dir: folder of the exports, which passed `check_target`.
        manifest: `Manifest` of the new export.
        formats: list of names, the formats of the new export.
        with_page: bool, whether the new export has a web page.

    Returns:
        `(artifacts, keeps_page)`: dict of `Artifact` by format, and whether the older
        web page stays.

    Raises:
        ValueError: if the older export is of another student or made with other
            settings, so that nothing of it can stay.

    Example:

    ```python
    find_kept("runs/digits/export", manifest, ["onnx"], with_page=False)
    ```
    """
    try:
        old = Manifest.read(output_dir)
    except ManifestError:
        return {}, False
    kept = {name: old.artifacts[name] for name in old.artifacts if name not in formats}
    keeps_page = not with_page and is_page(output_dir / PAGE)
    lost = [artifact.file for artifact in kept.values()] + [PAGE] * keeps_page
    before, now = old.to_json(), manifest.to_json()
    changed = [key for key in _SHARED if before[key] != now[key]]
    if lost and changed:
        raise ValueError(
            f"'{output_dir}' holds {', '.join(lost)} of another student or other "
            f"settings (different: {', '.join(changed)}), which cannot stay beside the "
            "new files. Pass replace=True (--replace) to remove them, or choose "
            "another folder. Nothing was written"
        )
    for name, artifact in kept.items():
        held = old.metadata(FORMATS[name])
        artifact.own_metadata = {key: held.get(key) for key in ("source", "versions")}
    return kept, keeps_page


def copy_kept(output_dir, folder, artifacts, keeps_page):
    """Copies what `find_kept` found into the folder of the new export.

    Example:

    ```python
    copy_kept("runs/digits/export", folder, artifacts, keeps_page=True)
    ```
    """
    names = [artifact.file for artifact in artifacts.values()] + [PAGE] * keeps_page
    for name in names:
        path = output_dir / name
        if path.is_dir():
            shutil.copytree(path, folder / name)
        elif path.exists():  # The verification tells that a file is missing.
            shutil.copy2(path, folder / name)
