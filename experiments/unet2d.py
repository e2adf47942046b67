"""Networks of diffusers on sneakers, for tests and notebook 10: data/diffusers/{sneaker-eps,sneaker-v}/.

python experiments/unet2d.py {eps,v} [--steps N] [--out FOLDER]

A UNet2DModel with diffusers' own scheduler, AdamW, cosine schedule and averaged weights, on the 3000 images of the
zoo's sneaker-n3000. The folder is what `pipeline.save_pretrained` writes, in half precision. Half an hour of
one core.
"""
# pyright: reportPrivateImportUsage=false

import argparse
import time
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from tqdm import tqdm

import diffgauss as dg

SCHEDULES: dict[str, dict[str, Any]] = {
    "eps": {"prediction_type": "epsilon", "beta_schedule": "linear"},
    "v": {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2"},
}


def model() -> diffusers.UNet2DModel:
    """Grey images of 28×28 at 28, 14 and 7 pixels: 0.7 million weights."""
    return diffusers.UNet2DModel(
        sample_size=28, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(16, 32, 64),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"), norm_num_groups=8, attention_head_dim=16,
    )  # fmt: skip


def train(kind: str, images: np.ndarray, steps: int, batch: int = 32, rate: float = 1e-3) -> diffusers.DDPMPipeline:
    """The pipeline after so many steps, with the averaged weights."""
    torch.manual_seed(0)
    unet: Any = model()
    scheduler: Any = diffusers.DDPMScheduler(num_train_timesteps=1000, **SCHEDULES[kind])
    optimizer = torch.optim.AdamW(unet.parameters(), lr=rate, betas=(0.95, 0.999), weight_decay=1e-6)
    falling = get_cosine_schedule_with_warmup(optimizer, 100, steps)
    averaged = EMAModel(unet.parameters(), decay=0.999, use_ema_warmup=True, power=0.75)
    x, losses, begin = torch.from_numpy(images).permute(0, 3, 1, 2), [], time.time()
    for step in (bar := tqdm(range(steps), mininterval=10)):
        x0 = x[torch.randint(len(x), (batch,))]
        eps, t = torch.randn_like(x0), torch.randint(1000, (batch,))
        noisy = scheduler.add_noise(x0, eps, t)
        target = eps if kind == "eps" else scheduler.get_velocity(x0, eps, t)
        loss = torch.nn.functional.mse_loss(unet(noisy, t).sample, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        falling.step()
        optimizer.zero_grad()
        averaged.step(unet.parameters())
        losses.append(loss.item())
        if step % 100 == 99:
            bar.set_postfix(loss=f"{np.mean(losses[-100:]):.4f}")
    averaged.copy_to(unet.parameters())
    print(f"{kind}: {steps} steps in {time.time() - begin:.0f} s, last loss {np.mean(losses[-200:]):.4f}")
    return diffusers.DDPMPipeline(unet.half(), scheduler)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=SCHEDULES)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "data" / "diffusers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = train(options.kind, dg.zoo.data("sneaker-n3000"), options.steps)
    made.save_pretrained(options.out / f"sneaker-{options.kind}", safe_serialization=True)


if __name__ == "__main__":
    main()
