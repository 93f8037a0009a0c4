"""Fingerprints: of files and folders, and of JSON files inside themselves."""

import hashlib
import json
from pathlib import Path

from keras_diffkd.file_hashes import hash_file

KEY = "sha256"


def fingerprint(path):
    """Returns size in bytes and sha256 of a file, or of a folder with all its files.

    The sha256 of a folder is that of the lines `<sha256>  <relative path>` of its
    files, sorted by path: what `sha256sum` prints for them.

    Example:

    ```python
    fingerprint("export/saved_model")  # {"size": ..., "sha256": ..., "files": {...}}
    ```
    """
    path = Path(path)
    if path.is_file():
        return {"size": path.stat().st_size, "sha256": hash_file(path)}
    files = {
        file.relative_to(path).as_posix(): fingerprint(file)
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
    lines = [f"{files[name]['sha256']}  {name}\n" for name in sorted(files)]
    return {
        "size": sum(file["size"] for file in files.values()),
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "files": files,
    }


def find_damage(path, entry):
    """Returns why a file or folder is not the one that had a fingerprint.

    Args:
        path: file or folder.
        entry: dict of `fingerprint`; what else it holds does not count.

    Returns:
        list of strings, empty if nothing is wrong.

    Example:

    ```python
    find_damage("export/student.onnx", fingerprint("export/student.onnx"))  # []
    ```
    """
    path = Path(path)
    if "files" not in entry:
        return _find_file_damage(path, entry)
    if not path.is_dir():
        return ["missing"]
    reasons = [
        f"{name} {reason}"
        for name, file_entry in entry["files"].items()
        for reason in _find_file_damage(path / name, file_entry)
    ]
    found = fingerprint(path)
    reasons += [
        f"{name} is not in the manifest"
        for name in sorted(set(found["files"]) - set(entry["files"]))
    ]
    if not reasons and found["sha256"] != entry["sha256"]:
        reasons = ["sha256 mismatch"]
    return reasons


def _find_file_damage(path, entry):
    if not path.is_file():
        return ["missing"]
    found = fingerprint(path)
    if found["size"] < entry["size"]:
        return [f"truncated: {found['size']} of {entry['size']} bytes"]
    if found["sha256"] != entry["sha256"]:
        return ["corrupt: sha256 mismatch"]
    return []


def seal(content):
    """Returns a dict of JSON values with the SHA-256 of the others among them.

    The checksum is that of the content as compact JSON with sorted keys: it does not
    depend on how the file is laid out.

    Args:
        content: dict. A checksum that it has already is replaced.

    Example:

    ```python
    seal({"a": 1})["sha256"] == seal({"sha256": "", "a": 1})["sha256"]  # True
    ```
    """
    # As it will be read: tuples are lists, and keys strings.
    content = json.loads(json.dumps(content, allow_nan=False))
    return {**content, KEY: _checksum(content)}


def find_break(content):
    """Returns why the content of a sealed file is not what was written; None if it is.

    Args:
        content: dict, as it was read.

    Example:

    ```python
    find_break({**seal({"a": 1}), "a": 2})  # "corrupt: its content and its sha256 ..."
    ```
    """
    if KEY not in content:
        return f"has no '{KEY}' of its own: it is from an older release, or was edited"
    if content[KEY] != _checksum(content):
        return (
            f"corrupt: its content and its '{KEY}' do not belong together. Copy it "
            "again, or export again"
        )
    return None


def write_sealed(path, content):
    """Writes a dict of JSON values, sealed, and returns it.

    Example:

    ```python
    write_sealed(folder / "manifest.json", {"artifacts": {}})
    ```
    """
    content = seal(content)
    text = json.dumps(content, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return content


def _checksum(content):
    others = {key: content[key] for key in content if key != KEY}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
