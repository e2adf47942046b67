"""diffgauss: diffusion models that generalize are biased towards Gaussian denoisers. ``import diffgauss as dg``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffgauss import zoo as zoo
from diffgauss.beyond import theory as theory
from diffgauss.beyond.chosen import ChosenDenoiser as ChosenDenoiser
from diffgauss.beyond.local import LocalDenoiser as LocalDenoiser
from diffgauss.beyond.mixture import MixtureDenoiser as MixtureDenoiser
from diffgauss.beyond.screened import ScreenedDenoiser as ScreenedDenoiser
from diffgauss.core import Denoiser as Denoiser
from diffgauss.core import apply as apply
from diffgauss.data.images import disjoint_halves as disjoint_halves
from diffgauss.data.images import load as load
from diffgauss.data.images import subset as subset
from diffgauss.denoisers.empirical import EmpiricalDenoiser as EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser as GaussianDenoiser
from diffgauss.denoisers.linear import LinearDenoiser as LinearDenoiser
from diffgauss.denoisers.linear import affine as affine
from diffgauss.denoisers.network import EDMDenoiser as EDMDenoiser
from diffgauss.distill import distill as distill
from diffgauss.distill import distill_sgd as distill_sgd
from diffgauss.estimate import Estimate as Estimate
from diffgauss.measures.agreement import sample_cosine as sample_cosine
from diffgauss.measures.agreement import sample_pearson as sample_pearson
from diffgauss.measures.agreement import sample_r2 as sample_r2
from diffgauss.measures.bias import excess as excess
from diffgauss.measures.bias import linear_distance as linear_distance
from diffgauss.measures.bias import position as position
from diffgauss.measures.bias import pull as pull
from diffgauss.measures.bias import skill as skill
from diffgauss.measures.distance import gap as gap
from diffgauss.measures.distance import generalization as generalization
from diffgauss.measures.distance import nearest as nearest
from diffgauss.measures.distance import noisy as noisy
from diffgauss.measures.distance import rmse as rmse
from diffgauss.measures.distance import score_rmse as score_rmse
from diffgauss.measures.jacobian import jacobian_gains as jacobian_gains
from diffgauss.measures.jacobian import jacobian_svd as jacobian_svd
from diffgauss.measures.jacobian import subspace_alignment as subspace_alignment
from diffgauss.measures.linearity import linearity as linearity
from diffgauss.measures.linearity import linearity_deviation as linearity_deviation
from diffgauss.measures.linearity import pc_similarity as pc_similarity
from diffgauss.measures.linearity import weight_nmse as weight_nmse
from diffgauss.nets.resnet import ResNet as ResNet
from diffgauss.nets.unet import UNet as UNet
from diffgauss.ode import euler as euler
from diffgauss.ode import heun as heun
from diffgauss.ode import sample as sample
from diffgauss.ode import trajectory as trajectory
from diffgauss.ode import velocity as velocity
from diffgauss.parallel import data_mesh as data_mesh
from diffgauss.results import results as results
from diffgauss.schedule import edm_scalings as edm_scalings
from diffgauss.schedule import karras_sigmas as karras_sigmas
from diffgauss.schedule import lognormal_sigmas as lognormal_sigmas
from diffgauss.train import TrainConfig as TrainConfig
from diffgauss.train import TrainState as TrainState
from diffgauss.train import fit as fit
from diffgauss.train import train_steps as train_steps
from diffgauss.zoo import checkpoint as checkpoint

if TYPE_CHECKING:
    from diffgauss.notebook import lesson as lesson
    from diffgauss.notebook import plots as plots
    from diffgauss.notebook import solutions as solutions
    from diffgauss.notebook import widgets as widgets


def __getattr__(name: str) -> Any:
    """The notebooks' helpers on first use: the kernels do without matplotlib, IPython and ipywidgets."""
    if name in ("lesson", "plots", "solutions", "widgets"):
        try:
            return import_module(f"diffgauss.notebook.{name}")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"dg.{name} is for notebooks; needs: pip install {error.name}") from error
    raise AttributeError(f"module 'diffgauss' has no attribute {name!r}")
