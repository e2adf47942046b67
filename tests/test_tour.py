"""The tour as a user takes it: a folder of drawn pictures in, one page out; and what it refuses."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageDraw
from test_page import Page, faults
from typer.testing import CliRunner

import diffgauss as dg
from diffgauss import cli
from diffgauss.data import store
from diffgauss.tour import bias, page, sections, training
from diffgauss.tour.case import Case

COMMAND = [sys.executable, "-c", "from diffgauss.cli import app; app()", "tour"]
TITLES = [
    "In short", "The images", "Mean and covariance", "Two denoisers without a network", "What the network learnt",
    "How linear the network is", "What the network resembles", "Skill, excess and position",
    "Is the linear map Gaussian?", "Samples from the same noise", "What this run cannot show",
]  # fmt: skip


def draw(folder, n: int, seed: int = 0) -> None:
    """n pictures of 24×20 pixels: a coloured shape somewhere on a coloured ground."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for i in range(n):
        ground, shape = (tuple(int(v) for v in c) for c in rng.integers(0, 256, (2, 3)))
        image = Image.new("RGB", (24, 20), ground)
        x, y, r = rng.integers(4, 16), rng.integers(4, 16), rng.integers(2, 8)
        getattr(ImageDraw.Draw(image), ("ellipse", "rectangle")[i % 2])([x - r, y - r, x + r, y + r], fill=shape)
        image.save(folder / f"{i:04}.png")


def numbers(cell: str) -> list[float]:
    return [float(v) for v in re.findall(r"-?\d+(?:\.\d+)?", cell)]


