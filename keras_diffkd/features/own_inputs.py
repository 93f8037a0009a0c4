"""Selects the entries of a batch that a model takes."""

import keras


def own_inputs(model, inputs):
    """Returns the entries of a batch that a model takes.

    Plain Keras selects entries by name for a functional model with one input or a list
    of inputs. A model that takes a dictionary would also receive the other entries.

    Args:
        model: A `keras.Model`.
        inputs: Batch of inputs. It is returned unchanged if it is not a dictionary or
            lacks entries that the model takes, or if the model is subclassed.

    Example:

    >>> image = keras.Input((4,), name="image")
    >>> model = keras.Model({"image": image}, keras.layers.Dense(2)(image))
    >>> list(own_inputs(model, {"image": 1, "teacher_logits": 2}))
    ['image']
    """
    if not isinstance(inputs, dict) or not getattr(model, "inputs", None):
        return inputs
    # A Sequential that was never called has `inputs` but no `input`.
    taken = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if isinstance(taken, dict):
        complete = taken.keys() <= inputs.keys()
        return {name: inputs[name] for name in taken} if complete else inputs
    leaves = keras.tree.flatten(taken)
    if not all(leaf.name in inputs for leaf in leaves):
        return inputs
    return keras.tree.pack_sequence_as(taken, [inputs[leaf.name] for leaf in leaves])
