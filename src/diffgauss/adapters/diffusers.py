"""A model of diffusers, read from a folder on disk with its scheduler."""

import json
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from diffgauss.adapters.networks import Kind, NetworkDenoiser, NoiseSchedule
from diffgauss.adapters.torch import from_torch

KINDS: dict[str, Kind] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
MODELS = {"UNet2DModel": "unet", "DiTTransformer2DModel": "transformer", "Transformer2DModel": "transformer"}
"""The models that are called with images, times and at most a class, and the folders of a pipeline with them."""


def from_diffusers(
    folder: str | Path, *, label: int | None = None, images: ArrayLike | None = None
) -> NetworkDenoiser:
    """The denoiser D(x, σ) of a pipeline that diffusers saved: UNet2DModel or DiT, and the scheduler's ᾱ and kind.

    folder: with model_index.json, as ``pipeline.save_pretrained`` writes it; weights are read from safetensors
    files alone, and nothing is downloaded. label: the class, for a model that has classes. images: clean ones, on
    which the kind is tried (``from_network``). The scheduler's clipping is not applied; a pipeline with a vae
    denoises the vae's numbers, not pixels.
    Raises ValueError for a folder that lacks something or holds another kind of model.
    """
    folder = Path(folder)
    kind, place = _model(folder)
    if not list((folder / place).glob("*.safetensors")):
        raise ValueError(f"{folder / place} has no *.safetensors file; needs weights saved with safe_serialization")
    settings = _json(folder / "scheduler" / "scheduler_config.json", "the scheduler's settings")
    predicted = settings.get("prediction_type", "epsilon")
    try:
        import diffusers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("diffusers is missing; needs: pip install 'diffgauss[torch]'") from error
    scheduler: Any = getattr(diffusers, str(settings.get("_class_name")), None)
    alphas = getattr(scheduler.from_config(settings), "alphas_cumprod", None) if scheduler else None
    if alphas is None or predicted not in KINDS:
        found = f"{settings.get('_class_name')} and prediction_type {predicted!r}"
        raise ValueError(f"{folder} has {found}; needs a scheduler with alphas_cumprod and one of {list(KINDS)}")
    module = getattr(diffusers, kind).from_pretrained(
        folder / place, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
    )
    classes = module.config.get("num_class_embeds") or module.config.get("num_embeds_ada_norm")
    if (label is None) != (not classes):
        raise ValueError(f"label = {label} for a model with {classes or 'no'} classes; needs one of them, or none")
    if classes and label is not None and not 0 <= label < classes:
        raise ValueError(f"label = {label}; needs 0 to {classes - 1}")
    return from_torch(
        module, KINDS[predicted], NoiseSchedule.vp(alphas.numpy()), images=images,
        condition={} if label is None else {"class_labels": label},
    )  # fmt: skip


def event(folder: str | Path) -> tuple[int, int]:
    """Pixels of a side and channels of what a saved pipeline's model denoises. Raises ValueError as above."""
    folder = Path(folder)
    settings = _json(folder / _model(folder)[1] / "config.json", "the model's settings")
    return int(settings.get("sample_size") or 0), int(settings["in_channels"])


def _model(folder: Path) -> tuple[str, str]:
    """The name of a pipeline's model, and its folder."""
    index = _json(folder / "model_index.json", "a pipeline saved by diffusers")
    place = next((name for name in ("unet", "transformer") if name in index), "")
    kind = index[place][1] if place else "no model"
    if kind not in MODELS:
        raise ValueError(f"{folder} holds {kind}; needs one of {', '.join(MODELS)}")
    return kind, place


def _json(path: Path, what: str) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is not there; needs {what}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON ({error}); needs {what}") from error
