"""Finds the operations that LiteRT's CPU delegate (XNNPACK) does not run."""

import collections

# The delegate never takes the operation that turns pixels into numbers.
_FIRST = ("CAST", "QUANTIZE")
# Unpacks constant weights in float16, once: not a part of the graph.
_UNPACKING = {"DEQUANTIZE"}


def find_delegation_problem(operations):
    """Says which operations run outside the CPU delegate.

    What the delegate does not take runs in the interpreter's own kernels, which are
    slower, and every part of the graph costs a change from one to the other.

    Args:
        operations: list of dicts with `index`, `op_name`, and `inputs` and `outputs`
            (indices of tensors), as the interpreter has them after its first run.

    Returns:
        list of one string, or none if the delegate takes the graph as a whole.

    Example:

    ```python
    find_delegation_problem(interpreter._get_ops_details())  # []
    ```
    """
    delegates = [op for op in operations if op["op_name"] == "DELEGATE"]
    own = [op for op in operations if op["op_name"] != "DELEGATE"]
    producers = {tensor: op for op in own for tensor in op["outputs"]}
    parts = [_computed_by(delegate, producers) for delegate in delegates]
    taken = set().union(*parts)
    names = {op["index"]: op["op_name"] for op in own}
    left = [
        op["op_name"]
        for op in own
        if op["index"] not in taken and not _reads_input(op, producers)
    ]
    if not left:
        return []
    counted = collections.Counter(left).most_common()
    count = sum({names[index] for index in part} != _UNPACKING for part in parts)
    return [
        f"the CPU delegate takes it in {count} part{'s' * (count != 1)}; {len(left)} "
        f"of {len(own)} operations run outside: "
        f"{', '.join(f'{number} {name}' for name, number in counted)}"
    ]


def _reads_input(operation, producers):
    reads = set(operation["inputs"])
    return operation["op_name"] in _FIRST and not reads & set(producers)


def _computed_by(delegate, producers):
    """Returns the indices of the operations between its inputs and its outputs."""
    given, wanted, found = set(delegate["inputs"]), list(delegate["outputs"]), set()
    while wanted:
        tensor = wanted.pop()
        operation = producers.get(tensor)
        if operation is None or tensor in given or operation["index"] in found:
            continue
        found.add(operation["index"])
        wanted.extend(operation["inputs"])
    return found
