"""What every notebook does the same way: report the environment, check numbers, mark exercises, keep the ledger."""

import ctypes
import importlib.metadata
import math
import platform
import tomllib
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
from IPython.core.getipython import get_ipython
from IPython.display import display
from packaging.requirements import Requirement
from packaging.version import Version

from diffgauss.notebook import answers
from diffgauss.notebook.solutions import EXERCISES

Verdict = Literal["holds", "partly", "fails"]
_outcomes: dict[str, bool] = {}
_written: dict[str, Callable] = {}


NEWEST = {
    "jax": "0.12", "flax": "0.12", "optax": "0.2", "numpy": "2.5", "scipy": "1.18", "matplotlib": "3.11",
    "ipywidgets": "8.1", "ipython": "9.18",
}  # fmt: skip
"""The newest releases that the notebooks were run with; the oldest are the package's own requirements."""


def env_report() -> None:
    """Print Python, package versions and device; warn once of packages that the notebooks were not tried with.

    From here on what a cell frees goes back to the system after it: glibc keeps half a gigabyte of a notebook's.
    """
    if (shell := get_ipython()) is not None and platform.libc_ver()[0] == "glibc":
        shell.events.register("post_run_cell", _trim)
    lines, odd = [f"Python {platform.python_version()}"], []
    for text in importlib.metadata.requires("diffgauss") or []:
        requirement = Requirement(text)
        if requirement.marker is not None:  # an extra: not needed to run a notebook
            continue
        version = importlib.metadata.version(requirement.name)
        lines.append(f"{requirement.name} {version}")
        newest = NEWEST.get(requirement.name)
        if not requirement.specifier.contains(version, prereleases=True):
            odd.append(f"{requirement.name} {version} is older than it needs to be ({requirement.specifier})")
        elif newest and Version(version).release[:2] > Version(newest).release:
            odd.append(f"{requirement.name} {version} is newer than {newest}")
    if odd:
        warnings.warn(
            f"These notebooks were not tried with all that is here: {'; '.join(odd)}. They will most likely run; "
            "if a check fails or a cell stops, this may be why.",
            stacklevel=2,
        )
    device = jax.devices()[0]
    print(f"diffgauss {importlib.metadata.version('diffgauss')} on {jax.device_count()} × {device.device_kind}")
    print(", ".join(lines))


def _trim(_: Any) -> None:
    ctypes.CDLL(None).malloc_trim(0)


def check(
    number: int | str,
    value: Any,
    quoted: float | None = None,
    *,
    text: str,
    tol: float | None = None,
    below: float | None = None,
    above: float | None = None,
) -> None:
    """|value − quoted| ≤ tol, and/or above ≤ value ≤ below: print what was measured, what was expected, and a mark.

    number: the objective's number, with a letter for a second check ("2b"); text: what the value is. nbval compares
    all but the measured digits (tools/nbval.cfg): a right run passes on every machine, and a mark that changes
    fails. Raises ValueError when there is nothing to compare with.
    """
    if (quoted is None) != (tol is None) or (quoted is None and below is None and above is None):
        raise ValueError(
            f"check {number}: got quoted={quoted}, tol={tol}, below={below}, above={above}; "
            "needs quoted with tol, or a bound"
        )
    value = float(value)
    passed, claims, digits = math.isfinite(value), [], 3
    if quoted is not None and tol is not None:
        passed &= abs(value - quoted) <= tol
        claims.append(f"{quoted:g} ± {tol:g}")
        digits = max(digits, sum(map(str.isdigit, f"{quoted:g}".lstrip("-0."))))
    if below is not None:
        passed &= value <= below
        claims.append(f"≤ {below:g}")
    if above is not None:
        passed &= value >= above
        claims.append(f"≥ {above:g}")
    print(f"{'✓' if passed else '✗'} {number}. {text}: {value:.{digits}g} (expected {', '.join(claims)})")
    _outcomes[f"check {number}"] = passed


def written(function: Callable) -> Callable:
    """Say whether a function that the reader wrote is right, wrong or not there yet, and return what to go on with.

    That is the function itself if it agrees with the kernel of its name, and else the kernel, with the same
    arguments. Raises ValueError for a function whose name is no task's.
    """
    found = answers.compared(function)
    _written[function.__name__] = function
    task = answers.TASKS[function.__name__]
    if found.state == "right":
        print(f"✓ {found.line}")
        return function
    print(f"{'○' if found.state == 'empty' else '✗'} {found.line}; the cells below go on with {task.name}")
    return task.kernel


def grade(name: str, seed: int = 0) -> None:
    """Raise AssertionError, with one line, unless the function that was last given to ``written`` is right.

    seed: of the arguments, other than those of the notebook; a function that reaches diffgauss is refused.
    """
    if name not in _written:
        raise AssertionError(f"{name} was not given to dg.lesson.written; run its cell and the one after it")
    found = answers.compared(_written[name], seed)
    if found.state != "right":
        raise AssertionError(found.line)
    if borrowed := answers.borrows(_written[name]):
        raise AssertionError(f"your {name} uses diffgauss itself ({borrowed}); needs to be written out")


