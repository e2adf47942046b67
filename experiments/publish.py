"""The folder that would go to a model hub: card, licence, zoo.json and weights. Nothing is uploaded.

python experiments/publish.py OUT     whoever owns the place then runs: hf upload OWNER/NAME OUT

The card is data/zoo/README.md, whose head the Hugging Face Hub reads. Files lie as in data/, so that the address at
which the Hub serves them can stand in DIFFGAUSS_STORE.
"""

import argparse
from pathlib import Path

from diffgauss import files
from diffgauss.data import store

ROOT = Path(__file__).resolve().parents[1]
TEXTS = {"README.md": "data/zoo/README.md", "LICENSE": "LICENSE", "zoo/zoo.json": "data/zoo/zoo.json"}


def publish(out: Path) -> list[str]:
    """Fill the folder; the paths in it. Raises ValueError for one with other files, and as ``store.fetch``."""
    weights = [path for path in store.registry() if path.startswith("zoo/")]
    wanted = sorted([*TEXTS, *weights])
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    if odd := sorted(there - set(wanted)):
        raise ValueError(f"{out} has {odd[0]}, which is not for publication; needs an empty folder")
    for path, source in TEXTS.items():
        files.write(out / path, (ROOT / source).read_bytes())
    for path in weights:
        store.fetch(path, out)
    return wanted


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    print(f"{len(publish(out))} files in {out}")
