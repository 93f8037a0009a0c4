"""Compares int8 artifacts of learned ranges with what was simulated in training."""

import dataclasses
import json
import math

import numpy as np

from keras_diffkd.quantization.ranges import QuantizationRanges, step_of

from ..records.results import SimulationDifference
from ..serving.detection import NMS
from ..serving.simulated import output_steps, simulated
from .comparison import DETECTOR_LOGITS, agreement, are_detections, class_scores
from .reference import KerasRunner, predict


@dataclasses.dataclass(frozen=True)
class Simulation:
    """The outputs of the simulated student.

    Attributes:
        outputs: dict of arrays by output name, for all samples.
        steps: dict of float by name of the outputs that are compared: the difference
            of neighboring int8 values.

    Example:

    ```python
    Simulation({"logits": logits}, {"logits": 0.1})
    ```
    """

    outputs: dict
    steps: dict


def compare_with_simulation(entry, outputs, reference, thresholds):
    """Compares the outputs of an artifact with the simulated student's.

    Args:
        entry: `Artifact`.
        outputs: dict of arrays by output name.
        reference: `Reference` of the student.
        thresholds: `Thresholds`.

    Returns:
        `(difference, reasons)`: a `SimulationDifference`, or None if the artifact has
        no ranges from training; and a list of reasons, empty if nothing is wrong.

    Example:

    ```python
    compare_with_simulation(entry, outputs, reference, Thresholds())
    ```
    """
    ranges = (entry.quantization or {}).get("ranges")
    # Suppression picks others of nearly equal boxes.
    if ranges is None or are_detections(outputs):
        return None, []
    try:
        simulation = _simulate(reference, ranges)
    except ValueError as error:
        return None, [f"its ranges do not fit the student: {error}"]
    found = _measure(outputs, simulation, reference.predictions)
    return found, _judge(found, outputs, reference, thresholds)


def _simulate(reference, ranges):
    key = json.dumps(ranges, sort_keys=True)
    if key not in reference.simulations:
        serving = simulated(reference.serving, QuantizationRanges.from_json(ranges))
        outputs = predict(KerasRunner(serving), reference.samples)
        steps = output_steps(serving) or _spread(outputs)
        reference.simulations[key] = Simulation(outputs, steps)
    return reference.simulations[key]


def _spread(outputs):
    """Returns the steps that int8 would have, of outputs that stay float."""
    spreads = {name: np.ptp(np.append(array, 0)) for name, array in outputs.items()}
    return {name: step_of(0.0, float(s)) for name, s in spreads.items() if s > 0}


def _measure(outputs, simulation, predictions):
    steps = np.concatenate(
        [
            np.abs(outputs[name] - simulation.outputs[name]).ravel() / step
            for name, step in simulation.steps.items()
        ]
    )
    agree = [np.zeros(0, bool)]
    for name, output in class_scores(outputs).items():
        if predictions[name].kind != "number":
            agree.append(
                _agreement(name, output, simulation.outputs[name], predictions[name])
            )
    agree = np.concatenate(agree)
    return SimulationDifference(
        mean_steps=float(steps.mean()),
        max_steps=float(steps.max()),
        agreement=float(agree.mean()) if agree.size else None,
    )


def _agreement(name, output, simulated, prediction):
    """Returns `agreement`, of a detector only for the anchors that see an object."""
    agree = agreement(output, simulated, prediction)
    if name != DETECTOR_LOGITS or prediction.kind != "class":
        return agree
    # On background, which is most of an image, the best class is of no use.
    score = NMS["score_threshold"]
    return agree[simulated.max(axis=-1).ravel() > math.log(score / (1 - score))]


def _judge(found, outputs, reference, thresholds):
    reasons = []
    if found.mean_steps > thresholds.steps_from_simulation:
        reasons.append(
            f"is {found.mean_steps:.2f} int8 steps from the simulated student on "
            f"average, allowed is {thresholds.steps_from_simulation:g}"
        )
    # Classes of random inputs are hardly more than chance.
    is_judged = found.agreement is not None and not reference.samples.is_random
    count = len(reference.samples)
    if is_judged and all(array.ndim == 2 for array in outputs.values()):
        least = thresholds.agreement_with_simulation
        allowed = math.ceil((1 - least) * count)
        if round((1 - found.agreement) * count) > allowed:
            reasons.append(
                f"predicts the simulated student's class for {found.agreement:.2%} of "
                f"the samples, at least {least:.1%} must be"
            )
    return reasons
