"""Shape checks on every call into diffgauss, no silent broadcasting, and the data that the tests share."""

from collections.abc import Iterator

import jax
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

from diffgauss.parallel import float64 as float64  # noqa: E402


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
