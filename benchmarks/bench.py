"""What the kernels cost, as ratios within one run: against the arithmetic they cannot avoid, and against peers.

``python benchmarks/bench.py [--quick] [--json PATH]``; see benchmarks/README.md.
"""

import argparse
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"  # the peers run there too

import parts
import train
import worker
from inputs import QUICK, Settings, inputs
from report import machine, versions, write
from timing import cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, about a minute, no verdicts")
    parser.add_argument(
        "--json", type=Path, default=worker.BUILD / "bench.json", help="the Markdown table goes beside it"
    )
    options = parser.parse_args()
    s, computer = QUICK if options.quick else Settings(), machine()
    python, why = worker.ensure_python(install=not options.quick)
    with tempfile.TemporaryDirectory() as name:
        i = inputs(s, Path(name))
        i.write()
        with worker.started(python, Path(name), why) as peers:
            rows = parts.empirical(s, i, peers) + parts.growing(s, i)
            rows += parts.sampler(s, i, peers) + parts.gaussian(s, i) + parts.distillation(s, i)
    t = train.QUICK if options.quick else train.TrainSettings()
    rows += train.training(t, python, why)[0]
    threads = {"threads": cores(), "torch threads": peers.threads}
    header = {
        "machine": computer,
        "versions": versions() | peers.versions,
        "settings": {"quick": options.quick} | threads | asdict(s) | {"training": asdict(t)},
        "missing": peers.missing,
    }
    rows = [replace(row, judged=not options.quick) for row in rows]
    write(header, rows, options.json)


if __name__ == "__main__":
    main()
