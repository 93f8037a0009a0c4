"""What is raised for a model file that is not opened."""


class UnsafeModelError(ValueError):
    """A model file is damaged, or holds what no file of a Keras model needs to hold.

    The message names the file, what is wrong with it, and what to do.

    Example:

    >>> raise UnsafeModelError("'student.keras' is refused: ...")
    Traceback (most recent call last):
    ...
    keras_diffkd.models.file_errors.UnsafeModelError: 'student.keras' is refused: ...
    """
