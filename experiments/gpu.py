"""What one GPU can tell in nine minutes: PYTHONPATH=src python experiments/gpu.py OUT [--parts a,b,c,d,e]

a  every kernel against float64 on the processor, with and without TF32, and the first losses of training
b  seconds of kernels and training steps, beside the card's own limits and torch
c  n60000-small, the network at full resolution
d  cifar-n50000-w64, the wide network of colour images, where DIFFGAUSS_CIFAR10 names them
e  what the zoo still lacks, all seeds of a network in one call (jax.vmap)

OUT/gpu.json is written after each measurement. Networks in training are kept in OUT too, in pieces of at most
15 MB; --resume FOLDER goes on from those of an earlier call. The status is 1 where a kernel is wrong or something
failed. Needs jax, flax, optax, numpy, safetensors, tqdm and jaxtyping; torch, if this Python or the one that
DIFFGAUSS_PEERS names has it.
"""

import argparse
import os
import sys
import tempfile
import threading
from pathlib import Path

SHARES = {"a": 2.0, "b": 3.0, "c": 3.5, "d": 1.0, "e": 1.0}
"""Of the time; what a part leaves over goes to those after it."""

RESERVE = 20
"""Seconds before the end in which no part begins anything."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder for gpu.json and the pieces")
    parser.add_argument("--parts", default="a,b,c,d,e", help="some of a,b,c,d,e; they keep this order")
    parser.add_argument("--resume", type=Path, help="the OUT of an earlier call: go on from there")
    parser.add_argument("--quick", action="store_true", help="small sizes and no clock, for a test on a processor")
    parser.add_argument("--seconds", type=float, default=540, help="after which the call ends in any case: 540")
    options = parser.parse_args()
    chosen = options.parts.split(",")
    if unknown := set(chosen) - SHARES.keys():
        parser.error(f"got part {', '.join(sorted(unknown))}; there are {', '.join(SHARES)}")
    watch = threading.Timer(options.seconds, stop)
    watch.daemon = True
    if not options.quick:
        watch.start()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch uses the same card
    from gpu_call import Call  # imports jax, so that it comes after all this

    with tempfile.TemporaryDirectory() as work:
        try:
            call = Call(options.out, Path(work), resume=options.resume, quick=options.quick,
                        seconds=options.seconds - RESERVE)  # fmt: skip
        except ValueError as error:
            parser.error(str(error))
        return run(call, [part for part in SHARES if part in chosen])


def run(call, parts: list[str]) -> int:
    """The parts in turn; 1 where something is wrong, else 0."""
    from gpu_agreement import agreement
    from gpu_speed import speed
    from gpu_training import colour, flagship, sweeps

    does = {"a": agreement, "b": speed, "c": flagship, "d": colour, "e": sweeps}
    for i, part in enumerate(parts):
        call.part(part, does[part], SHARES[part] / sum(SHARES[other] for other in parts[i:]))
    for line in call.wrong:
        print(f"gpu.py: {line}", file=sys.stderr)
    return 1 if call.wrong else 0


def stop() -> None:
    """End at once: the record and the pieces are those of a moment ago."""
    print("gpu.py: the time is over", file=sys.stderr, flush=True)
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())
