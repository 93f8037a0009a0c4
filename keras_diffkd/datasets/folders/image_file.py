"""Reads image files as a viewer shows them."""

import hashlib
import io
import typing

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

# EXIF's tag for the way in which the camera was held.
_ORIENTATION = 0x0112
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_GRAY = ("1", "L", "LA", "La", *_SIXTEEN_BITS)
# Cameras put several pictures into one file, which Pillow calls MPO.
_JPEG = ("JPEG", "MPO")


class ImageFile(typing.NamedTuple):
    """Describes an image file.

    Attributes:
        sha256: String, the hash of the file's content.
        height: Integer, of the image as a viewer shows it.
        width: Integer.
        channels: 1 for a gray image, 3 for one with colors.
        changes: Tuple of strings: how its pixels differ from those that TensorFlow
            decodes. Without changes, the file is used as it is.
    """

    sha256: str
    height: int
    width: int
    channels: int
    changes: tuple


class BadImageError(ValueError):
    """Is raised for a file that does not hold an image that can be used."""


def examine(path):
    """Decodes an image file and describes it.

    Args:
        path: `Path`.

    Raises:
        BadImageError: If the file cannot be read or is not a complete image. The
            message says why, without the path.
    """
    content = _content(path)
    try:
        with Image.open(io.BytesIO(content)) as image:
            described = _describe(image, content)
    except UnidentifiedImageError as error:
        raise BadImageError("it is not an image") from error
    except Image.DecompressionBombError as error:
        limit = 2 * Image.MAX_IMAGE_PIXELS
        raise BadImageError(f"it is huge: more than {limit:,} pixels") from error
    except BadImageError:
        raise
    # Pillow raises whatever it stumbles over in a damaged file.
    except Exception as error:
        raise BadImageError(f"it is damaged: {error}") from error
    return described


def _describe(image, content):
    if image.mode in ("I", "F"):
        raise BadImageError("it has pixels of 32 bits")
    changes = _changes(image)
    width, height = image.size if _orientation(image) < 5 else image.size[::-1]
    channels = 1 if image.mode in _GRAY else 3
    if not changes and not _tensorflow_decodes(content, channels):
        changes = ("that only Pillow decodes",)
    if changes:
        image.load()
    digest = hashlib.sha256(content).hexdigest()
    return ImageFile(digest, height, width, channels, changes)


def encoded(path, described):
    """Returns the bytes of an image that TensorFlow decodes to the right pixels.

    Args:
        path: `Path`.
        described: `ImageFile` of `examine`.
    """
    content = path.read_bytes()
    if not described.changes:
        return content
    with Image.open(io.BytesIO(content)) as image:
        # A photograph as PNG would be ten times as large. TensorFlow's fast decoder
        # is less exact above this quality.
        lossy = image.format in _JPEG
        shown = as_shown(image)
    written = io.BytesIO()
    if lossy:
        shown.save(written, "JPEG", quality=95, subsampling=0)
    else:
        shown.save(written, "PNG")
    return written.getvalue()


def as_shown(image):
    """Returns an 8-bit gray or RGB image as a viewer shows it.

    It is turned as EXIF says. Transparent parts are white. Of 16 bits, the upper 8
    count.

    Args:
        image: `PIL.Image.Image`.
    """
    mode = "L" if image.mode in _GRAY else "RGB"
    if _orientation(image) > 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN_BITS:
        return Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def _changes(image):
    """Returns in words how an opened image is not what TensorFlow would decode."""
    found = []
    jpeg = image.format in _JPEG
    if _orientation(image) > 1:
        found.append("turned as EXIF says")
    if image.has_transparency_data:
        found.append("with transparency, shown on white")
    if getattr(image, "n_frames", 1) > 1 and not jpeg:
        found.append("of several frames, of which the first counts")
    if image.mode in _SIXTEEN_BITS:
        found.append("of 16 bits, of which the upper 8 count")
    if jpeg and image.mode not in ("L", "RGB"):
        found.append(f"in {image.mode}, converted to RGB")
    if not found and not jpeg and image.format != "PNG":
        found.append(f"in {image.format} format, stored as PNG")
    return tuple(found)


def _orientation(image):
    """Returns how EXIF turns an image, 1 to 8, and 1 if EXIF is missing or damaged."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def _content(path):
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadImageError(f"it cannot be read: {error.strerror}") from error
    if not content:
        raise BadImageError("it is empty")
    return content


def _tensorflow_decodes(content, channels):
    try:
        tf.io.decode_image(content, channels=channels)
    except tf.errors.InvalidArgumentError:
        return False
    return True
