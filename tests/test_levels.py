"""Networks of one level: what is trained, what is measured, and that the verdicts can say no."""

import copy

import jax.numpy as jnp
import levels
import numpy as np
import pytest
from flax import nnx

import diffgauss as dg


@pytest.mark.parametrize("kind", levels.KINDS)
def test_a_network_starts_at_0_learns_and_is_not_told_the_level(kind, train):
    images = train[:256]
    D, losses = levels.trained(kind, images, 1.5, 0.7, steps=24)
    start = levels.Autoencoder(levels.KINDS[kind](nnx.Rngs(0)), 0.7)
    assert not np.asarray(start(jnp.asarray(images[:2]), 1.5)).any()
    assert losses[0] == pytest.approx((images**2).mean(), rel=0.15)  # the answer 0 costs E‖x₀‖²/d
    assert losses[-4:].mean() < 0.8 * losses[0]
    x = jnp.asarray(images[:3])
    same = D(x / np.float32(1.5**2 + 0.49) ** 0.5, (1 - 0.49) ** 0.5)  # c_in is 1 there
    np.testing.assert_allclose(D(x, 1.5), same, atol=2e-6)


def test_the_gains_of_the_gaussian_denoiser_are_its_own(train):
    D_G = dg.GaussianDenoiser.from_data(train[:4096])
    found = levels.gains(D_G, train[:1024], D_G, 1.5)
    lam = np.asarray(D_G.lam)[: levels.COMPONENTS]
    np.testing.assert_allclose(found, lam / (lam + 1.5**2), atol=2e-5)


def record(rank: float, memory: float, place: float) -> dict:
    """A made-up record in which D_M is so many times as far as D_G, p and the rank correlation are as given."""
    rows = [
        {"sigma": s, "rank": rank, "rmse held-out": {"D_G": 0.1, "D_M": 0.1 * memory}, "position": [place, 0, 0, 0]}
        for s in levels.LEVELS
    ]
    return {f"{name}, {kind}": copy.deepcopy(rows) for name in levels.DATA for kind in levels.KINDS}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (record(-0.9, 1.6, 0.3), {"F24": "holds", "B5m": "holds"}),
        (record(-0.7, 1.4, 0.3), {"F24": "fails", "B5m": "fails"}),
        (record(-0.9, 1.6, 0.6), {"F24": "fails", "B5m": "holds"}),
        ({"sneakers, MLP": []}, {"F24": "not yet", "B5m": "not yet"}),
    ],
    ids=["near D_G", "D_M not further", "p above one half", "nothing measured"],
)
def test_verdicts_follow_the_criteria(numbers, expected):
    assert levels.verdicts(numbers) == expected


def test_one_bad_kind_or_level_leaves_a_part():
    one = record(-0.9, 1.6, 0.3)
    for row in one["X-rays, transformer"]:
        row["position"][0] = 0.7
    one["sneakers, MLP"][4]["rank"] = 0.1
    assert levels.verdicts(one) == {"F24": "holds in part", "B5m": "holds in part"}


@pytest.mark.slow
def test_a_run_writes_all_numbers_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(levels, "STEPS", 32)
    monkeypatch.setattr(levels, "LEVELS", levels.LEVELS[4:6])
    out = tmp_path / "a.json"
    monkeypatch.setattr("sys.argv", ["levels.py", "--kind", "MLP", "--data", "sneakers", "--out", str(out)])
    levels.main()
    first = levels.before(out)
    rows = first["sneakers, MLP"]
    assert [row["steps"] for row in rows] == [[4, 8, 16, 32]] * 2 and len(rows[0]["gains"]) == levels.COMPONENTS
    assert all(np.isfinite(row["rmse held-out"]["D_G"]) and -1 <= row.get("rank", 0) <= 1 for row in rows)
    levels.main()
    assert levels.before(out) == first and first["F24"] == "not yet"
