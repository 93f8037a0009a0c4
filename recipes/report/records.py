"""Reads the records of a run that a report shows."""

import dataclasses

from keras_diffkd.errors import ManifestError
from keras_diffkd.export.records.manifest import FILE_NAME, read_manifest
from keras_diffkd.export.records.report import FILE_NAME as REPORT
from keras_diffkd.export.records.report import read_verification_report

from ..run import experiment
from ..run.cache_record import other_cache
from ..run.directory import RunDirectory
from ..run.metrics_log import read_metrics

# The names are those of `diffkd-evaluate`.
TEACHER = "teacher"
ALONE = "student alone"
DISTILLED = "distilled student"


@dataclasses.dataclass(frozen=True)
class Metric:
    """Names the metric of a task in each place.

    Args:
        title: str, in the page.
        log: str, in `metrics.jsonl`.
        measured: str, in the result of `evaluate.measure`.
        artifact: str, in `manifest.json`.
    """

    title: str
    log: str
    measured: str
    artifact: str


METRICS = {
    "classification": Metric("accuracy", "val_accuracy", "top-1 accuracy", "accuracy"),
    "detection": Metric("mAP", "val_mAP", "mAP", "mAP"),
    "segmentation": Metric("mIoU", "val_mean_iou", "mIoU", "mIoU"),
}


@dataclasses.dataclass(frozen=True)
class Record:
    """Holds the records of a run.

    Args:
        run: `RunDirectory`.
        settings: dict of str to str, its `flags.txt`.
        curves: dict from model to the lines of its `metrics.jsonl`, for models that
            were trained here.
        seeds: list of dicts from model to the final value of the metric, one for each
            seed; the seed of the run is the first.
        skipped: list of str, the reasons why folders of `seeds/` do not count.
        quantized: list of dicts, the lines of its quantization-aware training.
        manifest: dict, or None before `diffkd-export`.
        verification: dict, the `report.json` about exactly these artifacts, or None.
        pictures: list of paths, the last picture of the features for each method.
    """

    run: RunDirectory
    settings: dict
    curves: dict
    seeds: list
    skipped: list
    quantized: list
    manifest: dict | None
    verification: dict | None
    pictures: list

    @property
    def metric(self):
        return METRICS[self.settings.get("task", "classification")]

    @property
    def student(self):
        """Returns the name of the student of the run."""
        return DISTILLED if self.distilled else ALONE

    @property
    def distilled(self):
        """Returns the lines of the distilled student, if the run has one."""
        return self.curves.get(DISTILLED, [])


def read_record(run, export):
    """Reads the records of a run.

    Args:
        run: `RunDirectory`.
        export: folder that may have a `manifest.json` and a `report.json`.

    Returns:
        `Record`.

    Raises:
        FileNotFoundError: if the folder is not a run.
    """
    settings = experiment.read_flags(run.root)
    if settings is None:
        raise FileNotFoundError(
            f"{run.root} has no flags.txt and is not a run: run diffkd-distill "
            f"--run_dir={run.root} first"
        )
    metric = METRICS[settings.get("task", "classification")]
    curves = _read_curves(run, settings)
    seeds, skipped = _read_seeds(run, settings, metric)
    manifest = _read_manifest(export)
    return Record(
        run=run,
        settings=settings,
        curves=curves,
        seeds=[finals(curves, metric), *seeds],
        skipped=skipped,
        quantized=_read_quantized(run),
        manifest=manifest,
        verification=_read_verification(export, manifest),
        pictures=_last_pictures(run.root / "pictures"),
    )


def _read_quantized(run):
    # Before the last epoch, there is no student to report.
    if not run.quantized.exists():
        return []
    return read_metrics(run.quantized.with_name("metrics.jsonl"))


def _read_manifest(export):
    path = export / FILE_NAME
    try:
        return read_manifest(export) if path.exists() else None
    except ManifestError as error:
        raise ValueError(f"{path}: {error}") from error


def finals(curves, metric):
    """Returns the logged metric after the last epoch, by model."""
    return {
        name: lines[-1][metric.log]
        for name, lines in curves.items()
        if metric.log in lines[-1]
    }


def _read_verification(export, manifest):
    report = read_verification_report(export / REPORT)
    if report is None or manifest is None:
        return None
    hashes = [
        {name: entry.get("sha256") for name, entry in each.get("artifacts", {}).items()}
        for each in (report, manifest)
    ]
    # The report may be about older files.
    return report if hashes[0] == hashes[1] else None


def _read_curves(run, settings):
    # Without a method, the run trained the student alone.
    own = ALONE if settings.get("method") == "none" else DISTILLED
    folders = {
        TEACHER: run.root / "teacher",
        ALONE: run.baseline.parent,
        own: run.root,
    }
    curves = {name: read_metrics(at / "metrics.jsonl") for name, at in folders.items()}
    return {name: lines for name, lines in curves.items() if lines}


def _read_seeds(run, settings, metric):
    """Returns the final values of finished runs in `seeds/`, and reasons to skip."""
    counted, results, skipped = {settings.get("seed")}, [], []
    folders = [path for path in run.root.glob("seeds/*") if path.is_dir()]
    for folder in sorted(folders, key=_by_number):
        found = experiment.read_flags(folder)
        curves = {} if found is None else _read_curves(RunDirectory(folder), found)
        reason = _why_not(found, curves, settings, counted)
        reason = reason or other_cache(folder, run.root)
        if reason:
            skipped.append(f"seeds/{folder.name} does not count: {reason}")
            continue
        counted.add(found.get("seed"))
        results.append(finals(curves, metric))
    return results, skipped


def _why_not(found, curves, settings, counted):
    if found is None:
        return "it has no flags.txt"
    if not _same_but_for_the_seed(found, settings):
        return "it was trained with other settings"
    if found.get("seed") in counted:
        return f"seed {found.get('seed')} occurs twice"
    epochs = int(found.get("epochs", 0))
    arms = [name for name in (ALONE, DISTILLED) if name in curves]
    if not arms or any(curves[name][-1]["epoch"] < epochs for name in arms):
        return "its training is not finished"
    return None


def _same_but_for_the_seed(found, settings):
    # Seeds may share a teacher, which is a file then.
    left_out = {"seed"}
    if found.get("teacher", "").endswith(".keras"):
        left_out.add("teacher")
    first, second = (
        {n: v for n, v in experiment.identity(each).items() if n not in left_out}
        for each in (found, settings)
    )
    return first == second


def _by_number(path):
    return (not path.name.isdecimal(), path.name.zfill(20))


def _last_pictures(folder):
    """Returns the path of each method's last picture."""
    last = {}
    for path in sorted(folder.glob("*_epoch_*.png")):
        last[path.name.rpartition("_epoch_")[0]] = path
    return list(last.values())
