"""Shape checks on every call into diffgauss, no silent broadcasting, and the data that the tests share."""

import contextlib
from collections.abc import Iterator

import jax
import jax.experimental
import jaxtyping
import matplotlib
import numpy as np
import pytest
from hypothesis import settings

jaxtyping.install_import_hook("diffgauss", "beartype.beartype")  # before diffgauss is first imported
jax.config.update("jax_numpy_rank_promotion", "raise")
matplotlib.use("agg")
settings.register_profile("theorems", deadline=None, derandomize=True, max_examples=30, database=None)
settings.load_profile("theorems")


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """JAX in double precision; ``jax.enable_x64`` came after the lower end of the supported window."""
    enable = getattr(jax if hasattr(jax, "enable_x64") else jax.experimental, "enable_x64")  # noqa: B009
    with enable(True):
        yield


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The package as users run it, without the tests' shape checks, so that its own errors are seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def train() -> np.ndarray:
    import diffgauss as dg

    return dg.load(split="train")


@pytest.fixture(scope="session")
def test() -> np.ndarray:
    import diffgauss as dg

    return dg.load(split="test")


@pytest.fixture(scope="session")
def D_M(train):
    import diffgauss as dg

    return dg.EmpiricalDenoiser.from_data(train)


@pytest.fixture(scope="session")
def D_G(train):
    import diffgauss as dg

    return dg.GaussianDenoiser.from_data(train)
