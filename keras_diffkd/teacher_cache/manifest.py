"""Describes what a cache holds, and tells two descriptions apart."""

import json
from pathlib import Path

from keras_diffkd.atomic_files import written_aside
from keras_diffkd.features.weights_fingerprint import hash_weights

FILE_NAME = "manifest.json"
# Raise it when the files change such that older code cannot read them.
FORMAT = "keras-diffkd teacher cache 1"


def describe(teacher, preprocess, views, contents):
    """Returns a dict for JSON with everything that stored outputs depend on.

    Args:
        teacher: The teacher, a `keras.Model`.
        preprocess: Callable on the batch of images in front of the teacher, or `None`.
        views: `FixedViews`.
        contents: Dict with `classes`, `dtype`, `top_k`, `features`, `pooled` and
            `kinds`.
    """
    return {
        "teacher": describe_teacher(teacher, preprocess),
        "data": views.description,
        "contents": contents,
    }


def describe_teacher(teacher, preprocess):
    """Returns the part of `describe` about the teacher."""
    name = getattr(preprocess, "__qualname__", type(preprocess).__qualname__)
    return {
        "weights (SHA-256)": hash_weights(teacher),
        "dtype": teacher.dtype_policy.name,
        "preprocess": None if preprocess is None else name,
    }


def write_manifest(folder, manifest):
    """Writes a manifest, which replaces the old one at once."""
    with written_aside(Path(folder) / FILE_NAME) as aside:
        aside.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder):
    """Reads a manifest.

    Raises:
        FileNotFoundError: If the folder has no manifest.
        ValueError: If the manifest is damaged, or of another version.
    """
    path = Path(folder) / FILE_NAME
    if not path.exists():
        raise FileNotFoundError(
            f"{folder} is not a teacher cache: it has no {FILE_NAME}. Build one with "
            "`CacheBuilder` or diffkd-cache-teacher."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found = manifest["format"]
        if found == FORMAT:
            _check_types(manifest)
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}). Copy it again from "
            "where the cache was built, or build the cache again in another folder."
        ) from error
    if found != FORMAT:
        raise ValueError(
            f"{folder} must be a cache of the format {FORMAT!r}. Received: {found!r}. "
            "Build the cache again in another folder."
        )
    return manifest


def is_finished(folder):
    """Returns whether a folder holds a cache to which nothing is left to add.

    Raises:
        ValueError: If the manifest is damaged, or of another version.
    """
    if not (Path(folder) / FILE_NAME).exists():
        return False
    done, total = count_views(read_manifest(folder))
    return done == total


def count_views(manifest):
    """Returns how many views the finished files hold, and how many there are."""
    data = manifest["data"]
    done = sum(shard["views"] for shard in manifest["shards"])
    return done, data["num_images"] * data["views"]


def _check_types(manifest):
    for name in ("teacher", "data", "contents"):
        if not isinstance(manifest[name], dict):
            raise TypeError(f"{name} is not described")
    for name in ("classes", "dtype", "top_k", "features", "pooled", "kinds"):
        manifest["contents"][name]
    manifest["data"]["num_images"] + manifest["data"]["views"]
    if not isinstance(manifest["views_per_shard"], int):
        raise TypeError("views_per_shard is not an integer")
    for shard in manifest["shards"]:
        if shard["file"] != Path(shard["file"]).name:
            raise ValueError(f"{shard['file']} is not a file of the folder")
        if not isinstance(shard["views"], int) or not isinstance(shard["sha256"], str):
            raise TypeError(f"{shard['file']} is not described")


def differences(found, wanted):
    """Lists the differences between two descriptions, as strings.

    Args:
        found: Dict of a manifest.
        wanted: Dict of the same form, or a part of it.
    """
    told = []
    for part, values in wanted.items():
        of_cache = found.get(part, {})
        told += [
            f"{part} {name}: {_short(of_cache.get(name))} in the cache, now "
            f"{_short(value)}"
            for name, value in values.items()
            # JSON has lists for tuples.
            if json.loads(json.dumps(value)) != of_cache.get(name)
        ]
    return told


def check_same(folder, found, wanted):
    """Raises `ValueError` that names each difference between two descriptions."""
    told = differences(found, wanted)
    if told:
        raise ValueError(
            f"The teacher cache {folder} was built for something else. Received: "
            f"{'; '.join(told)}. Use the settings that it was built with, or build "
            "another cache in another folder."
        )


def _short(value):
    text = json.dumps(value)
    # Fingerprints are told apart by their beginning.
    return f'{text[:13]}..."' if len(text) == 66 and text[0] == '"' else text
