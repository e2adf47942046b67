"""diffgauss: diffusion models that generalize are biased towards Gaussian denoisers. ``import diffgauss as dg``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffgauss import zoo as zoo
from diffgauss.adapters.diffusers import from_diffusers as from_diffusers
from diffgauss.adapters.networks import (
    NetworkDenoiser as NetworkDenoiser,
    NoiseSchedule as NoiseSchedule,
    from_network as from_network,
)
from diffgauss.adapters.torch import from_torch as from_torch
from diffgauss.beyond import theory as theory
from diffgauss.beyond.batches import in_shares as in_shares
from diffgauss.beyond.chosen import ChosenDenoiser as ChosenDenoiser
from diffgauss.beyond.local import LocalDenoiser as LocalDenoiser
from diffgauss.beyond.mixture import MixtureDenoiser as MixtureDenoiser
from diffgauss.beyond.screened import ScreenedDenoiser as ScreenedDenoiser
from diffgauss.core import Denoiser as Denoiser, apply as apply
from diffgauss.data.images import disjoint_halves as disjoint_halves, load as load, subset as subset
from diffgauss.denoisers.empirical import EmpiricalDenoiser as EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser as GaussianDenoiser
from diffgauss.denoisers.linear import LinearDenoiser as LinearDenoiser, affine as affine
from diffgauss.denoisers.network import EDMDenoiser as EDMDenoiser
from diffgauss.distill import distill as distill, distill_sgd as distill_sgd
from diffgauss.estimate import Estimate as Estimate
from diffgauss.measures.agreement import (
    sample_cosine as sample_cosine,
    sample_pearson as sample_pearson,
    sample_r2 as sample_r2,
)
from diffgauss.measures.bias import (
    excess as excess,
    linear_distance as linear_distance,
    position as position,
    pull as pull,
    skill as skill,
)
from diffgauss.measures.distance import (
    gap as gap,
    generalization as generalization,
    nearest as nearest,
    noisy as noisy,
    rmse as rmse,
    score_rmse as score_rmse,
)
from diffgauss.measures.jacobian import (
    jacobian_gains as jacobian_gains,
    jacobian_svd as jacobian_svd,
    subspace_alignment as subspace_alignment,
)
from diffgauss.measures.linearity import (
    linearity as linearity,
    linearity_deviation as linearity_deviation,
    pc_similarity as pc_similarity,
    weight_nmse as weight_nmse,
)
from diffgauss.nets.resnet import ResNet as ResNet
from diffgauss.nets.unet import UNet as UNet
from diffgauss.ode import (
    euler as euler,
    heun as heun,
    sample as sample,
    trajectory as trajectory,
    velocity as velocity,
)
from diffgauss.parallel import data_mesh as data_mesh
from diffgauss.results import results as results
from diffgauss.schedule import (
    edm_scalings as edm_scalings,
    karras_sigmas as karras_sigmas,
    lognormal_sigmas as lognormal_sigmas,
)
from diffgauss.train import (
    TrainConfig as TrainConfig,
    TrainState as TrainState,
    fit as fit,
    train_steps as train_steps,
)
from diffgauss.zoo import checkpoint as checkpoint

if TYPE_CHECKING:
    from diffgauss.notebook import lesson as lesson, plots as plots, solutions as solutions, widgets as widgets
    from diffgauss.tour.compare import compare as compare


def __getattr__(name: str) -> Any:
    """The notebooks' helpers and ``compare`` on first use: the kernels do without matplotlib and IPython."""
    if name == "compare":
        return import_module("diffgauss.tour.compare").compare
    if name in ("lesson", "plots", "solutions", "widgets"):
        try:
            return import_module(f"diffgauss.notebook.{name}")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"dg.{name} is for notebooks; needs: pip install {error.name}") from error
    raise AttributeError(f"module 'diffgauss' has no attribute {name!r}")
