"""Opens the data set that a user names by its path."""

import collections
import hashlib
import json
import os
import sys
import typing

from keras_diffkd.atomic_files import written_aside
from keras_diffkd.datasets.folders.builder import build, data_root
from keras_diffkd.datasets.folders.division import DEFAULT, divided, is_share
from keras_diffkd.datasets.folders.scan import changes, examined, repeated
from keras_diffkd.datasets.sizes import size_question

# Raise it when the same files give other examples.
_VERSION = 1
# From this number on, examining images takes long enough to be announced.
_MANY = 2000


class UserData(typing.NamedTuple):
    """Holds an opened data set of a user.

    Attributes:
        builder: Prepared `tfds.core.DatasetBuilder`.
        test_split: String.
        problems: List of strings, what to warn of.
    """

    builder: object
    test_split: str
    problems: list


def open_layout(layout, data_dir, test_split, bad_images, image_size):
    """Examines and prepares the images of a layout, if that was not done before.

    Args:
        layout: `Layout`.
        data_dir: Folder of prepared data sets, or `None` for that of TFDS.
        test_split: A split, a share of the images, or `None`.
        bad_images: "skip" or "refuse".
        image_size: The size that the user gave, or `None`.

    Returns:
        `UserData`.

    Raises:
        ValueError: If an image, or the data set, cannot be used.
    """
    share, test_split = _share(layout, test_split)
    known = _Known(layout, data_dir, share, bad_images)
    record = known.read()
    examples = None
    if record is None:
        examples, record = _examine(layout, share, bad_images)
    sizes = record["sizes"]
    if len(sizes) > 1 and image_size is None:
        counts = {tuple(size): count for *size, count in sizes}
        raise ValueError(size_question(layout.path, counts))
    size = tuple(sizes[0][:2]) if len(sizes) == 1 else (None, None)
    settled = record["settled"]
    builder = build(
        layout.kind,
        record["fingerprint"],
        layout.all_features(size, settled, record["channels"]),
        examples,
        lambda example: layout.target(example, settled),
        data_dir,
        layout.path,
    )
    known.write(record)
    return UserData(builder, test_split, record["problems"])


def _share(layout, test_split):
    """Returns the share of images to test on, or `None`, and the split to test on."""
    splits = {example.split for example in layout.examples} - {"unlabeled"}
    if is_share(test_split):
        if splits != {"train"}:
            raise ValueError(
                f"{layout.path} has the splits {sorted(splits)}, so its images are "
                f"divided already. Received: test_split={test_split!r} "
                f"(--test_split={test_split}). Leave it out, or name a split."
            )
        return test_split, "test"
    if test_split is None and splits == {"train"}:
        return DEFAULT, "test"
    if test_split is None:
        test_split = "test" if "test" in splits else "validation"
    return None, test_split


def _examine(layout, share, bad_images):
    """Returns the usable examples, and a record for JSON of what was found."""
    count = len(layout.examples)
    if count >= _MANY:
        print(f"Examining {count:,} images in {layout.path}", file=sys.stderr)
    examples, problems = examined(layout.examples, layout.examine_target, bad_images)
    _check_usable(layout, examples, problems)
    if share:
        examples = divided(examples, share, layout.stratum)
        if not any(example.split == "test" for example in examples):
            raise ValueError(
                f"{layout.path} has too few images to test on {share} of them. "
                f"Received: {len(examples)}. Add images, or folders train and test."
            )
    settled = layout.settle(examples)
    channels = layout.channels or max(example.file.channels for example in examples)
    files = [example.file for example in examples]
    sizes = collections.Counter((file.height, file.width) for file in files)
    notes = [*layout.notes, *settled["notes"], *problems]
    notes += [*repeated(examples), *changes(examples)]
    return examples, {
        "fingerprint": _fingerprint(layout, settled, channels, examples),
        "channels": channels,
        "sizes": [[*size, count] for size, count in sizes.most_common()],
        "settled": settled,
        "problems": [f"{layout.path}: {note}" for note in notes],
    }


def _check_usable(layout, examples, problems):
    """Raises `ValueError` if nothing is left of a split, or of what it should have."""
    missing = [
        f"in the split {split!r}"
        for split in dict.fromkeys(example.split for example in layout.examples)
        if not any(example.split == split for example in examples)
    ]
    trained = {layout.stratum(e) for e in examples if e.split == "train"}
    missing += [text for key, text in layout.strata().items() if key not in trained]
    if missing:
        raise ValueError(
            f"{layout.path} has no usable images {missing[0]}. {' '.join(problems)}"
        )


def _fingerprint(layout, settled, channels, examples):
    """Returns a hash of everything that the prepared data depends on."""
    described = [
        [
            os.path.relpath(example.image, layout.root),
            example.split,
            layout.identity(example),
            example.file.sha256,
        ]
        for example in examples
    ]
    return _hash([_VERSION, settled["label_names"], channels, described])


def _hash(content):
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _state(path):
    """Returns the size and the time of a file, or `None` if it cannot be read."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


class _Known:
    """Remembers what was found in files that did not change since."""

    def __init__(self, layout, data_dir, share, bad_images):
        paths = [example.image for example in layout.examples]
        key = _hash(
            [
                _VERSION,
                layout.path,
                [[str(e.image), e.split, e.target] for e in layout.examples],
                [_state(path) for path in [*paths, *layout.files]],
                layout.strata(),
                layout.channels,
                share,
                bad_images,
            ]
        )
        self._builders = data_root(data_dir) / layout.kind
        self._path = self._builders / "found" / f"{key}.json"

    def read(self):
        """Returns the record, or `None` if there is none or its data is missing."""
        try:
            record = json.loads(self._path.read_text(encoding="utf-8"))
            prepared = self._builders / record["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if any(prepared.glob("*/dataset_info.json")) else None

    def write(self, record):
        """Writes the record, unless it is there."""
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(self._path) as aside:
                aside.write_text(json.dumps(record), encoding="utf-8")
