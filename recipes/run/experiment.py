"""Records an experiment as flags, compares it and adopts it again."""

from pathlib import Path

from keras_diffkd.atomic_files import written_aside
from keras_diffkd.datasets.folders.paths import is_path

from .. import tasks
from ..flags import FLAGS, shared

# Flags that may change when an experiment resumes, here or on another machine.
_PLACE = (
    "run_dir",
    "data_dir",
    "download",
    "debug",
    "strategy",
    "cluster_timeout",
    "virtual_devices",
    "jit_compile",
    "picture_every",
    "max_skipped_steps",
    "save_every",
    # A snapshot knows whether its training read a cache, and which outputs.
    "teacher_cache",
)
# Flags that only the user of a command sets, never a file of a run.
_TRUST = ("allow_classes", "allow_unsafe_formats")
# Flags that matter to the training of a teacher alone.
_TEACHER = ("head_epochs", "fine_tune_learning_rate")
# Flags that do not matter to the training of a teacher.
_DISTILLATION = (
    "student",
    "unlabeled",
    "max_latency_ms",
    "max_kb",
    "importance",
    "teacher_dtype",
    "cache_views",
    "cache_seed",
    "method",
    "teacher_tap",
    "student_tap",
    "teacher_taps",
    "student_taps",
    "representative_keys",
    "student_convolution",
    "share_denoiser",
    "resize",
    "latent_channels",
    "num_inference_steps",
    "temperature",
    "standardize_logits",
    "task_loss_weight",
    "distill_weight",
    "denoise_weight",
    "reconstruction_weight",
)


def recorded(**overrides):
    """Returns the shared flags as text, by name, as `flags.txt` holds them.

    Args:
        overrides: values that replace the current ones.

    Returns:
        dict of str to str, in alphabetical order, without unset flags, but with the
        weight that the task sets. The flag's own parser reads a value back.
    """
    values = {flag.name: overrides.get(flag.name, flag.value) for flag in shared()}
    # A later version may have another default: such a run must not resume.
    values["distill_weight"] = tasks.distill_weight()
    return {
        name: _as_text(value)
        for name, value in sorted(values.items())
        if value is not None and name not in _TRUST
    }


def identity(settings, *, teacher_stage=False):
    """Returns the settings that tell an experiment from others.

    Args:
        settings: dict as `recorded()` returns it.
        teacher_stage: whether only settings of the teacher's training count.
    """
    left_out = _PLACE + (_DISTILLATION if teacher_stage else _TEACHER)
    kept = {name: text for name, text in settings.items() if name not in left_out}
    if kept.get("teacher", "").endswith(".keras"):
        # The path may differ: the content of the file is compared elsewhere.
        kept["teacher"] = Path(kept["teacher"]).name
    # So may that of a user's images, whose fingerprint a snapshot holds.
    return kept | {
        name: data_name(kept[name]) for name in ("dataset", "unlabeled") if name in kept
    }


def data_name(dataset):
    """Returns the name of a data set without the folders that a path begins with."""
    return Path(dataset).name if is_path(dataset) else dataset


def source(run, settings, path):
    """Returns what the manifest and the files of an export say of their origin.

    Args:
        run: `RunDirectory`.
        settings: dict as `recorded()` returns it.
        path: the student's `.keras` file.
    """
    return {
        "experiment": identity(settings),
        "run_dir": str(run.root),
        "student": str(path),
    }


def adopt(settings, keep=("run_dir", "data_dir", "download", "debug", "batch_size")):
    """Sets the shared flags to a run's recorded settings.

    Args:
        settings: dict as `recorded()` returns it, read from a `flags.txt`.
        keep: flags for which a value from the user wins over the recorded one.

    Raises:
        ValueError: if the user gave another data set than the recorded one.
    """
    dataset = FLAGS["dataset"]
    recorded_name = data_name(settings.get("dataset"))
    if dataset.present and data_name(dataset.value) != recorded_name:
        raise ValueError(
            f"this run was trained on --dataset={settings.get('dataset')}. "
            f"Received: --dataset={dataset.value}"
        )
    # A user's images may be elsewhere now.
    keep = (*keep, "dataset") if is_path(dataset.value) else keep
    for name, text in settings.items():
        if name in _TRUST:
            raise ValueError(
                f"the flags.txt of this run sets --{name}, which no run may do. Remove "
                "the line, and give the flag to the command if you trust the files"
            )
        if name in FLAGS and not (name in keep and FLAGS[name].present):
            FLAGS[name].parse(text)


def read_flags(folder):
    """Reads a `flags.txt` into a dict of str to str; None if there is none."""
    path = Path(folder) / "flags.txt"
    if not path.exists():
        return None
    lines = [line for line in path.read_text().splitlines() if line.startswith("--")]
    return dict(line.removeprefix("--").partition("=")[::2] for line in lines)


def write_flags(folder, settings):
    """Writes settings as a `flags.txt` that `--flagfile` reads back."""
    lines = [f"--{name}={text}\n" for name, text in settings.items()]
    with written_aside(Path(folder) / "flags.txt") as aside:
        aside.write_text("".join(lines))


def changed_flags(before, now):
    """Describes the flags that differ between two settings, in one line."""
    changed = [n for n in sorted({*before, *now}) if before.get(n) != now.get(n)]
    return ", ".join(
        f"--{name} was {before.get(name, 'unset')}, now {now.get(name, 'unset')}"
        for name in changed
    )


def _as_text(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)
