"""Writes the page about a run."""

import importlib.util
import json
from pathlib import Path

from keras_diffkd.atomic_files import move_into_place
from keras_diffkd.export.serving.calibration import LEARNED

from .. import evaluate, shrinking
from ..pictures import predictions_figure
from ..run import experiment
from . import figures
from .examples import disagreements
from .findings import find_warnings
from .gains import gain_over, summarize
from .losses import loss_shares, loss_weights, losses_beside_student
from .panels import cost_panels, draw_panel, loss_panels, progress_panels, rate_panels
from .records import ALONE, DISTILLED, TEACHER, read_record
from .tables import artifact_warnings, artifacts, distilled_what, models

PACKAGES = {"jinja2": "Jinja2", "matplotlib": "matplotlib", "scipy": "scipy"}
TEMPLATES = Path(__file__).parent / "templates"


def missing_packages():
    """Returns the names of missing packages that a report needs."""
    return [name for m, name in PACKAGES.items() if not importlib.util.find_spec(m)]


def write_report(run, path=None, *, data=None):
    """Writes a run as one HTML file that needs no other file, and no network.

    The page leaves out sections without records. The flags become those of the run.

    Args:
        run: `RunDirectory` with a finished distillation.
        path: the file; `export/report.html` of the run by default. The artifacts are
            those of the `manifest.json` beside it.
        data: data set from `load_data`, for test images with the models' predictions;
            None to show only the records.

    Returns:
        `Path` of the file.

    Raises:
        ImportError: if a package is missing (extra `plot`).
        FileNotFoundError: if the folder is not a run.

    Example:

    ```python
    write_report(RunDirectory(Path("runs/digits")))
    ```
    """
    missing = missing_packages()
    if missing:
        raise ImportError(
            f"The report needs {' and '.join(missing)}. Run "
            "`pip install matplotlib jinja2 scipy`"
        )
    path = Path(path or run.export / "report.html")
    record = read_record(run, path.parent)
    experiment.adopt(record.settings)
    page = _render(_contents(record, data))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, which may be replaced as a whole and must hold no leftovers.
    aside = path.parent.with_name(f".{path.parent.name}.{path.name}.partial")
    try:
        aside.write_text(page, encoding="utf-8")
        move_into_place(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def _contents(record, data):
    """Returns the contents of the template, by its names."""
    networks = {} if data is None else _networks(record, data)
    weights = loss_weights(record.distilled)
    seeds = _with_pretrained_teacher(record, networks, data)
    results = summarize(seeds, (TEACHER, ALONE, DISTILLED))
    gain = gain_over(seeds, DISTILLED, ALONE)
    shares = loss_shares(record.distilled[-1], weights) if record.distilled else []
    return {
        "record": record,
        "data_name": experiment.data_name(record.settings.get("dataset")),
        "metric": record.metric,
        "what": distilled_what(record, data),
        "models": models(record, networks, results),
        "results": results,
        "gain": gain,
        "warnings": find_warnings(record, weights, gain),
        "candidates": _candidates(record),
        "quantized": _quantized(record),
        "shares": shares,
        "not_of_student": losses_beside_student([share.name for share in shares]),
        "progress": progress_panels(record),
        "losses": loss_panels(record, weights),
        "rates": rate_panels(record),
        "pictures": [
            (_picture_title(path), figures.embedded(path.read_bytes()))
            for path in record.pictures
        ],
        "predictions": figures.png(predictions_figure(networks, data))
        if networks
        else None,
        "disagreements": disagreements(networks, data) if networks else None,
        "artifacts": artifacts(record),
        "artifact_warnings": artifact_warnings(record),
        "costs": cost_panels(record, seeds[0]),
        "manifest": json.dumps(record.manifest, indent=2) if record.manifest else None,
    }


def _candidates(record):
    """Returns the students that were measured to meet a limit, or None."""
    choice = shrinking.read_choice(record.run)
    if choice is None:
        return None
    limit = choice.settings.get("max_latency_ms")
    found = ", ".join(
        f"{each.milliseconds:.3g} ms at {each.width:g}" for each in choice.candidates
    )
    figure = {
        "alt": f"Latency over the width: {found}",
        "svg": figures.draw_candidates(choice.candidates, choice.width, limit),
    }
    limits = shrinking.describe_limits(record.verification or {}, choice.settings)
    return {"choice": choice, "figure": figure, "limits": limits}


def _quantized(record):
    """Returns the scores and the curve of the int8 student, or None."""
    name, lines = record.metric.log, record.quantized
    if not lines or name not in lines[-1]:
        return None
    before = record.seeds[0].get(record.student)
    scores = {"int8 student, simulated": lines[-1][name]}
    for row in artifacts(record):
        if row["ranges_from"] == LEARNED and row["value"] is not None:
            scores[row["file"]] = row["value"]
    title = f"{record.metric.title} of the int8 student, test split"
    own = {record.student: lines}
    return {
        "before": before,
        "scores": scores,
        "epochs": lines[-1]["epoch"],
        "figure": draw_panel(title, own, name, percent=True, size=(4.8, 2.3)),
    }


def _networks(record, data):
    networks = evaluate.load_networks(record.run, data)
    if DISTILLED in networks and DISTILLED not in record.curves:
        # Without a method, the student was trained alone.
        networks[ALONE] = networks.pop(DISTILLED)
    return networks


def _with_pretrained_teacher(record, networks, data):
    """Returns the seeds' results, with a teacher that was trained elsewhere."""
    first, *others = record.seeds
    if TEACHER in first or TEACHER not in networks:
        return record.seeds
    measured = evaluate.measure({TEACHER: networks[TEACHER]}, data)[TEACHER]
    value = measured.get(record.metric.measured)
    return record.seeds if value is None else [{**first, TEACHER: value}, *others]


def _picture_title(path):
    method, _, epoch = path.stem.rpartition("_epoch_")
    return f"{method}, epoch {epoch.lstrip('0')}"


def _render(contents):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = {"TEACHER": TEACHER, "ALONE": ALONE, "DISTILLED": DISTILLED}
    return environment.get_template("report.html").render(**contents, **names)
