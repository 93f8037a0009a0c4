"""Writes TensorBoard events without TensorBoard."""

from pathlib import Path

import keras
import tensorflow as tf

from keras_diffkd.atomic_files import written_aside


class EpochEvents(keras.callbacks.Callback):
    """Writes the logs of every epoch as TensorBoard events.

    `keras.callbacks.TensorBoard` needs the `tensorboard` package, which TensorFlow
    no longer installs. Names and folders are those of Keras: `epoch_loss` in `train/`
    and `validation/`. A training that resumes drops the events of epochs that it
    repeats, and also those of `FeaturePictures` in `pictures/`.

    Args:
        folder: the folder for `tensorboard --logdir`.

    Example:

    ```python
    model.fit(data, callbacks=[EpochEvents("runs/digits/tensorboard")])
    ```
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)
        self._writers = {}
        self._resumed = False

    def on_epoch_begin(self, epoch, logs=None):
        if self._resumed:
            return
        self._resumed = True
        for part in ("train", "validation"):
            _drop_events(self.folder / part, epoch)
        # Pictures count steps from 1.
        _drop_events(self.folder / "pictures", epoch + 1)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            self._write(part, f"epoch_{name.removeprefix('val_')}", value, epoch)
        rate = self.model.optimizer.learning_rate
        self._write("train", "epoch_learning_rate", rate, epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, part, tag, value, epoch):
        if part not in self._writers:
            self._writers[part] = tf.summary.create_file_writer(str(self.folder / part))
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR"
        )
        with self._writers[part].as_default():
            tf.summary.write(tag, tf.cast(value, tf.float32), epoch, metadata)


def _drop_events(folder, first_step):
    """Removes events from a step on from an event writer's folder."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        kept = [r for r in _records(path) if _step(r) < first_step]
        with written_aside(path) as aside, tf.io.TFRecordWriter(str(aside)) as writer:
            for record in kept:
                writer.write(record)


def _records(path):
    records = iter(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    while True:
        try:
            yield next(records)
        except (StopIteration, tf.errors.DataLossError):
            return  # The last event of a killed training may be incomplete.


def _step(record):
    event = tf.compat.v1.Event.FromString(record)
    # The first record of a file is its version, without an epoch.
    return event.step if event.HasField("summary") else -1