def predicted(guess: Any, truth: Any, text: str) -> None:
    """Print a reader's prediction beside what was measured. guess: None if none was entered; text: of what."""
    shown = truth if isinstance(truth, str) else f"{float(truth):.4g}"
    if guess is None:
        print(f"No prediction yet: set `guess` and run the cell again. ({text[0].upper()}{text[1:]})")
    else:
        print(f"{text[0].upper()}{text[1:]}: you predicted {guess}; it is {shown}.")


def exercise(name: str, answer: Any = None) -> Any:
    """Say whether an answer is not attempted, right, or needs a hint; return the reference, so Run-all goes on.

    Raises ValueError for an unknown exercise.
    """
    if name not in EXERCISES:
        raise ValueError(f"got exercise {name!r}; there are {', '.join(EXERCISES)}")
    solution = EXERCISES[name]
    if answer is None:
        print(f"Exercise {name}: not attempted yet; set `answer` and run this cell again.")
        return solution.reference
    try:
        right = solution.agrees(answer)
    except Exception as error:  # whatever a student's code raises is an answer that is not right yet
        print(f"Exercise {name}: your answer raised {type(error).__name__}: {error}")
        right = False
    print(f"Exercise {name}: right." if right else f"Exercise {name}: not yet. Hint: {solution.hint}")
    return solution.reference


class Claim(NamedTuple):
    """A row of the ledger: the paper's claim and number, ours with its interval, and the verdict.

    why: for a verdict other than "holds", which part falls short, and the reason as far as it is known.
    """

    id: str
    claim: str
    paper: str
    ours: str
    criterion: str
    verdict: Verdict
    recorded: Verdict
    scale: str
    why: str = ""


class Listed(NamedTuple):
    """An entry of claims.toml: the claim, the paper's number, and what decides it.

    criterion: holds when; partly: partly when, empty where a claim holds or fails; section: its heading in
    docs/claims.md; judged: its networks are trained; caution: why a verdict is weaker than its word.
    """

    id: str
    section: str
    claim: str
    paper: str
    criterion: str
    partly: str = ""
    caution: str = ""
    judged: bool = True

    @property
    def rule(self) -> str:
        """The criterion, with what is "partly"."""
        return f"{self.criterion}; partly: {self.partly}" if self.partly else self.criterion


LIST = Path(__file__).with_name("claims.toml")
"""The one list of claims."""


@cache
def listed(path: Path = LIST) -> dict[str, Listed]:
    """The claims of the list by id, in its order. Raises ValueError for an id that it has twice."""
    page = tomllib.loads(path.read_text(encoding="utf-8"))
    later, found = set(page["not_yet_judged"]), {}
    for entry in page["claim"]:
        if entry["id"] in found:
            raise ValueError(f"{path.name}: got {entry['id']!r} twice; needs one entry a claim")
        found[entry["id"]] = Listed(**entry, judged=not later & {entry["section"], entry["id"]})
    return found


def claim(id: str, *, ours: str, verdict: Verdict, recorded: Verdict, scale: str, why: str = "") -> Claim:
    """The row of a claim: its words, the paper's number and the criterion are those of the list.

    Raises ValueError for an id that the list does not have.
    """
    if id not in listed():
        raise ValueError(f"got claim {id!r}; claims.toml has {', '.join(listed())}")
    entry = listed()[id]
    return Claim(id, entry.claim, entry.paper, ours, entry.rule, verdict, recorded, scale, why)


def verdict(*parts: Any, need: int = 1) -> Verdict:
    """All parts: holds; at least so many of them: partly."""
    return "holds" if all(parts) else "partly" if sum(map(bool, parts)) >= need else "fails"


CLAIMS = "application/vnd.diffgauss.claims+json"
"""The type under which an executed notebook keeps its claims, for RESULTS.md."""


def ledger(*claims: Claim) -> None:
    """Show the claims as a table. A verdict is a finding; only one that differs from the recorded one fails.

    Raises ValueError for a verdict other than "holds" without its why.
    """
    if silent := [c.id for c in claims if c.verdict != "holds" and not c.why]:
        raise ValueError(f"{', '.join(silent)}: got no why; a verdict other than 'holds' needs its reason")
    head = ("id", "claim", "paper", "ours", "criterion (docs/claims.md)", "verdict", "difference in scale")
    rows = [head, ("---",) * len(head)]
    for c in claims:
        rows.append((c.id, c.claim, c.paper, c.ours, c.criterion, f"**{c.verdict}**", c.scale))
        passed = c.verdict == c.recorded
        _outcomes[f"verdict {c.id}"] = passed
        if not passed:
            print(f"✗ verdict {c.id}: got {c.verdict}, recorded {c.recorded}")
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    table += "".join(f"\n\n{c.id} {c.verdict}: {c.why}" for c in claims if c.why)
    display({"text/markdown": table, CLAIMS: [c._asdict() for c in claims]}, raw=True)


def summary() -> None:
    """Print ``n of n checks passed`` (checks and recorded verdicts), and the names of those that failed."""
    failed = [name for name, passed in _outcomes.items() if not passed]
    print(f"{len(_outcomes) - len(failed)} of {len(_outcomes)} checks passed")
    if failed:
        print("failed: " + ", ".join(failed))
