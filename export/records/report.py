"""report.json: how and where an export was verified, and the results."""

import dataclasses
import datetime
import json
import os
import platform
import re
from pathlib import Path

from keras_diffkd.atomic_files import move_into_place

from ..formats import FORMATS
from .manifest import versions
from .results import Thresholds

FILE_NAME = "report.json"
GENERATOR = "keras_diffkd.export.verify"
VERSION = 1


def write_verification_report(path, report):
    """Writes a report of `verify` as JSON, whole or not at all.

    Args:
        path: the file, `report.json` in the folder of the export for instance.
        report: dict, from `verify` or the attribute `report` of its error.

    Returns:
        dict, what the file holds: the report, and with it `generator`, `version`,
        `date` (UTC), `ok`, `thresholds`, `machine` and `versions` (docs/exports.md).

    Example:

    ```python
    try:
        report = verify("export", student, samples)
    except VerificationError as error:
        report = error.report
    write_verification_report("export/report.json", report)["ok"]
    ```
    """
    path = Path(path)
    thresholds = Thresholds(report.get("tolerance"), report.get("quantized_tolerance"))
    content = {
        "generator": GENERATOR,
        "version": VERSION,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "ok": not report["failures"],
        **report,
        "thresholds": dataclasses.asdict(thresholds),
        "machine": describe_machine(),
        "versions": versions(report.get("artifacts") or FORMATS),
    }
    text = json.dumps(content, indent=2, allow_nan=False)
    # Beside the folder: in it nothing is left over when a process is killed.
    aside = path.parent.with_name(f".{path.parent.name}.{path.name}.partial")
    try:
        aside.write_text(text + "\n", encoding="utf-8")
        move_into_place(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return content


def read_verification_report(path):
    """Returns the content of a `report.json`, or None if it cannot be read.

    Example:

    ```python
    read_verification_report("export/report.json")["ok"]  # True
    ```
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(report, dict) and report.get("generator") == GENERATOR
    return report if is_ours and report.get("version") == VERSION else None


def describe_machine():
    """Describes the machine that latencies were measured on.

    Example:

    ```python
    describe_machine()["cores"]  # 8
    ```
    """
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
    }


def _processor():
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1) if found else platform.processor() or None
