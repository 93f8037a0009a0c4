"""What may differ between artefacts and the student: of export and verification."""

from absl import flags as absl_flags

TOLERANCE = absl_flags.DEFINE_float(
    "tolerance",
    1e-4,
    "Largest difference to the student's outputs that is accepted, in float32.",
    lower_bound=0.0,
)
QUANTIZED_TOLERANCE = absl_flags.DEFINE_float(
    "quantized_tolerance",
    0.005,
    "How much lower a metric of a quantised artefact may be than the student's.",
    lower_bound=0.0,
)
