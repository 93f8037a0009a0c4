"""Defines a RetinaNet of any widths. Importing this module needs KerasHub."""

import keras

from keras_diffkd.models.hub import compute_in_float32
from keras_diffkd.validation.packages import import_keras_hub

keras_hub = import_keras_hub("A RetinaNet")
RetinaNetObjectDetector = keras_hub.models.RetinaNetObjectDetector
# Attributes of a detector that `ShrunkRetinaNet` takes besides its graph.
_LAYERS = ("anchor_generator", "label_encoder", "prediction_decoder")
_SETTINGS = ("num_classes", "bounding_box_format", "activation")


@keras.saving.register_keras_serializable(package="keras_diffkd")
class ShrunkRetinaNet(RetinaNetObjectDetector):
    """A RetinaNet of KerasHub whose layers have any widths.

    KerasHub's own class always builds a pyramid and heads of 256 channels. This one
    takes a graph as it is, and has the loss, the anchors and the decoding of KerasHub's
    class. `shrink` returns it for such a detector.

    Args:
        graph: Functional `keras.Model` from images to a dictionary: `bbox_regression`,
            `(batch, anchors, 4)`, and `cls_logits`, `(batch, anchors, classes)`.
        num_classes: Integer.
        bounding_box_format: String, the format of the boxes in the labels.
        anchor_generator: `keras_hub.layers.AnchorGenerator` for the images of `graph`.
        label_encoder: `keras_hub.layers.RetinaNetLabelEncoder`.
        prediction_decoder: `keras.Layer` that selects boxes for `predict`.
        activation: Activation of `cls_logits` inside `graph`, or `None`.
        name: String.

    Example:

    >>> teacher = keras_diffkd.models.build_model(
    ...     "retinanet_scenes_teacher", (64, 64, 3), 10)
    >>> student = keras_diffkd.shrink(teacher, 0.5)
    >>> student.get_layer("backbone").output["P3"].shape
    (None, 8, 8, 128)
    >>> student.compile(optimizer="adam")  # With the losses of KerasHub.
    """

    def __init__(
        self,
        graph,
        num_classes,
        bounding_box_format,
        anchor_generator,
        label_encoder,
        prediction_decoder,
        activation=None,
        name=None,
    ):
        # Past the class whose graph has fixed widths.
        super(RetinaNetObjectDetector, self).__init__(
            inputs=graph.input, outputs=graph.output, name=name, compile=False
        )
        self.num_classes = num_classes
        self.bounding_box_format = bounding_box_format
        self.anchor_generator = anchor_generator
        self.label_encoder = label_encoder
        self.activation = keras.activations.get(activation)
        self._prediction_decoder = prediction_decoder
        # Under any dtype policy: these compute coordinates of boxes.
        generators = [anchor_generator, label_encoder.anchor_generator]
        compute_in_float32([*generators, label_encoder])

    def get_config(self):
        graph = keras.Model(self.input, self.output, name=self.name)
        activation = self.activation
        return {
            "graph": keras.saving.serialize_keras_object(graph),
            "num_classes": self.num_classes,
            "bounding_box_format": self.bounding_box_format,
            **{
                name: keras.saving.serialize_keras_object(getattr(self, name))
                for name in _LAYERS
            },
            "activation": activation and keras.activations.serialize(activation),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("graph", *_LAYERS)
        }
        return cls(**{**config, **parts})


def with_graph(detector, graph):
    """Returns a detector with another graph, which shares nothing with the first.

    Args:
        detector: `RetinaNetObjectDetector`.
        graph: See `ShrunkRetinaNet`.
    """
    layers = {name: getattr(detector, name) for name in _LAYERS}
    return ShrunkRetinaNet(
        graph,
        **{name: getattr(detector, name) for name in _SETTINGS},
        **{
            name: type(layer).from_config(layer.get_config())
            for name, layer in layers.items()
        },
        name=detector.name,
    )
