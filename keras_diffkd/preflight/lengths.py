"""Checks that inputs, targets and weights have the same number of samples."""

import keras


def check_length(findings, look, array, name, what):
    """Adds a problem if an array has another length than the inputs.

    Args:
        findings: `Findings`.
        look: `Look` at the data.
        array: NumPy array of targets or weights.
        name: String, the name of the array in messages.
        what: String, the name of the data in messages.
    """
    counts = [len(a) for a in keras.tree.flatten(look.x) if a is not None]
    if not counts:
        return  # Sparse or ragged inputs: Keras compares the lengths.
    count = counts[0]
    if array.ndim and len(array) != count:
        findings.error(
            f"Inputs and {name} of the {what} must have the same length. Received: "
            f"{count} and {len(array)}. Check how both are loaded."
        )
