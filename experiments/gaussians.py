"""Pictures by the Gaussian denoisers of images that are not shipped: data/results/gaussians.json, for notebook 9.

DIFFGAUSS_PNEUMONIAMNIST=FILE DIFFGAUSS_CIFAR10=FOLDER python experiments/gaussians.py [--out PATH]

For X-rays and for colour: 100 samples of D_G from the zoo's noises by its exact flow, as one PNG, the mean of the
training images, and the 64 largest variances. They are no images of the data sets.
"""

import argparse
import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image
from record import save

import diffgauss as dg
from diffgauss.results import folder

WHAT = "Samples of the Gaussian denoisers of X-rays and of colour images, with means and leading variances."
NETS = {"X-rays": "xray-n3400", "colour": "cifar-n50000"}


def png(pictures: np.ndarray) -> str:
    """Pictures (k, h, w, c) in [-1, 1], one below the other, as a PNG in base64."""
    pixels = np.round(np.clip(pictures + 1, 0, 2) * 127.5).astype(np.uint8).reshape(-1, *pictures.shape[2:])
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=folder() / "gaussians.json")
    options = parser.parse_args()
    found = {}
    for kind, name in NETS.items():
        images = dg.zoo.data(name)
        D_G = dg.GaussianDenoiser.from_data(images)
        drawn = np.asarray(D_G.flow(dg.zoo.noise(100, images.shape[1:]), 80.0, 0.0))
        mean = [float(f"{v:.4g}") for v in images.mean(0).ravel()]
        found[kind] = {"png": png(drawn), "shape": list(drawn.shape), "mean": mean,
                       "variances": np.asarray(D_G.lam[:64]).tolist()}  # fmt: skip
    save(options.out, WHAT, "python experiments/gaussians.py", found)


if __name__ == "__main__":
    main()
