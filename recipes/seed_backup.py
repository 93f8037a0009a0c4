"""Where the random numbers of a training stopped."""

import json
from pathlib import Path

import keras

from keras_diffkd.recipes.run_directory import written_aside


class SeedBackup(keras.callbacks.Callback):
    """Backs up the states of a model's seed generators, and restores them.

    They are in no file of weights, so that a training that Keras's `BackupAndRestore`
    resumes would draw the noise of its first epochs once more.

    Args:
        folder: where to keep `seeds.json`, beside the checkpoint.

    Example:

    ```python
    backup = keras.callbacks.BackupAndRestore("checkpoints")
    model.fit(data, callbacks=[SeedBackup("checkpoints"), backup])
    ```
    """

    def __init__(self, folder):
        super().__init__()
        self.path = Path(folder) / "seeds.json"
        self._restored = False

    def on_epoch_begin(self, epoch, logs=None):
        if self._restored or not self.path.exists():
            return
        self._restored = True
        backup = json.loads(self.path.read_text())
        if backup["epoch"] == epoch:
            for variable, state in zip(self._states(), backup["states"], strict=True):
                variable.assign(state)

    def on_epoch_end(self, epoch, logs=None):
        self._restored = True
        states = [
            keras.ops.convert_to_numpy(variable).tolist() for variable in self._states()
        ]
        self.path.parent.mkdir(exist_ok=True)
        with written_aside(self.path) as aside:
            aside.write_text(json.dumps({"epoch": epoch + 1, "states": states}))

    def _states(self):
        return [
            variable
            for variable in self.model.variables
            if variable.path.endswith("seed_generator_state")
        ]
