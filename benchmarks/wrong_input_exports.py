"""Wrong ranges for int8 files."""

from wrong_input_models import Case, student

from keras_diffkd.quantization import QuantizationRanges

RANGES = {"image": (0.0, 1.0), "logits": (-4.0, 4.0)}


def _exported(formats, ranges, **options):
    from keras_diffkd.export import export_student

    return export_student(student(), "nowhere", formats, ranges=ranges, **options)


EXPORTS = [
    Case(
        "ranges for files without int8",
        "`ranges` are for int8 files: pass quantize='int8'",
        lambda: _exported(["onnx"], QuantizationRanges(RANGES)),
        None,
    ),
    Case(
        "ranges as a dictionary",
        "to be `QuantizationRanges`.*of type dict",
        lambda: _exported(["onnx"], RANGES, quantize="int8"),
        None,
    ),
]
