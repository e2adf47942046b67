"""What a training step costs, as ratios within one run: against the same network and the same step in PyTorch.

``python benchmarks/train.py [--quick] [--json PATH]``; see benchmarks/README.md. ``bench.py`` runs it too.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"  # the peers run there too

from report import Row, machine, ratio, versions, write
from same import CONFIG, check, operations, prepare
from timing import cores, in_turns
from worker import BUILD, HERE, Worker, ensure_python, running

OURS, EAGER, COMPILED, PRODUCT = "diffgauss", "torch eager", "torch compiled", "product"
SHARES = "diffgauss, a share of the batch for each core"
Turns = dict[str, Callable[[], float]]


@dataclass(frozen=True)
class TrainSettings:
    """steps: of training in one turn; seeds: runs to the loss of D_G; widths, sizes: the first is 1 ×."""

    rounds: int = 5
    steps: int = 32
    width: int = 16
    size: int = 28
    sampler_batch: int = 64
    levels: int = 18
    seeds: int = 2
    widths: tuple[int, ...] = (8, 16, 32)
    sizes: tuple[int, ...] = (28, 32, 64)
    peers: tuple[str, ...] = (EAGER, COMPILED)


QUICK = TrainSettings(
    rounds=2, steps=2, sampler_batch=8, levels=4, seeds=0, widths=(16,), sizes=(28,), peers=(EAGER,)
)


@dataclass
class Cores:
    """The two processes on n cores: ours, and torch's or why there is none."""

    n: int
    ours: Worker
    torch: Worker | None
    missing: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "1 core" if self.n == 1 else f"{self.n} cores"


