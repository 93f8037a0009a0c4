"""TensorBoard events without TensorBoard."""

from pathlib import Path

import keras
import tensorflow as tf


class EpochEvents(keras.callbacks.Callback):
    """Writes the logs of every epoch as TensorBoard events.

    `keras.callbacks.TensorBoard` needs the `tensorboard` package, which TensorFlow
    no longer installs; writing the events does not. Names and folders are those of
    Keras: `epoch_loss` in `train/` and `validation/`.

    Args:
        folder: the folder to give to `tensorboard --logdir`.

    Example:

    ```python
    model.fit(data, callbacks=[EpochEvents("runs/digits/tensorboard")])
    ```
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)
        self._writers = {}

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
