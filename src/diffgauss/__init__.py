"""diffgauss: diffusion models that generalize are biased towards Gaussian denoisers. ``import diffgauss as dg``."""

from diffgauss import checkpoint as checkpoint
from diffgauss import lesson as lesson
from diffgauss._core import Denoiser as Denoiser
from diffgauss.data import disjoint_halves as disjoint_halves
from diffgauss.data import load as load
from diffgauss.data import subset as subset
from diffgauss.denoisers.empirical import EmpiricalDenoiser as EmpiricalDenoiser
from diffgauss.denoisers.gaussian import GaussianDenoiser as GaussianDenoiser
from diffgauss.denoisers.unet import EDMDenoiser as EDMDenoiser
from diffgauss.denoisers.unet import UNet as UNet
from diffgauss.metrics import generalization as generalization
from diffgauss.metrics import nearest as nearest
from diffgauss.metrics import score_rmse as score_rmse
from diffgauss.ode import euler as euler
from diffgauss.ode import heun as heun
from diffgauss.ode import sample as sample
from diffgauss.ode import trajectory as trajectory
from diffgauss.ode import velocity as velocity
from diffgauss.schedule import edm_scalings as edm_scalings
from diffgauss.schedule import karras_sigmas as karras_sigmas
from diffgauss.schedule import lognormal_sigmas as lognormal_sigmas
from diffgauss.train import TrainConfig as TrainConfig
from diffgauss.train import TrainState as TrainState
from diffgauss.train import fit as fit
from diffgauss.train import train_steps as train_steps
