import keras
import tensorflow as tf

from keras_diffkd.recipes.epoch_events import EpochEvents


class StandIn:
    """What the callback reads of a model."""

    optimizer = keras.optimizers.SGD(0.25)


def test_epoch_events_are_what_tensorboard_reads(tmp_path):
    logs = {"loss": 0.5, "diffkd/gamma": 0.75, "val_accuracy": 0.25}
    callback = EpochEvents(tmp_path)
    callback.set_model(StandIn())
    callback.on_epoch_end(3, logs)
    callback.on_train_end()
    found = {}
    for part in ("train", "validation"):
        [file] = (tmp_path / part).iterdir()
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                scalar = float(tf.make_ndarray(value.tensor))
                found[part, value.tag] = (event.step, scalar)
    assert found == {
        ("train", "epoch_loss"): (3, 0.5),
        ("train", "epoch_diffkd/gamma"): (3, 0.75),
        ("train", "epoch_learning_rate"): (3, 0.25),
        ("validation", "epoch_accuracy"): (3, 0.25),
    }
