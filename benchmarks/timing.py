"""Turns on the clock. Standard library only: the project's and the peers' Python both import this."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

Call = Callable[[], Any]
"""One call of what is measured; it returns when the result is there."""


def cores() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds(call: Call, calls: int = 1) -> float:
    """Seconds per call over a run of calls; a run of several is led in by one that is not timed."""
    if calls > 1:
        call()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def in_turns(turns: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run the candidates A B C A B C …, so that the drift of the machine falls on all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            times[name].append(turn())
    return times


def answer(reply: TextIO, tasks: Mapping[str, Callable[..., Any]]) -> None:
    """Answer each line of JSON, [task, *arguments], with one more."""
    for line in sys.stdin:
        task, *arguments = json.loads(line)
        print(json.dumps(tasks[task](*arguments)), file=reply, flush=True)


def resident_growth(call: Call) -> float | None:
    """Megabytes by which one call lifts the peak of resident memory above where it starts; None off Linux."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        reset.write_text("5", encoding="utf-8")  # the peak starts anew from here
        start = _kilobytes(status, "VmRSS")
        call()
        return (_kilobytes(status, "VmHWM") - start) * 1024 / 1e6
    except OSError:
        return None


def _kilobytes(status: Path, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", status.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise OSError(f"the kernel reports no {field}")
    return int(found[1])