@pytest.mark.slow
def test_a_tour_of_a_folder(tmp_path):
    draw(tmp_path / "shapes", 400)
    done = subprocess.run(
        [*COMMAND, "shapes", "--size", "16", "--steps", "96"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "320 training and 80 held-out images of shape (16, 16, 3)" in done.stdout
    assert re.search(r"96 steps of training take about \d.* in all\n", done.stdout)
    assert re.search(r"report\.html: written after \d", done.stdout)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "shapes"]

    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert faults(text) == [] and len(text) < 2e6
    page = Page(text)
    assert [t for tag, t in page.texts if tag == "h2"] == TITLES
    assert sum(tag == "img" for tag, _ in page.tags) == 11
    assert "nan" not in re.sub(r'src="[^"]*"', "", text).lower()
    pictures, variance, weights, losses, distances, shares, samples, settings = (table[1:] for table in page.tables)
    assert pictures == [["training", "320"], ["held-out", "80"]]

    train, test = (dg.load(tmp_path / "shapes", s, size=16).reshape(-1, 768) for s in ("train", "test"))
    lam = np.linalg.svd(train.astype(np.float64) - train.mean(0), compute_uv=False) ** 2
    need = 1 + int(np.argmax(np.cumsum(lam) >= 0.9 * lam.sum()))
    assert variance[1] == ["90 %", f"{need} of 319"]

    behind = [numbers(row[1])[0] for row in weights]
    assert behind == sorted(behind, reverse=True) and behind[-1] == 1 and 1 < behind[0] <= 320

    loss = {name: (float(a), float(b)) for name, a, b in losses}
    assert list(loss) == ["Dθ", "DL", "DG", "DM"]
    theta, linear, gauss, memory = loss.values()
    assert memory[0] == min(a for a, _ in loss.values()) and memory[1] > 1.5 * memory[0]
    assert gauss[0] < gauss[1]
    assert sections.verdict(theta[1], gauss[1]).split("(")[0] in text

    values = np.array([[float(cell) for cell in row] for row in distances])
    assert values.shape == (10, 7) and np.isfinite(values).all()
    np.testing.assert_allclose(values[:, 0], dg.karras_sigmas(10), rtol=0.01)
    assert (values[:, 1] <= values[:, 2] + 0.005).all()  # D_L is fitted to what D_G is a special case of
    assert (values[-1, 5:] < 0.02).all()  # at σ = .002 D_G and D_M return a training image
    assert values[-1, 4] < values[-1, 2]  # off the span of 320 images D_G does not, and D_L makes up for some

    assert [row[0] for row in shares] == ["4.07", "1.5", "0.47", "0.117"] and shares[-1][3] == "–"
    for row in shares:
        for value, low, high in (numbers(cell) for cell in row[1:] if cell != "–"):
            assert low <= value <= high
    assert re.search(r"cannot be told: there are 80 held-out images, where about \d+ are needed", text)

    scores = {row[0][-1] if row[0].startswith("D") else "real": row[1:] for row in samples}
    assert float(scores["M"][0]) < 0.02 and scores["M"][1] == "100%"
    assert float(scores["G"][0]) > 0.1 and scores["G"][1] == "0%"
    assert float(scores["real"][0]) > 0.1
    for name in "LGM":
        for value, low, high in map(numbers, (cell.replace(" to ", " ") for cell in scores[name][2:])):
            assert low <= value <= high <= 1 and math.isfinite(low)
    assert ["training steps", "96"] in settings and ["images", "shapes"] in settings


@pytest.mark.slow
def test_a_tour_of_a_network_of_diffusers(tmp_path, monkeypatch):
    pytest.importorskip("diffusers", reason="needs diffgauss[torch]")
    for module in (import_module("diffgauss.tour.run"), sections):
        monkeypatch.setattr(module, "DISTILLED", 512)  # calls of the network are what takes long
    images = np.concatenate([dg.zoo.data("sneaker-n3000")[:400], dg.zoo.held_out("sneaker-n3000")[:60]])
    np.save(tmp_path / "sneakers.npy", images)
    monkeypatch.chdir(tmp_path)
    command = ["tour", "sneakers.npy", "--model", str(store.tree("diffusers/sneaker-v"))]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0 and "the analysis takes about" in done.stdout, done.output
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert faults(text) == [] and [t for tag, t in page.texts if tag == "h2"] == TITLES
    assert "read from a folder" in text and "trained elsewhere" in text and "Training loss" not in text
    assert sum(tag == "img" for tag, _ in page.tags) == 10  # all but the curve of training
    for wrong, said in (
        (["--size", "32"], "needs (side, side, channels) = (28, 1)"),
        (["--label", "3"], "label = 3 for a model with no classes"),
    ):
        refused = CliRunner().invoke(cli.app, [*command, *wrong, "--out", "other.html"])
        assert refused.exit_code == 1 and said in refused.stderr and refused.stderr.count("\n") == 1, refused.output


@pytest.mark.slow
def test_training_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    images = np.random.default_rng(0).uniform(-1, 1, (70, 8, 8, 1)).astype(np.float32)
    config = dg.TrainConfig(steps=1, batch=4)
    told = []

    def train(data, parked, steps):
        return training.train(
            data, config, tmp_path / parked, seconds=1.0, steps=steps, tell=lambda *a: told.append(a[1:])
        )

    whole, losses = train(images, "whole", 192)
    assert len(losses) == 192 and told[-1][:2] == (0, 192) and told[-1][2] > 0
    train(images, "parts", 96)
    resumed, again = train(images, "parts", 192)
    assert len(again) == 192
    np.testing.assert_allclose(again, losses, rtol=1e-3)
    x = jnp.asarray(images[:2])
    np.testing.assert_allclose(resumed(x, 1.0), whole(x, 1.0), atol=1e-3)
    _, other = train(images[::-1], "parts", 64)  # other images: the parked state is not theirs
    assert len(other) == 64 and abs(other - losses[:64]).max() > 1e-3
    _, timed = train(images, "timed", None)
    assert len(timed) >= 64 and len(timed) % 32 == 0
    _, longer = training.train(images, config, tmp_path / "timed", seconds=2.5, tell=lambda *a: told.append(a[1:]))
    assert len(longer) > len(timed) and told[-1][0] == len(timed)  # other minutes are honoured


@pytest.fixture(scope="module")
def case() -> Case:
    """Smooth grey images of 6×6 pixels, and D_G in the place of the network."""
    rng = np.random.default_rng(0)
    images = np.tanh(rng.standard_normal((260, 36)) @ rng.standard_normal((36, 36)) / 9).reshape(-1, 6, 6, 1)
    train, test = images[:200].astype(np.float32), images[200:].astype(np.float32)
    D_G, D_M = dg.GaussianDenoiser.from_data(train), dg.EmpiricalDenoiser.from_data(train)
    config = dg.TrainConfig(steps=1, sigma_data=float(train.std()))
    return Case(train, test, D_G, D_G, D_G, D_M, config, np.ones(70), jax.random.key(0), dg.karras_sigmas(10))


def tables(*sections) -> list[list[list[str]]]:
    return [table[1:] for table in Page(page.render("x", sections)).tables]


def test_a_network_that_is_D_G_is_found_to_be(case):
    assert "about as much as a Gaussian" in sections.training(case).short
    assert "at least 1.000" in sections.linear(case).short
    (distances,) = tables(sections.distances(case))
    assert all(row[2] == row[5] == "0.000" for row in distances) and float(distances[5][3]) > 0.05
    (samples,) = tables(sections.samples(case))
    assert samples[2][1:] == [*samples[0][1:3], "1.00 (1.00 to 1.00)", "1.00 (1.00 to 1.00)"]
    assert float(samples[0][1]) > 0.2 and samples[0][2] == "0%"


def test_a_network_that_memorizes_is_found_to(case):
    case = replace(case, D_θ=case.D_M)
    training = sections.training(case)
    assert "not learnt more than a Gaussian" in training.short
    losses = tables(training)[0]
    assert float(losses[0][1]) < float(losses[2][1]) and float(losses[0][2]) > float(losses[2][2])
    (distances,) = tables(sections.distances(case))
    assert all(row[3] == row[6] == "0.000" for row in distances) and float(distances[5][2]) > 0.05
    assert float(re.findall(r"at least (0\.\d+)", sections.linear(case).short)[0]) < 0.9
    (samples,) = tables(sections.samples(case))
    assert float(samples[0][1]) < 0.02 and samples[0][2] == "100%" and float(samples[4][1]) > 0.2


def noisy(images, sigma, seed: int = 0):
    return images + np.float32(sigma) * np.random.default_rng(seed).standard_normal(images.shape).astype(np.float32)


@pytest.mark.slow
def test_the_linear_map_is_fitted_on_held_out_images(tmp_path, monkeypatch, case):
    """D_M in the place of the network: its best linear map is D_G on training images (Theorem 1), not elsewhere."""
    kept, run = [], import_module("diffgauss.tour.run")
    memory = dg.EmpiricalDenoiser.from_data
    monkeypatch.setattr(training, "train", lambda images, *a, **k: (memory(images), np.ones(1)))
    monkeypatch.setattr(run, "SECTIONS", (lambda case: kept.append(case) or sections.spectrum(case),))
    more = np.concatenate([case.test, -case.test, -case.train])  # the law is symmetric: these are new images
    np.savez(tmp_path / "images.npz", train=case.train, test=more)
    run.run(str(tmp_path / "images.npz"), tmp_path / "report.html", say=lambda line: None)
    (made,) = kept
    sigma, D_M, D_G = made.sigmas[6], made.D_M, made.D_G
    seen = dg.distill(D_M, made.train, [sigma], key=made.key, samples=4096, base=D_G, rank=36)
    off = {
        name: [float(dg.score_rmse(D, E, noisy(made.test, sigma), sigma)) for E in (D_G, D_M)]
        for name, D in {"held": made.D_L, "seen": seen, "gauss": D_G}.items()
    }
    assert off["held"][0] > 0.1 > 2 * off["seen"][0]  # far from D_G, as a map fitted on training images is not
    assert off["held"][1] < 0.95 * off["gauss"][1]  # and nearer to the memorizer, by Pythagoras


def test_skill_excess_and_position_are_those_of_the_functions(case):
    mix = jax.tree_util.Partial(lambda G, M, x, s: 0.7 * G(x, s) + 0.3 * M(x, s), case.D_G, case.D_M)
    found = bias.shares(replace(case, D_θ=mix))
    (rows,) = tables(found)
    for i, row in zip(bias.TOLD, rows, strict=True):
        sigma, key = case.sigmas[i], jax.random.fold_in(case.key, 300 + i)
        assert row[0] == f"{sigma:.3g}"
        for cell, measure in zip(row[1:], (dg.skill, dg.excess), strict=False):
            want = measure(mix, case.D_G, case.test, sigma, key=key)
            np.testing.assert_allclose(numbers(cell), want, atol=0.0051)
        assert row[3] == ("0.30 (0.30 to 0.30)" if i in bias.PLACED else "–")
    assert "position between D_G (0) and D_M (1) on training images is 0.30" in found.short
    text = page.render("x", [found])
    assert faults(text) == [] and "c* ≤ 1 excludes nothing" in text


def test_the_distance_is_that_of_the_function_where_there_are_enough_images(case):
    more = np.concatenate([case.test, -case.test, -case.train])  # the law is symmetric: these are new images
    memory = replace(case, D_θ=case.D_M, test=more)
    found = bias.linear_map(memory)
    (rows,) = tables(found)
    assert [row[0] for row in rows] == ["1.5", "0.47"] and len(more) >= bias.needed(case.D_G, case.sigmas[6])
    for i, row in zip(bias.FITTED, rows, strict=True):
        key = jax.random.fold_in(case.key, 400 + i)
        want = dg.linear_distance(
            case.D_M, case.D_G, more, case.sigmas[i], key=key, samples=bias.points(36), groups=bias.GROUPS
        )
        np.testing.assert_allclose(numbers(row[1]), want, atol=6e-6)
        assert row[2] == (f"{want.value**0.5:.3f}" if want.value > 0 else "–")
    assert numbers(rows[1][3])[1] > 1 and "At σ = 0.47 D_L differs from D_G" in str(found.parts)


@pytest.mark.parametrize("side, colours, n", [(6, 1, 16), (6, 1, 60), (32, 3, 16)])
def test_what_cannot_be_told_is_said_with_the_number_that_is_needed(case, side, colours, n):
    rng = np.random.default_rng(2)
    train = rng.standard_normal((200, side, side, colours)).astype(np.float32) if side > 6 else case.train
    test, D_G = np.resize(case.test, (n, side, side, colours)), dg.GaussianDenoiser.from_data(train)
    found = bias.linear_map(replace(case, train=train, test=test, D_G=D_G, D_θ=D_G))
    lam, text = np.asarray(D_G.lam, np.float64), page.render("x", [found])
    need = max(20, math.ceil(10 * (lam / (lam + float(case.sigmas[6]) ** 2)).sum()))
    assert "At σ = 0.47 the distance of <var>D<sub>L</sub></var> from <var>D<sub>G</sub></var> cannot" in text
    assert f"told: there are {n} held-out images, where about {need} are needed" in text
    assert ("3072 pixel values, where at most 1024 are fitted" in text) == (side > 6)
    assert ("matrices of 3072×3072" in text) == (side > 6) and faults(text) == []


@pytest.mark.parametrize(
    "interval, said",
    [((0.2, 0.1, 0.3), "D_L is D_G to within 1 %"), ((5.0, 2.0, 8.0), "D_L differs from D_G"),
     ((0.4, -0.3, 1.1), "no distance"), ((2.0, -1.0, 5.0), "cannot be told: interval from -1.0 to 5.0 %")],
)  # fmt: skip
def test_a_wide_interval_around_0_tells_nothing(interval, said):
    assert said in bias.verdict(dg.Estimate(*interval))


@pytest.mark.slow
def test_too_few_images_for_the_distance_are_those_that_make_one_up():
    """A posterior mean is at distance 0: with the images that are asked for it is found there, with a sixth not."""
    rng, d, sigma = np.random.default_rng(0), 48, 0.47
    U, lam = np.linalg.qr(rng.standard_normal((2, d, d)))[0], np.geomspace(1, 1e-3, d)
    u = np.stack([np.ones(d), -np.ones(d)]) / 4
    mean, second = np.zeros(d), sum(U[c] * lam @ U[c].T + np.outer(u[c], u[c]) for c in (0, 1)) / 2
    values, vectors = np.linalg.eigh(second)
    mixture, gauss = (np.log([0.5, 0.5]), u, U, np.stack([lam, lam])), (mean, vectors, np.maximum(values, 0))
    best = dg.MixtureDenoiser(*(jnp.asarray(a, jnp.float32) for a in mixture))
    D_G = dg.GaussianDenoiser(*(jnp.asarray(a, jnp.float32) for a in gauss))
    need, shares = bias.needed(D_G, sigma), {}
    for n in (need // 6, need):
        shares[n] = []
        for k in range(8):
            c = rng.integers(0, 2, n)
            x0 = u[c] + np.einsum("nij,nj->ni", U[c] * np.sqrt(lam), rng.standard_normal((n, d)))
            x0, key = x0.astype(np.float32), jax.random.key(k)
            error = ((np.asarray(D_G(noisy(x0, sigma), sigma)) - x0) ** 2).mean()
            found = dg.linear_distance(best, D_G, x0, sigma, key=key, samples=bias.points(d), groups=bias.GROUPS)
            shares[n].append(100 * np.array(found) / error)
    few, enough = (np.array(s) for s in shares.values())
    assert abs(enough[:, 0].mean()) < bias.NARROW and (enough[:, 1] <= 0).sum() >= 6
    assert few[:, 2].mean() - few[:, 1].mean() > 3 * (enough[:, 2].mean() - enough[:, 1].mean())


def test_what_the_images_are_like(case):
    text = page.render("x", [sections.pictures(case), sections.spectrum(case), sections.two_denoisers(case)])
    assert faults(text) == []
    counts, variance, weights = (table[1:] for table in Page(text).tables)
    assert counts == [["training", "200"], ["held-out", "60"]]
    lam = np.linalg.eigvalsh(np.cov(case.train.reshape(200, -1).T.astype(np.float64)))[::-1]
    for share, row in zip((0.5, 0.9, 0.99), variance, strict=True):
        assert row[1] == f"{1 + int(np.argmax(np.cumsum(lam) >= share * lam.sum()))} of 36"
    assert weights[-1][1].startswith("1.0 of") and numbers(weights[0][1])[0] > 100


def test_copies_are_counted_and_said(case):
    plain = str(sections.pictures(case).parts[0])
    assert "copies" not in plain and "seen the held-out images" in plain
    train, test = np.concatenate([case.train, case.train[:7]]), np.concatenate([case.test, case.train[:3]])
    said = str(sections.pictures(replace(case, train=train, test=test)).parts[0])
    assert "7 of the training images are exact copies of others among them." in said
    assert "3 of the held-out images are exact copies of training images." in said and "the other held-out" in said


def test_the_limits_are_those_of_the_case(case):
    few = replace(case, train=case.train[:30])
    said = [page.render("x", [sections.limits(c, {"seed": "7"})]) for c in (case, few)]
    assert ["directions at most" in text for text in said] == [False, True]
    assert all("60 held-out images are repeated" in text and "no finding" in text for text in said)
    assert ["seed", "7"] in tables(sections.limits(case, {"seed": "7"}))[0]


@pytest.mark.parametrize(
    "mine, gauss, said",
    [(0.5, 0.6, "more than a Gaussian (held-out loss 0.500, D_G 0.600)"), (0.6, 0.6, "about as much"),
     (0.7, 0.6, "not learnt more")],
)  # fmt: skip
def test_the_verdict_follows_the_losses(mine, gauss, said):
    assert said in sections.verdict(mine, gauss)


@pytest.mark.parametrize(
    "n, options, message",
    [
        (50, [], "got 40 training and 10 held-out images; needs at least 64 and 16, or 80 in one folder"),
        (0, [], "shapes holds no images"),
        (80, ["--size", "65"], "images are 65×65 pixels; needs squares of at most 64"),
        (80, ["--minutes", "0"], "minutes = 0.0"),
        (80, ["--out", "shapes"], "got shapes for the report; needs a file"),
    ],
)
def test_what_a_tour_cannot_use_is_one_line(tmp_path, monkeypatch, n, options, message):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "shapes", n)
    result = CliRunner().invoke(cli.app, ["tour", "shapes", *options])
    assert result.exit_code == 1 and result.output.startswith(f"diffgauss: {message}")
    assert result.output.count("\n") == 1 and not (tmp_path / "report.html").exists()


def test_equal_images_are_refused(tmp_path):
    np.save(tmp_path / "equal.npy", np.zeros((100, 8, 8), np.uint8))
    result = CliRunner().invoke(cli.app, ["tour", str(tmp_path / "equal.npy")])
    assert result.exit_code == 1 and "all training images are equal" in result.output
