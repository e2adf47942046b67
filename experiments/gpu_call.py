"""One call of gpu.py: its clock, its record, and its networks in pieces."""

import io
import re
import tarfile
import time
import traceback
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jax
from record import before, save

from diffgauss import files

PIECE, ROOM = 15_000_000, 60_000_000
"""Bytes of one piece, and of all: a machine that is lent may give back few files, and small ones."""

WHAT = "What a GPU gives: agreement with float64, speed, networks trained. Of each part: one entry a call."


class Call:
    """What the parts share.

    out: where record and pieces go; work: a folder for whole files of networks, NAME.safetensors and
    NAME.state.safetensors; resume: the out of an earlier call, whose record goes on and whose pieces go to work;
    quick: small sizes, no clock; seconds: of all parts. Raises ValueError where resume holds no record or
    broken pieces, and where out holds a record that would be overwritten.
    """

    def __init__(self, out: Path, work: Path, *, resume: Path | None = None, quick: bool, seconds: float):
        self.out, self.work, self.quick = out, work, quick
        if (out / "gpu.json").exists() and (resume is None or resume.resolve() != out.resolve()):
            raise ValueError(f"{out} holds the record of an earlier call; needs --resume {out}, or another folder")
        if resume is not None and not (resume / "gpu.json").exists():
            raise ValueError(f"{resume} holds no gpu.json; needs the OUT of an earlier call")
        self.number = unpack(resume, work) if resume is not None and sets(resume) else 0
        numbers = {} if resume is None else before(resume / "gpu.json")
        self.parts: dict[str, list[dict[str, Any]]] = numbers.get("parts", {})
        self.end = self.until = time.monotonic() + seconds
        self.found: dict[str, Any] = {}
        self.wrong: list[str] = []

    @property
    def left(self) -> float:
        """Seconds left to the present part."""
        return self.until - time.monotonic()

    def part(self, name: str, does: Callable[["Call"], None], share: float) -> None:
        """Run a part in that share of the time left; where it raises, the record says so and the others go on."""
        start = time.monotonic()
        self.until = start + share * (self.end - start)
        self.found = {"card": jax.devices()[0].device_kind, "date": date.today().isoformat(), "quick": self.quick}
        self.parts.setdefault(name, []).append(self.found)
        self.write()
        try:
            does(self)
        except Exception as error:  # the others may still tell something
            self.note("failed", failure(error))
            self.wrong.append(f"part {name} failed: {failure(error)}")
        self.note("seconds", time.monotonic() - start)

    def note(self, what: str, value: Any) -> None:
        """Add to the present part, and write the record."""
        self.found[what] = value
        print(f"{self.left:.0f} s left; {what}: {value}"[:300], flush=True)
        self.write()

    def write(self) -> None:
        """The record, whole or not at all."""
        save(self.out / "gpu.json", WHAT, "python experiments/gpu.py OUT", {"parts": self.parts})

    def measure(self, what: str, does: Callable[[], Any], *, needs: float = 5.0) -> None:
        """Note what does() returns, or why there is nothing: too few seconds left, or what it raised."""
        if self.left < needs and not self.quick:
            return self.note(what, {"left out": f"{max(self.left, 0):.0f} s were left"})
        try:
            self.note(what, does())
        except Exception as error:
            self.note(what, {"failed": failure(error)})
            self.wrong.append(f"{what} failed: {failure(error)}")

    def keep(self) -> None:
        """Put the files of work, finished networks first, into a new set of pieces."""
        self.number += 1
        order = sorted(self.work.glob("*.safetensors"), key=lambda f: (".state." in f.name, -f.stat().st_mtime))
        if left_out := pack(order, self.out, self.number):
            self.note("no room in the pieces for", left_out)


def failure(error: Exception) -> str:
    """One line of what was raised, and where."""
    said, (*_, last) = " ".join(str(error).split())[:500], traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {said} ({Path(last.filename).name}, line {last.lineno})"


def pack(chosen: list[Path], out: Path, number: int) -> list[str]:
    """Files as a tar archive in pieces ``state-NUMBER-iofN``; the names of those that ROOM does not hold.

    The sets before go when all pieces of this one are there: a kill at any moment leaves a whole one.
    """
    left_out, packed, old = [], io.BytesIO(), [path for of in sets(out).values() for path in of]
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in chosen:
            if packed.tell() + file.stat().st_size + 2**15 > ROOM:
                left_out.append(file.name)
            else:
                archive.add(file, arcname=file.name)
    content = packed.getbuffer()
    pieces = [content[i : i + PIECE] for i in range(0, len(content), PIECE)]
    for i, piece in enumerate(pieces):
        files.write(out / f"state-{number:04}-{i + 1}of{len(pieces)}", bytes(piece))
    for path in old:
        path.unlink()
    return left_out


def unpack(out: Path, into: Path) -> int:
    """Unpack the newest whole set of pieces, and return its number. Raises ValueError where none is whole.

    What is in the files is checked where they are read, by their SHA-256.
    """
    for number, pieces in sorted(sets(out).items(), reverse=True):
        if pieces[0].name.endswith(f"of{len(pieces)}"):
            with tarfile.open(fileobj=io.BytesIO(b"".join(p.read_bytes() for p in pieces))) as archive:
                archive.extractall(into, filter="data")
            return number
    raise ValueError(f"{out} holds no whole set of pieces; needs all of state-NUMBER-1ofN to NofN")


def sets(out: Path) -> dict[int, list[Path]]:
    """The pieces of each set in a folder, in order, by its number."""
    found: dict[int, list[Path]] = {}
    for path in sorted(out.glob("state-*")):
        if match := re.fullmatch(r"state-(\d{4})-\d+of\d+", path.name):
            found.setdefault(int(match[1]), []).append(path)
    return found
