"""onnxruntime-web, fetched once from the npm registry into a cache."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from keras_diffkd.errors import ExportError
from keras_diffkd.file_hashes import hash_file

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
# Of the package's archive, as the registry has it.
SHA512 = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4C"
    "XAfKYQ=="
)
# Name in the package -> name on the page. The smallest build, which runs in one thread
# where the server sends no headers for cross-origin isolation. Many servers do not know
# `.mjs`, and browsers refuse a module of unknown type.
FILES = {
    "ort.wasm.bundle.min.mjs": "ort.wasm.bundle.min.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
# SHA-256 of these files in that version.
_SHA256 = {
    "ort.wasm.bundle.min.mjs": (
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"
    ),
    "ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
}
_TIMEOUT = 600  # Seconds, for an archive of 33 MB.


def find_runtime(folder=None):
    """Returns a folder with onnxruntime-web, fetching the package if need be.

    Args:
        folder: folder that has the package already: `node_modules/onnxruntime-web`, its
            `dist`, or any with the files of `FILES`. None for the cache, into which
            `npm pack` fetches the package the first time.

    Returns:
        `Path` of the folder that holds the files.

    Raises:
        ExportError: if `folder` does not have the files, or they cannot be fetched.

    Example:

    ```python
    find_runtime("node_modules/onnxruntime-web")  # .../onnxruntime-web/dist
    ```
    """
    if folder is None:
        cached = cache_folder()
        return cached if _is_complete(cached) else _fetch(cached)
    for candidate in (Path(folder), Path(folder) / "dist"):
        if _is_complete(candidate):
            return candidate
    raise ExportError(
        f"The folder for {PACKAGE} does not have {' and '.join(FILES)}. Run `npm "
        f"install {PACKAGE}@{VERSION}` and give its node_modules/{PACKAGE}. "
        f"Received: '{folder}'"
    )


def cache_folder():
    """Returns where the package is kept, in the user's cache folder.

    Example:

    ```python
    cache_folder()  # ~/.cache/keras_diffkd/onnxruntime-web-1.30.0
    ```
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "keras_diffkd" / f"{PACKAGE}-{VERSION}"


def copy_runtime(source, target):
    """Copies the files that the page loads, and says which version they are of.

    Args:
        source: folder, from `find_runtime`.
        target: folder to make.

    Returns:
        dict of `package` and `version`, which is None if the file does not tell.

    Raises:
        ExportError: if they are from the cache, or say they are of `VERSION`, and are
            not the files that were published.

    Example:

    ```python
    copy_runtime(find_runtime(), "page/runtime")["version"]  # "1.30.0"
    ```
    """
    source, target = Path(source), Path(target)
    target.mkdir()
    for name, published in FILES.items():
        shutil.copyfile(source / name, target / published)
    first = source / next(iter(FILES))
    with open(first, encoding="utf-8", errors="replace") as file:
        found = re.search(r"ONNX Runtime Web v([\w.-]+)", file.read(500))
    version = found and found[1]
    if version == VERSION or source == cache_folder():
        _check_intact(source)
    return {"package": PACKAGE, "version": version}


def _check_intact(folder):
    for name, expected in _SHA256.items():
        digest = hash_file(folder / name)
        if digest != expected:
            raise ExportError(
                f"'{folder / name}' is not the file of {PACKAGE} {VERSION}: it was "
                f"changed or damaged. Remove '{folder}' and fetch the package again. "
                f"Expected: sha256 {expected}. Received: {digest}"
            )


def _is_complete(folder):
    return all((folder / name).is_file() for name in FILES)


def _fetch(cached):
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
        archive = _pack(folder)
        found = hashlib.sha512(archive.read_bytes()).digest()
        if base64.b64encode(found).decode() != SHA512:
            raise ExportError(
                f"The archive of {PACKAGE} {VERSION} that npm fetched is not the one "
                f"that was published. {_advice()} Expected: sha512-{SHA512}. "
                f"Received: sha512-{base64.b64encode(found).decode()}"
            )
        unpacked = Path(folder) / "unpacked"
        unpacked.mkdir()
        with tarfile.open(archive) as tar:
            for name in FILES:
                content = tar.extractfile(f"package/dist/{name}")
                (unpacked / name).write_bytes(content.read())
        try:
            os.replace(unpacked, cached)
        except OSError:  # Another process was faster.
            if not _is_complete(cached):
                raise
    return cached


def _pack(folder):
    """Lets npm download the package's archive into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise ExportError(
            f"The web page needs {PACKAGE} {VERSION}, and npm, which would fetch it, "
            f"is not installed. {_advice()}"
        )
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            [*command, f"--pack-destination={folder}", "--loglevel=error"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        message = done.stderr
    except subprocess.TimeoutExpired:
        message = f"no answer after {_TIMEOUT} seconds"
    archives = list(Path(folder).glob("*.tgz"))
    if len(archives) != 1:
        raise ExportError(
            f"npm could not fetch {PACKAGE} {VERSION}, which the web page needs. "
            f"{_advice()} Received: {' '.join(message.split())[:400]}"
        )
    return archives[0]


def _advice():
    return (
        "Install Node.js and try again with a network, or name a folder that has the "
        "package (`runtime_dir`, on the command line --web_runtime); it is needed only "
        "once."
    )
