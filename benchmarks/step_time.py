"""Seconds per training step and memory: what DiffKD costs, and what others do.

    python benchmarks/step_time.py                 TensorFlow
    python benchmarks/step_time.py --backend=jax   JAX, on a GPU where there is one

All cases of a table are trained in turns in one process, a few steps at a time, so
that whatever else the machine does falls on all of them. The tables show medians over
the turns, and medians of the ratios to the first row within a turn. They go to the
terminal and into docs/results.md.
"""

import os

from absl import app, flags

BACKEND = flags.DEFINE_enum(
    "backend", "tensorflow", ["tensorflow", "jax"], "The backend of Keras."
)
flags.DEFINE_list(
    "pairs",
    ["cifar", "imagenet"],
    "cifar: WRN-40-2 to WRN-40-1 at 32x32, batch 64; imagenet: ResNet-50 to "
    "MobileNetV1 at 224x224, batch 8.",
)
flags.DEFINE_integer("turns", 15, "Turns of each case.", lower_bound=2)
flags.DEFINE_integer("steps", 3, "Timed steps of a turn.", lower_bound=1)
flags.DEFINE_enum(
    "jit_compile", "auto", ["auto", "true", "false"], "XLA; auto: only on a GPU."
)
flags.DEFINE_boolean("growth", True, "Measure how the step grows, too.")
flags.DEFINE_float(
    "peak_tflops", None, "Peak of the device, for model FLOPs utilization."
)
flags.DEFINE_string("output", "docs/results.md", "File to write the tables into.")
flags.DEFINE_string("memory_of", None, "For inner use: print the memory of PAIR/CASE.")
flags.DEFINE_integer("replicas", None, "For inner use: time a step on N devices.")


def main(argv):
    """Measures what the flags ask for."""
    del argv
    # Keras reads the backend when it is imported.
    os.environ["KERAS_BACKEND"] = BACKEND.value
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import step_tables

    step_tables.run(flags.FLAGS)


if __name__ == "__main__":
    app.run(main)
