"""JSON files that hold the checksum of their own content."""

import hashlib
import json

KEY = "sha256"


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
    write_sealed(folder / "manifest.json", {"artefacts": {}})
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
