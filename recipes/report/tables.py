"""Collects the rows of a report's tables."""

import keras

import keras_diffkd
from keras_diffkd.export.records.table import describe_simulation

from ..run.cache_record import describe_cache
from ..run.experiment import data_name
from .records import ALONE, DISTILLED, TEACHER

# The flags at the top of the page.
SHOWN_FLAGS = ("method", "epochs", "batch_size", "optimizer", "learning_rate", "seed")


def distilled_what(record, data):
    """Lists the settings of a distillation.

    Args:
        record: `Record`.
        data: the data set, or None.

    Returns:
        List of `(name, text)`.
    """
    settings = record.settings
    rows = [
        ("teacher", settings.get("teacher") if record.distilled else None),
        ("teacher's outputs", describe_cache(record.run.root)),
        ("student", settings.get("student")),
        ("task", settings.get("task", "classification")),
        ("data set", _data_set(settings, data)),
    ]
    rows += [(name.replace("_", " "), settings.get(name)) for name in SHOWN_FLAGS]
    found = (record.manifest or {}).get("versions") or {
        "keras-diffkd": keras_diffkd.__version__,
        "keras": keras.__version__,
    }
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    rows.append(("versions", versions))
    return [(name, text) for name, text in rows if text]


def models(record, networks, results):
    """Lists teacher, student alone and distilled student.

    Args:
        record: `Record`.
        networks: dict of the `keras.Model` that were loaded.
        results: dict from model to `Interval` of the metric.

    Returns:
        List of dicts with `name`, `parameters`, `bytes`, `epochs`, `seconds` and
        `result`, each None if it is unknown.
    """
    own = DISTILLED if DISTILLED in record.curves else ALONE
    files = {
        TEACHER: record.run.teacher,
        ALONE: record.run.baseline,
        own: record.run.student,
    }
    rows = []
    for name, path in files.items():
        lines = record.curves.get(name, [])
        row = {
            "name": name,
            "parameters": _parameters(name, networks, record.manifest),
            "bytes": path.stat().st_size if path.exists() else None,
            "epochs": lines[-1]["epoch"] if lines else None,
            "seconds": sum(line.get("seconds", 0.0) for line in lines) or None,
            "result": results.get(name),
        }
        if any(value is not None for key, value in row.items() if key != "name"):
            rows.append(row)
    return rows


def artifacts(record):
    """Lists the exported artifacts.

    Args:
        record: `Record`.

    Returns:
        List of dicts: `format`, `file`, `bytes`, `difference`, `agreement`, `metrics`
        (by name), `value` (of the task's metric), `latency` in milliseconds, and of
        int8 files `ranges_from` and `simulation`, a text; None of others.
    """
    manifest = record.manifest or {}
    names = manifest.get("verification", {}).get("metrics", [])
    measured = (record.verification or {}).get("artifacts", {})
    rows = []
    for name, entry in manifest.get("artifacts", {}).items():
        found = entry.get("verification", {})
        simulation = found.get("simulation")
        rows.append(
            {
                "format": name,
                "file": entry["file"],
                "bytes": entry["size"],
                "difference": found.get("max_difference"),
                "agreement": found.get("agreement"),
                "metrics": {metric: found.get(metric) for metric in names},
                "value": found.get(record.metric.artifact),
                "latency": measured.get(name, {}).get("latency_ms"),
                "ranges_from": (entry.get("quantization") or {}).get("ranges_from"),
                "simulation": simulation and describe_simulation(simulation),
            }
        )
    return rows


def artifact_warnings(record):
    """Lists the warnings about the exported artifacts.

    Args:
        record: `Record`.

    Returns:
        List of str.
    """
    manifest, report = record.manifest or {}, record.verification or {}
    lines = list(report.get("warnings", manifest.get("warnings", [])))
    for entry in manifest.get("artifacts", {}).values():
        warnings = entry.get("verification", {}).get("warnings", [])
        lines += [f"{entry['file']}: {text}" for text in warnings]
    failures = report.get("failures", {}).items()
    return lines + [f"{file} has failed: {', '.join(why)}" for file, why in failures]


def _data_set(settings, data):
    name = data_name(settings.get("dataset"))
    if data is None:
        return name
    shape = "x".join(map(str, data.image_shape))
    return (
        f"{name}: {data.num_classes} classes, images {shape}, "
        f"{data.num_test_examples:,} to test"
    )


def _parameters(name, networks, manifest):
    if name in networks:
        return networks[name].count_params()
    # Both students are the same model.
    if name != TEACHER and manifest:
        return manifest["student"]["parameters"]
    return None
