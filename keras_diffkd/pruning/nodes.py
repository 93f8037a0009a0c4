"""Lists the calls in the graph of a functional model."""

from keras_diffkd.keras_private.layers import node_of


def nodes_of(model):
    """Returns the calls of a functional or sequential model, in an order that works.

    Args:
        model: Built `keras.Model` with a graph.

    Returns:
        List of nodes without those of the inputs. They have `operation`, `arguments`,
        `input_tensors` and `output_tensors`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> [node.operation.name for node in nodes_of(model)]
    ['fc']
    """
    order, done = [], {id(tensor) for tensor in model.inputs}
    waiting = list(reversed(model.outputs))
    while waiting:
        tensor = waiting[-1]
        if id(tensor) in done:
            waiting.pop()
            continue
        node = node_of(tensor)
        missing = [each for each in node.input_tensors if id(each) not in done]
        if missing:
            waiting += reversed(missing)
            continue
        waiting.pop()
        order.append(node)
        done.update(map(id, node.output_tensors))
    return order
