"""What the kernels cost, as ratios within one run: against the arithmetic they cannot avoid, and against peers.

``python benchmarks/bench.py [--quick] [--json PATH]``; see benchmarks/README.md.
"""

import argparse
import json
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"  # the peers run there too

import parts
import worker
from inputs import QUICK, Settings, inputs
from report import as_json, as_markdown, machine, versions
from timing import cores

BUILD = Path(__file__).resolve().parents[1] / "build"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, about a minute, no verdicts")
    parser.add_argument("--json", type=Path, default=BUILD / "bench.json", help="the Markdown table goes beside it")
    options = parser.parse_args()
    s, computer = QUICK if options.quick else Settings(), machine()
    python, why = worker.ensure_python(install=not options.quick)
    with tempfile.TemporaryDirectory() as name:
        i = inputs(s, Path(name))
        i.write()
        with worker.started(python, Path(name), why) as peers:
            rows = parts.empirical(s, i, peers) + parts.growing(s, i)
            rows += parts.sampler(s, i, peers) + parts.gaussian(s, i)
    threads = {"threads": cores(), "torch threads": peers.threads}
    header = {
        "machine": computer,
        "versions": versions() | peers.versions,
        "settings": {"quick": options.quick} | threads | asdict(s),
        "missing": peers.missing,
    }
    rows = [replace(row, judged=not options.quick) for row in rows]
    table = as_markdown(header, rows)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(as_json(header, rows), indent=1, ensure_ascii=False) + "\n")
    options.json.with_suffix(".md").write_text(table)
    print(table, end="")
    if computer["load_before"] > 0.5:
        print(f"\nThe machine was busy (load {computer['load_before']}): measure again on an idle one.")


if __name__ == "__main__":
    main()