def training(s: TrainSettings, python: Path | None, why: str) -> tuple[list[Row], dict[str, str]]:
    """All rows, and torch's version; python: the peers', or None and why not."""
    if not hasattr(os, "sched_setaffinity"):
        return [Row("training", "a training step", [], note="this system cannot keep a process to one core")], {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, rows, run = Path(name), [], []
        target = prepare(s.width, s.size, s.sampler_batch, s.levels, folder)
        for n in range(1, min(cores(), 2) + 1):
            at = Cores(n, ours(stack, folder, n), None, dict.fromkeys(s.peers, why))
            if python is not None:
                cache = {"TORCHINDUCTOR_CACHE_DIR": str(folder / f"compiled{n}")}
                command = (python, "-W", "ignore", HERE / "train_torch.py", folder, n)
                at.torch, at.missing = stack.enter_context(running(*command, cores=n, **cache)), {}
                if n == 1:
                    check(folder, at.torch)
            rows += steps(s, at) + samples(s, at)
            run.append(at)
        rows += reaching(s, run[0], target) if s.seeds else []
        workers = {str(at): at.ours for at in run}
        if len(run) > 1:
            flag = "--xla_force_host_platform_device_count=2"
            workers["2 devices"] = ours(stack, folder, 2, XLA_FLAGS=flag)
        found = {} if run[0].torch is None else run[0].torch.ready
        return rows + growing(s, run[0].ours) + spreading(s, workers), found


def ours(stack: ExitStack, folder: Path, n: int, **environment: str) -> Worker:
    return stack.enter_context(running(sys.executable, HERE / "train_ours.py", folder, cores=n, **environment))


def steps(s: TrainSettings, at: Cores) -> list[Row]:
    """A training step: ours and torch's, and the share of the machine's rate that ours reaches."""
    n, kind = s.steps, [s.width, s.size, 0]
    turns: Turns = {OURS: partial(at.ours.ask, "step", kind, n)}
    for name, torch in [(name, at.torch) for name in s.peers if at.torch is not None]:
        if problem := torch.ask("lacks", name):
            at.missing[name] = f"not available: {problem}"
        else:
            turns[name] = partial(torch.ask, "step", [name, 0], n)
    extra = first_calls(turns, n)
    times = in_turns(turns | {PRODUCT: partial(at.ours.ask, "product")}, s.rounds)
    what = f"step on {at}"
    return [
        *against("training", what, times, s.peers, at),
        *(Row("training", f"{what}: {name}, images a second and core", per_core(at, times[name]), "/s")
          for name in turns),
        share(f"{what}: {OURS}", times[OURS], times[PRODUCT], 3 * operations(s.width, s.size, CONFIG.batch)),
        *(Row("training", f"{what}: first call beyond a later one, {name}", [t], "s") for name, t in extra.items()),
    ]  # fmt: skip


def samples(s: TrainSettings, at: Cores) -> list[Row]:
    """The sampler with the network that the steps above have trained."""
    turns: Turns = {OURS: partial(at.ours.ask, "sample", [s.width, s.size, 0])}
    if at.torch is not None:
        turns |= {n: partial(at.torch.ask, "sample", [n, 0]) for n in s.peers if n not in at.missing}
    shared: Turns = {SHARES: partial(at.ours.ask, "shares", [s.width, s.size, 0])} if at.n > 1 else {}
    extra, times = first_calls(turns, 1), in_turns(turns | shared, s.rounds)
    what = f"{s.levels} Heun steps, batch {s.sampler_batch}, on {at}"
    return [
        *against("sampling", what, times, s.peers, at),
        *(row for name in shared for row in against("sampling", what, times, s.peers, at, name)),
        *(Row("sampling", f"{what}: first call beyond a later one, {name}", [t], "s") for name, t in extra.items()),
    ]  # fmt: skip


def reaching(s: TrainSettings, at: Cores, target: float) -> list[Row]:
    """Seconds of training, from the same weights, until the averaged net's held-out loss is at most D_G's."""
    kinds: dict[str, tuple[Worker, list[int | str]]] = {OURS: (at.ours, [s.width, s.size])}
    if at.torch is not None:
        kinds[EAGER] = (at.torch, [EAGER])
    times: dict[str, list[float]] = {name: [] for name in kinds}
    counts: dict[str, list[float]] = {name: [] for name in kinds}
    for seed in range(1, s.seeds + 1):
        left, used, n = dict(kinds), dict.fromkeys(kinds, 0.0), 0
        while left and n < 4096:
            n += s.steps
            for name, (worker, kind) in list(left.items()):
                used[name] += s.steps * worker.ask("step", [*kind, seed], s.steps)
                if worker.ask("held_out", [*kind, seed]) <= target:
                    times[name].append(used[name])
                    counts[name].append(n)
                    del left[name]
        if left:
            raise SystemExit(f"after {n} steps the loss of {', '.join(left)} is still above D_G's, {target:.3f}")
    text = f"until the held-out loss is D_G's ({target:.3f}), on {at}"
    return [
        ratio("training", f"{text}: {OURS} / {EAGER}", times, OURS, EAGER, note=at.missing.get(EAGER, "")),
        *(Row("training", f"{text}: {name}", counts[name], "steps") for name in kinds),
    ]


def growing(s: TrainSettings, one: Worker) -> list[Row]:
    """Our step on one core as the net widens and the images grow."""
    rows, n = [], s.steps
    series = {"width": [(w, s.size) for w in s.widths], "size": [(s.width, size) for size in s.sizes]}
    for i, (what, kinds) in enumerate(series.items()):
        turns: Turns = {f"{what} {k[i]}": partial(one.ask, "step", [*k, 0], n) for k in kinds}
        for first in turns.values():
            first()
        times = in_turns(turns | {PRODUCT: partial(one.ask, "product")}, min(s.rounds, 3))
        names, counts = list(turns), [3 * operations(*k, CONFIG.batch) for k in kinds]
        for name, count in zip(names[1:], counts[1:], strict=True):
            text = f"step at {name} / at {names[0]}, {count / counts[0]:.3g} × the operations"
            rows.append(ratio(f"by {what}", text, times, name, names[0]))
        for name, count in zip(names, counts, strict=True):
            rows.append(replace(share(f"step at {name}", times[name], times[PRODUCT], count), part=f"by {what}"))
    return rows


def spreading(s: TrainSettings, workers: dict[str, Worker]) -> list[Row]:
    """Our step on one core, on two, and on two as a device each."""
    if len(workers) < 3:
        return [Row("by device", "step on 2 devices", [], note="this machine has one core")]
    turns: Turns = {n: partial(w.ask, "step", [s.width, s.size, 0], s.steps) for n, w in workers.items()}
    for first in turns.values():
        first()
    times, (one, two, devices) = in_turns(turns, min(s.rounds, 5)), workers
    return [
        ratio("by device", f"step on {one} / on {two}, 1 device each", times, one, two),
        ratio(
            "by device", f"step on {one} / on {devices} of 1 core, each with half the batch", times, one, devices
        ),
    ]


def against(
    part: str, what: str, times: dict[str, list[float]], peers: Sequence[str], at: Cores, ours: str = OURS
) -> list[Row]:
    return [
        ratio(part, f"{what}: {ours} / {p}", times, ours, p, goal=("≤", 1), note=at.missing.get(p, ""))
        for p in peers
    ]


def per_core(at: Cores, times: list[float]) -> list[float]:
    """Images a second."""
    return [CONFIG.batch / (t * at.n) for t in times]


def first_calls(turns: Turns, n: int) -> dict[str, float]:
    """Seconds that the first turn takes beyond the second; a turn is n calls and gives their mean."""
    return {name: max(0.0, n * (turn() - turn())) for name, turn in turns.items()}


def share(what: str, times: list[float], products: list[float], count: int) -> Row:
    """The rate of count operations in the times over the rate of the 2·2048³ of a large product."""
    values = [100 * count / t / (2 * 2048**3 / p) for t, p in zip(times, products, strict=True)]
    return Row("training", f"{what}, share of the rate of a 2048³ matrix product", values, "%")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few steps, a minute or two, no verdicts")
    parser.add_argument("--json", type=Path, default=BUILD / "train.json", help="the Markdown table goes beside it")
    options = parser.parse_args()
    s, computer = QUICK if options.quick else TrainSettings(), machine()
    python, why = ensure_python(install=not options.quick)
    rows, found = training(s, python, why)
    rows = [replace(row, judged=not options.quick) for row in rows]
    settings = {"quick": options.quick} | asdict(s) | {"batch": CONFIG.batch}
    write(
        {"machine": computer, "versions": versions() | found, "settings": settings, "missing": {}},
        rows,
        options.json,
    )


if __name__ == "__main__":
    main()
