"""Draws the figures of a report, each with a description in words."""

from . import figures
from .losses import gammas, named_losses
from .records import ALONE, DISTILLED, TEACHER
from .tables import artifacts


def progress_panels(record):
    """Draws the metric of all models, if it was logged."""
    name = record.metric.log
    logged = {m: c for m, c in record.curves.items() if any(name in x for x in c)}
    if not logged:
        return []
    title = f"{record.metric.title}, test split"
    return [draw_panel(title, logged, name, percent=True, size=(4.8, 2.8))]


def loss_panels(record, weights):
    """Draws the total and every named loss; all models have a task loss."""
    own = {DISTILLED: record.distilled}
    panels = []
    for name, title in (("task_loss", "task loss"), ("val_loss", "loss, test split")):
        logged = {m: c for m, c in record.curves.items() if any(name in x for x in c)}
        if logged:
            panels.append(draw_panel(title, logged, name))
    if record.distilled:
        names = [n for n in named_losses(record.distilled, weights) if "/" in n]
        panels += [draw_panel(name, own, name) for name in names]
        panels.append(draw_panel("total loss", own, "loss"))
    return panels


def rate_panels(record):
    """Draws the learning rate and every γ."""
    # All models have the same learning rate, except for one from elsewhere.
    lines = record.curves.get(record.student, [])
    own = {record.student: lines}
    names = ["learning_rate"] if any("learning_rate" in x for x in lines) else []
    titles = {"learning_rate": "learning rate"}
    return [
        draw_panel(titles.get(name, name.replace("gamma", "γ")), own, name)
        for name in [*names, *gammas(lines)]
    ]


def draw_panel(title, curves, name, percent=False, **options):
    """Draws the logs of one name over the epochs; see `figures.draw_curves`."""
    ends = [f"{m} {_ends(lines, name, percent)}" for m, lines in curves.items()]
    return {
        "title": title,
        "alt": f"{title} over the epochs: {', '.join(ends)}",
        "models": list(curves),
        "svg": figures.draw_curves(title, curves, name, percent, **options),
    }


def _ends(lines, name, percent):
    values = [line[name] for line in lines if name in line]
    template = "{:.1%} to {:.1%}" if percent else "{:.4g} to {:.4g}"
    return template.format(values[0], values[-1])


def cost_panels(record, finals):
    """Draws size, latency and metric of the files of models and artifacts.

    `finals` are the results of this run's own models, which are in the files.
    """
    rows = [row for row in artifacts(record) if row["value"] is not None]
    files = {TEACHER: record.run.teacher, ALONE: record.run.baseline}
    sizes = {
        f"{name}, Keras": (files[name].stat().st_size / 1000, finals[name], name)
        for name in files
        if name in finals and files[name].exists()
    }
    times = {}
    for row in rows:
        sizes[row["file"]] = (row["bytes"] / 1000, row["value"], DISTILLED)
        if row["latency"] is not None:
            times[row["file"]] = (row["latency"], row["value"], DISTILLED)
    verification = record.verification or {}
    batch_size = verification.get("batch_size") or 1
    keras = verification.get("keras", {})
    value = keras.get(record.metric.artifact)
    if times and value is not None:
        times = {"tf.function, Keras": (keras["latency_ms"], value, DISTILLED)} | times
    title = record.metric.title
    names = dict.fromkeys([*sizes, *times])
    return [
        {
            "alt": f"{title} against {name}: {_describe_points(points, unit)}",
            "svg": figures.draw_costs(points, title, f"{name}, {unit}", list(names)),
        }
        for points, name, unit in (
            (sizes, "size of the file", "kB"),
            (times, f"latency at batch size {batch_size}", "ms"),
        )
        if len(points) > 1
    ]


def _describe_points(points, unit):
    return ", ".join(
        f"{name} {cost:,.3g} {unit} {value:.1%}"
        for name, (cost, value, _) in points.items()
    )
