"""Records in a run which stored outputs of the teacher its student learned from."""

import json

from keras_diffkd.atomic_files import written_aside

FILE_NAME = "teacher_cache.json"


def write_cache_record(folder, cache):
    """Writes the description of a cache, which may be deleted after the training.

    Args:
        folder: `Path` of the run.
        cache: `TeacherCache`.
    """
    parts = {name: cache.manifest[name] for name in ("teacher", "data", "contents")}
    with written_aside(folder / FILE_NAME) as aside:
        aside.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")


def describe_cache(folder):
    """Returns the recorded cache of a run as text, or `None` without one.

    Args:
        folder: `Path` of the run.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    contents, views = record["contents"], record["data"]["views"]
    logits = f"all {contents['classes']} logits"
    if contents["top_k"] is not None:
        logits = f"the {contents['top_k']} largest of {contents['classes']} logits"
    features = [
        f"{'mean of ' if tap in contents['pooled'] else ''}{tap}"
        for tap in contents["features"]
    ]
    return (
        f"stored, {views} {'view' if views == 1 else 'views'} of each image, "
        f"{contents['dtype']}: {', '.join([logits, *features])}"
    )
