"""How a script in experiments/ or benchmarks/ writes what it measured."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from diffgauss import files
from diffgauss.notebook.lesson import Claim
from diffgauss.zoo.runs import computer

HEAD = ("what", "command", "date", "machine")


def save(path: Path | None, what: str, command: str, numbers: dict[str, Any]) -> dict[str, Any]:
    """Write a record: what it is, the command, today's date, the machine with its versions, and the numbers.

    Floats are kept to five digits, because a record is read by people too. path: None for one that is a part of
    another.
    """
    record = dict(zip(HEAD, (what, command, date.today().isoformat(), computer()), strict=True)) | short(numbers)
    if path is not None:
        files.write(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def before(path: Path) -> dict[str, Any]:
    """The numbers of an earlier record, empty where there is none."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {key: value for key, value in known.items() if key not in HEAD}


def short(x: Any) -> Any:
    """Floats to five digits, in lists and dictionaries."""
    if isinstance(x, dict):
        return {key: short(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [short(value) for value in x]
    return float(f"{x:.5g}") if isinstance(x, float) else x


def kept(claims: list[Claim]) -> list[dict]:
    """What a record keeps of the rows of a ledger: all but the words of the list of claims, which has them."""
    words = {"claim", "paper", "criterion"}
    return [{field: value for field, value in c._asdict().items() if field not in words} for c in claims]


def changed(claims: list[Claim], recorded: Mapping[str, str]) -> list[str]:
    """A line for each verdict that is not the recorded one, and for each recorded claim that was not judged."""
    lines = [f"{c.id}: got {c.verdict}, recorded {c.recorded}" for c in claims if c.verdict != c.recorded]
    missing = recorded.keys() - {c.id for c in claims}
    return lines + [f"{name}: not judged, recorded {recorded[name]}" for name in recorded if name in missing]
