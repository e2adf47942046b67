"""Images as pixels: decoded, of one shape, chosen by class."""

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's mode L
_DAMAGE = (
    OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError,
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


@contextmanager
def damage(name: str | Path) -> Iterator[None]:
    """Raises ValueError, with the name of the file, for whatever its reader says of damage."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(f"{name} is damaged or not what its name says ({error}); needs a whole file") from error


def pixels(name: str, content: bytes | str | Path, size: int | None, grey: bool | None) -> np.ndarray:
    """uint8 (h, w, 1 or 3) of one image file: its first frame, turned as EXIF says, on white where transparent.

    Raises ValueError for a damaged file and for more than 8 bits a channel.
    """
    with damage(name), Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as file:
        image = ImageOps.exif_transpose(file)
        image.load()
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{name} has pixels of mode {image.mode}; needs 8 bits a channel, or [-1, 1] in an .npy file"
        )
    mode = "L" if grey or (grey is None and image.mode in ("1", "L", "LA", "La")) else "RGB"
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert(mode)
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


def fifths(n: int, split: str) -> np.ndarray:
    """Which of n belong to the split where nothing else says so: every fifth is "test", the others "train"."""
    return (np.arange(n) % 5 == 4) == (split == "test")


def _square(image: Image.Image, size: int) -> Image.Image:
    """The centred square, resized."""
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
