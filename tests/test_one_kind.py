"""The verdicts on one kind of image follow from zoo.json and two records, and a wrong one would be seen."""

import copy

import numpy as np
import one_kind
import one_kind_claims as claims
import pytest
import record as record_of

import diffgauss as dg
from diffgauss.notebook import lesson


@pytest.fixture
def zoo():
    return copy.deepcopy(dg.zoo.shipped())


@pytest.fixture
def record():
    return copy.deepcopy(dg.results("one_kind"))


@pytest.fixture
def levels():
    return copy.deepcopy(dg.results("levels"))


def verdicts(zoo, record, levels):
    return {c.id: c.verdict for c in claims.judge(zoo, record, levels)}


def test_the_recorded_verdicts_follow(zoo, record, levels):
    rows = claims.judge(zoo, record, levels)
    assert record_of.kept(rows) == record["claims"] and not record_of.changed(rows, claims.RECORDED)
    judged = {c.id for c in lesson.listed().values() if c.section == "One kind of image" and c.judged}
    assert {c.id for c in rows} == set(claims.RECORDED) == judged
    assert set(claims.WHY) == {name for name, found in claims.RECORDED.items() if found != "holds"}
    assert record_of.short(claims.intervals(zoo)) == record["networks"]


def test_a_planted_wrong_verdict_is_seen(zoo, record, levels, monkeypatch):
    monkeypatch.setitem(claims.RECORDED, "C8s", "fails")
    assert record_of.changed(claims.judge(zoo, record, levels), claims.RECORDED) == [
        "C8s: got holds, recorded fails"
    ]
    monkeypatch.setitem(claims.RECORDED, "C99", "holds")
    assert "C99: not judged, recorded holds" in record_of.changed(
        claims.judge(zoo, record, levels), claims.RECORDED
    )


def spoil(zoo, names, change):
    for name in names:
        for scores in zoo[name]["scores"].values():
            change(scores)


def flip(scores, *path, value):
    for key in path[:-1]:
        scores = scores[key]
    scores[path[-1]] = value


SPOILED = {
    "C3s": ("sneaker-n16", lambda s: flip(s, "linearity", "centred", value=0.99), "fails"),
    "C3se": ("sneaker-n256", lambda s: flip(s, "linearity", "centred", value=0.99), "fails"),
    "C6s": ("sneaker-n3000-seed2", lambda s: flip(s, "rmse", "training", "D_M", value=[0.001] * 6), "fails"),
    "C6x": ("xray-n3400", lambda s: flip(s, "rmse", "training", "D_M", value=[0.05] * 6), "partly"),
    "C11s": ("sneaker-n3000-seed1", lambda s: flip(s, "r2", "D_M", value=[0.7, 0.6, 0.8]), "partly"),
    "C11se": ("sneaker-n3000-seed1", lambda s: flip(s, "cosine", "D_M", value=[0.99, 0.98, 1.0]), "fails"),
    "C9as": ("sneaker-n16", lambda s: flip(s, "position", value=[[0.1, 0, 0.2, 0]] * 3), "fails"),
    "C9cs": ("sneaker-n256-seed1", lambda s: flip(s, "memorized", value=0.5), "partly"),
    "F3s": ("sneaker-n64", lambda s: flip(s, "memorized", value=0.5), "partly"),
    "Ps": ("sneaker-n3000", lambda s: flip(s, "position", value=[[0.9, 0, 1, 0]] * 3), "fails"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_other_scores_give_another_verdict(name, zoo, record, levels):
    network, change, want = SPOILED[name]
    spoil(zoo, [network], change)
    assert verdicts(zoo, record, levels)[name] == want != claims.RECORDED[name]


def test_other_numbers_of_the_records_give_another_verdict(zoo, record, levels):
    for row in record["distilled"]["sneaker-n3000"]:
        row["D_L to D_θ"] = 0.3
        row["square"] = [0.1, 0.09, 0.11]
    record["skill"]["colour"]["0.47"] = {name: [1.0, 1.0] for name in record["skill"]["colour"]["0.47"]}
    record["cosine"]["halves"] = {pair: {"same noise": [0.5, 0.4, 0.6], "other noise": [0.0, -0.1, 0.1]}
                                  for pair in record["cosine"]["halves"]}  # fmt: skip
    for row in levels["X-rays, transformer"]:
        row["rmse held-out"] = {"D_G": 1.0, "D_M": 0.5}
    for row in levels["X-rays, MLP"]:
        row["rank"] = -0.9
    found = verdicts(zoo, record, levels)
    got = {name: found[name] for name in ("C4s", "C5s", "C8s", "Qs", "C10s", "F24", "B5m")}
    assert got == {"C4s": "fails", "C5s": "fails", "C8s": "fails", "Qs": "holds", "C10s": "fails", "F24": "fails",
                   "B5m": "holds"}  # fmt: skip


def test_a_loss_is_met_between_two_steps():
    scores = {str(2**k): {"loss_ratio": 1 - 0.1 * k, "x": float(k)} for k in range(5)}
    assert claims.at_loss({"a": {"scores": scores}}, "a", 0.75, lambda s: s["x"]) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="a comes down to 0.600 of D_G's loss; needs 0.500"):
        claims.at_loss({"a": {"scores": scores}}, "a", 0.5, lambda s: s["x"])
    with pytest.raises(
        ValueError, match="a has no score of a loss above 0.700 of D_G's, only 0.600; needs one before"
    ):
        claims.at_loss({"a": {"scores": {"16": scores["16"]}}}, "a", 0.7, lambda s: s["x"])


def test_the_interval_over_three_networks_is_students():
    mean, low, high = claims.over_networks([1.0, 2.0, 3.0])
    assert mean == 2 and high - mean == pytest.approx(4.303 / 3**0.5, rel=1e-3) == mean - low


def test_the_power_spectrum_is_that_of_white_noise_and_of_a_wave():
    noise = np.random.default_rng(0).standard_normal((400, 28, 28, 1))
    np.testing.assert_allclose(one_kind.radial_power(noise), 784, rtol=0.05)
    wave = np.cos(2 * np.pi * 5 * np.arange(28) / 28)[None, :, None, None] * np.ones((1, 28, 28, 1))
    assert one_kind.radial_power(wave).argmax() == 4  # five cycles an image
