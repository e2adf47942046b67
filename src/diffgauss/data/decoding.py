"""Images as pixels: decoded, of one shape, chosen by class."""

import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow's decoders that are tried, whatever a file's name says."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's mode L
_DAMAGE = (
    OSError, EOFError, SyntaxError, ValueError, KeyError, RuntimeError, struct.error,
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


class TooLarge(ValueError):
    """More than was allowed, in a file that may be whole."""


def bounded(members: Iterable[Any], name: str | Path, limit: float | int) -> Iterator[Any]:
    """The members of an archive. Raises TooLarge for more than limit bytes unpacked, each 1 KiB at least."""
    total = 0
    for member in members:
        total += 1024 + (member.file_size if hasattr(member, "file_size") else member.size)
        if total > limit:
            raise TooLarge(f"{name} takes more than {limit:.3g} bytes unpacked; needs a higher limit=")
        yield member


@contextmanager
def damage(name: str | Path) -> Iterator[None]:
    """Raises ValueError, with the name of the file, for whatever its reader says of damage."""
    try:
        yield
    except (TooLarge, PermissionError, FileNotFoundError):
        raise
    except MemoryError as error:
        raise TooLarge(f"{name} does not fit into the memory that is left; needs more") from error
    except Exception as error:
        if type(error).__name__ == "DecompressionBombError":  # Pillow's
            raise TooLarge(f"{name} has more pixels than Pillow reads ({error}); needs fewer") from error
        if not isinstance(error, _DAMAGE):
            raise
        raise ValueError(f"{name} is damaged or not what its name says ({error}); needs a whole file") from error


def pixels(name: str, content: bytes | str | Path, size: int | None, grey: bool | None) -> np.ndarray:
    """uint8 (h, w, 1 or 3) of one image file: its first frame, turned as EXIF says, on white where transparent.

    Raises ValueError for a damaged file and for more than 8 bits a channel.
    """
    Image, ImageOps = _pillow()
    with (
        damage(name),
        Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS) as file,
    ):
        deep = file.format in ("PNG", "TIFF") and any(";16" in str(tile) for tile in getattr(file, "tile", ()))
        file.load()
        try:
            image = ImageOps.exif_transpose(file)
        except Exception:  # EXIF of any form, which says no more than how the camera was held
            image = file.copy()
    if deep or image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{name} has pixels of mode {image.mode}; needs 8 bits a channel, or [-1, 1] in an .npy file"
        )
    mode = "L" if grey or (grey is None and image.mode in ("1", "L", "LA", "La")) else "RGB"
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    palette = grey is None and image.mode in ("P", "PA")  # of grey values alone?
    image = image.convert(mode)
    if palette and (np.ptp(np.asarray(image), -1) == 0).all():
        image = image.convert("L")
    found = np.asarray(image if size is None else _square(image, size))
    return found[..., None] if found.ndim == 2 else found


def reshaped(images: np.ndarray, size: int | None, grey: bool | None) -> np.ndarray:
    """The images (N, h, w, 1 or 3), uint8 or in [-1, 1], as ``pixels`` shapes files: (N, size, size, 1 or 3)."""
    if grey and images.shape[-1] == 3:
        mixed = (images @ _LUMA)[..., None]
        images = (mixed.round() if images.dtype == np.uint8 else mixed).astype(images.dtype)
    if grey is False and images.shape[-1] == 1:
        images = np.repeat(images, 3, -1)
    if size is None or images.shape[1:3] == (size, size):
        return images
    Image, _ = _pillow()
    channels = images.transpose(0, 3, 1, 2).reshape(-1, *images.shape[1:3])
    small = np.stack([np.asarray(_square(Image.fromarray(channel), size)) for channel in channels])
    small = small.reshape(len(images), -1, size, size).transpose(0, 2, 3, 1)
    return small if small.dtype == np.uint8 else small.clip(-1, 1)  # Lanczos overshoots


def stacked(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, h, w, c) of images by name, grey among colour repeated. Raises ValueError for different shapes."""
    (first, like), *_ = found.items()
    for name, image in found.items():
        if image.shape[:2] != like.shape[:2]:
            sides = [f"{w}×{h}" for h, w, _ in (like.shape, image.shape)]
            raise ValueError(f"{first} has {sides[0]} pixels, {name} {sides[1]}; needs one shape, or size=")
    channels = max(image.shape[2] for image in found.values())
    return np.stack([np.broadcast_to(image, (*like.shape[:2], channels)) for image in found.values()])


def chosen(labels: np.ndarray, names: Sequence[str], classes: Sequence[int | str]) -> np.ndarray:
    """Which labels, numbers into names, are among the classes. Raises ValueError as ``numbers``."""
    return np.isin(labels, numbers(names, classes))


def numbers(names: Sequence[str], classes: Sequence[int | str]) -> list[int]:
    """The number of each class, without repetition. Raises ValueError for an unknown one and for none."""
    for c in classes:
        if c not in names and c not in range(len(names)):
            raise ValueError(f"got class {c!r}; needs a number 0-{len(names) - 1} or a name of {tuple(names)}")
    if not len(classes):
        raise ValueError(f"got classes {list(classes)!r}; needs at least one of {tuple(names)}")
    return sorted({list(names).index(str(c)) if c in names else int(c) for c in classes})


def _pillow() -> tuple[Any, Any]:
    """Pillow's two modules, on first use: the kernels do without it."""
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pictures are read and resized by Pillow; needs: pip install pillow") from error
    return Image, ImageOps


def _square(image: Any, size: int) -> Any:
    """The centred square, resized by Lanczos."""
    Image, _ = _pillow()
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
