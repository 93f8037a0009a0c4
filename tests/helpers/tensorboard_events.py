"""What is in files of TensorBoard events."""

import tensorflow as tf


def events(folder):
    """Returns `{(tag, step): value}` of all files; an event twice is an error."""
    found = {}
    for file in folder.iterdir():
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                assert (value.tag, event.step) not in found
                scalar = float(tf.make_ndarray(value.tensor))
                found[value.tag, event.step] = scalar
    return found
