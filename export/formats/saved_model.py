"""Writes a student as a TensorFlow SavedModel (with `keras.export`)."""

import keras

from ..serving.serving import inline_functions


def write_saved_model(serving, path, *, batch_size=None, dtype=None):
    """Writes the SavedModel whose `serving_default` computes the student.

    Args:
        serving: `Serving`.
        path: folder to create.
        batch_size: int, or None for that of `serving`.
        dtype: None, or that of pixels instead of uint8.

    Example:

    ```python
    write_saved_model(Serving(student), "export/saved_model")
    serve = tf.saved_model.load("export/saved_model").signatures["serving_default"]
    serve(image=images)["logits"]
    ```
    """
    archive = keras.export.ExportArchive()
    # No `archive.track(student)`: the archive finds the variables that are used, and
    # with it every one of them would be stored twice.
    with inline_functions():
        archive.add_endpoint("serve", serving, serving.signature(batch_size, dtype))
        archive.write_out(str(path), verbose=False)
