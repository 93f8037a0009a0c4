"""Gives the smaller copy of a detector the loss and the anchors of the detector."""

import importlib
import sys

from keras_diffkd.keras_private.layers import operation_of


def completed(graph, model):
    """Returns the smaller copy of a model, as a detector if the model is one.

    So is one that returns what a detector inside returns, as behind a preprocessing.

    Args:
        graph: Functional or sequential `keras.Model`, the copy.
        model: The model that was copied.
    """
    # Who has a detector has imported KerasHub; nobody else needs it.
    keras_hub = sys.modules.get("keras_hub")
    if keras_hub is None:
        return graph
    kind = keras_hub.models.RetinaNetObjectDetector
    detector = model
    while not isinstance(detector, kind):
        detector, *others = {operation_of(tensor) for tensor in detector.outputs}
        if others or not getattr(detector, "outputs", None):
            return graph
    module = importlib.import_module("keras_diffkd.models.shrunk_retinanet")
    # The code of another class may need what the copy lacks.
    known = type(detector) in (kind, module.ShrunkRetinaNet)
    same = isinstance(model.output, dict) and set(model.output) == set(detector.output)
    return module.with_graph(detector, graph) if known and same else graph
