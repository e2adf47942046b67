"""Which images are for training and which are held out, and a line that says so."""

import os
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

OTHER = {"train": "test", "test": "train"}
HELD_OUT = ("test", "val", "valid", "validation")
"""Names of the folder, array or split that is held out where there is one named train; the first that is there."""


@dataclass(frozen=True)
class Report:
    """What a load met: found, used: images; passed: what was passed over, by kind; how the split was made."""

    source: str
    found: int
    used: int
    split: str
    how: str
    classes: tuple[str, ...] = ()
    passed: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """One line."""
        parts = [f"{self.source}: {self.found} images found, {self.used} used as {self.split!r} ({self.how})"]
        if self.classes:
            shown = ", ".join(self.classes[:10]) + (", …" if len(self.classes) > 10 else "")
            parts.append(f"{len(self.classes)} {'class' if len(self.classes) == 1 else 'classes'}: {shown}")
        if self.passed:
            parts.append("passed over: " + ", ".join(f"{kind} ({n})" for kind, n in self.passed))
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in "; ".join(parts))


FIFTH = "no split in the names: a fifth, by a hash of the names, is held out"


def fifth(names: Any, split: str) -> np.ndarray:
    """Which of the names belong to the split where nothing else says so: ⌊n/5⌋ are "test", the others "train".

    The hash of a name decides, not its place, since what follows each other is often alike: views of one object,
    frames of one film.
    """
    codes = np.array([zlib.crc32(os.fsencode(name)) for name in names], np.int64)
    test = np.zeros(len(codes), bool)
    test[np.argsort(codes, kind="stable")[: len(codes) // 5]] = True
    return test == (split == "test")
