"""What the scripts in experiments/ and benchmarks/ measured and the notebooks read: data/results/*.json."""

from pathlib import Path
from typing import Any

from diffgauss import files


def results(name: str) -> dict[str, Any]:
    """The record of that name, with what it is, the command, day, machine and versions that made it.

    Raises ValueError for a name that is not there and for a damaged record.
    """
    path = folder() / f"{name}.json"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder().glob("*.json")))
        raise ValueError(f"got {name!r}; data/results has {there or 'no record'}")
    return files.read_json(path)


def folder() -> Path:
    """Where the records are: inside an installed package, or at the top of a checkout."""
    here = Path(__file__).parent
    packaged = here / "data" / "results"
    return packaged if packaged.is_dir() else here.parents[1] / "data" / "results"
