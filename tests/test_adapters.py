"""Networks of others: exact denoisers come back from each parametrisation, and what is wrong is said."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.tree_util import Partial

import diffgauss as dg
from diffgauss.data import store

torch = pytest.importorskip("torch", reason="needs diffgauss[torch]")
diffusers = pytest.importorskip("diffusers", reason="needs diffgauss[torch]")

pytestmark = pytest.mark.usefixtures("unchecked")
LINEAR = dg.NoiseSchedule.vp(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
EXPLODING = dg.NoiseSchedule.ve(np.geomspace(0.01, 100, 500))
NET = torch.nn.Identity()
KINDS = [("x0", LINEAR), ("eps", LINEAR), ("v", LINEAR), ("x0", EXPLODING), ("eps", EXPLODING), ("edm", None)]
EACH = pytest.mark.parametrize(("kind", "schedule"), KINDS, ids=[f"{k}-{i}" for i, (k, _) in enumerate(KINDS)])
ROOT = Path(__file__).resolve().parents[1]
DRAWN = np.random.default_rng(0).normal(size=(2, 60, 6, 6, 2)).astype(np.float32)
IMAGES = (0.3 * DRAWN[0] + np.random.default_rng(1).uniform(-0.5, 0.5, (6, 6, 2))).astype(np.float32)
X = jnp.asarray(IMAGES[:5] + DRAWN[1, :5])
SIGMAS = (0.02, 0.333, 1.5, 40.0)


class Gaussian(torch.nn.Module):
    """The exact network of Gaussians, one for each label: E[x₀ | x_t], or ε or v from it, in its own float64."""

    def __init__(self, kind, schedule, sets, layout="nchw"):
        super().__init__()
        self.kind, self.layout = kind, layout
        flat = [torch.from_numpy(images.reshape(len(images), -1)).double() for images in sets]
        self.mean = torch.nn.Parameter(torch.stack([y.mean(0) for y in flat]))
        self.register_buffer("cov", torch.stack([(y - y.mean(0)).T @ (y - y.mean(0)) / len(y) for y in flat]))
        self.preserving = schedule is not None and schedule.preserving
        self.table = None if schedule is None else (np.asarray(schedule.times), np.log(np.asarray(schedule.sigmas)))

    def level(self, t):
        """σ at t, linear in log σ between the times, differentiable."""
        if self.table is None:
            return t
        times, logs = (torch.from_numpy(a).to(t) for a in self.table)
        k = torch.clamp(torch.searchsorted(times, t.detach()) - 1, 0, len(times) - 2)
        share = (t - times[k]) / (times[k + 1] - times[k])
        return torch.exp(logs[k] + share * (logs[k + 1] - logs[k]))

    def forward(self, x, t, label=None):
        label = torch.zeros(len(x), dtype=torch.long) if label is None else label
        s = self.level(t.double())
        c = 1 / torch.sqrt(1 + s**2) if self.preserving else torch.ones_like(s)
        x = x.permute(0, 2, 3, 1) if self.layout == "nchw" else x
        noisy = x.reshape(len(x), -1).double() / c[:, None]
        u, C, one = self.mean[label], self.cov[label], torch.eye(self.cov.shape[-1], dtype=torch.float64)
        x0 = u + torch.einsum("bij,bj->bi", C, torch.linalg.solve(C + s[:, None, None] ** 2 * one, noisy - u))
        eps = (noisy - x0) / s[:, None]
        F = {"edm": x0, "x0": x0, "eps": eps, "v": c[:, None] * (eps - s[:, None] * x0)}[self.kind]
        F = F.reshape(x.shape)
        return F.permute(0, 3, 1, 2) if self.layout == "nchw" else F


def dense(images, x, sigma):
    """D_G by a solve, in float64."""
    y = images.reshape(len(images), -1).astype(np.float64)
    u, C = y.mean(0), np.cov(y.T, bias=True)
    z = np.asarray(x, np.float64).reshape(len(x), -1) - u
    return (u + z @ np.linalg.solve(C + sigma**2 * np.eye(len(u)), C)).reshape(x.shape)


@EACH
def test_an_exact_denoiser_comes_back(kind, schedule):
    D = dg.from_torch(Gaussian(kind, schedule, [IMAGES]), kind, schedule)
    for sigma in SIGMAS:
        x = jnp.asarray(IMAGES[:5] + sigma * DRAWN[1, :5])
        want = dense(IMAGES, x, sigma)
        atol = 1e-4 if kind in ("x0", "edm") or sigma < 10 else 1e-3  # D = x − σF: σ times the rounding of F
        np.testing.assert_allclose(D(x, sigma), want, atol=atol)
        np.testing.assert_allclose(jax.jit(lambda D, x, s: D(x, s))(D, x, jnp.full(5, sigma)), want, atol=atol)
    two = dg.from_torch(Gaussian(kind, schedule, [IMAGES], "nhwc"), kind, schedule, channels="nhwc")
    np.testing.assert_allclose(two(X, 1.5), D(X, 1.5), atol=1e-5)


@EACH
def test_derivatives_are_those_of_the_denoiser(kind, schedule):
    D = dg.from_torch(Gaussian(kind, schedule, [IMAGES]), kind, schedule)
    J = np.stack([dense(IMAGES, e.reshape(1, 6, 6, 2), 1.5) for e in np.eye(72)])
    J = (J - dense(IMAGES, np.zeros((1, 6, 6, 2)), 1.5)[None]).reshape(72, 72).T
    found = jax.jit(lambda x: jax.jvp(lambda x: D(x, 1.5), (x,), (x,)))(X)[1]
    np.testing.assert_allclose(found.reshape(5, 72), np.asarray(X).reshape(5, 72) @ J.T, atol=1e-3)
    pulled = jax.jit(jax.grad(lambda x: (D(x, 1.5) * X).sum()))(X)
    np.testing.assert_allclose(pulled.reshape(5, 72), np.asarray(X).reshape(5, 72) @ J, atol=1e-3)
    levels, h = jnp.linspace(0.5, 2, 5), 1e-2
    slope = (D(X, levels + h) - D(X, levels - h)) / (2 * h)  # also through the time that the network is told
    np.testing.assert_allclose(jax.jvp(lambda s: D(X, s), (levels,), (jnp.ones(5),))[1], slope, atol=2e-2)
    np.testing.assert_allclose(jax.jacfwd(lambda x: D(x, 1.5))(X[:1]).reshape(72, 72), J, atol=1e-3)
    np.testing.assert_allclose(jax.jacrev(lambda x: D(x, 1.5))(X[:1]).reshape(72, 72), J, atol=1e-3)
    s, _ = dg.jacobian_svd(D, X[:2], 1.5, 2, key=jax.random.key(0), steps=40)
    np.testing.assert_allclose(s[0], np.linalg.svd(J)[1][:2], atol=1e-3)


@pytest.mark.slow
def test_the_same_weights_in_torch_and_in_jax_give_the_same_record(monkeypatch):
    """A network of the zoo, rebuilt in torch as the benchmarks do, judged on its own images."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    same, train_torch = (__import__(name) for name in ("same", "train_torch"))
    ours = dg.zoo.load("sneaker-n256")
    images, held_out = dg.zoo.data("sneaker-n256"), dg.zoo.held_out("sneaker-n256")
    theirs = train_torch.EDMDenoiser(train_torch.UNet(28, 16, mix=64), ours.sigma_data)
    train_torch.put(theirs, same.named(ours))
    D = dg.from_torch(theirs, images=images)
    ask = {"key": jax.random.key(0), "samples": 8, "seen": 64, "progress": False}
    one, two = (dg.compare(E, images, held_out[:200], (1.5, 0.117), **ask) for E in (ours, D))
    for name in ("skill", "excess", "position", "linearity", "alignment"):
        for sigma in (1.5, 0.117):
            want = getattr(one, name)[sigma]
            np.testing.assert_allclose(getattr(two, name)[sigma], want, atol=1e-3)
    for name in ("r2_gaussian", "r2_empirical", "r2_linear", "memorized"):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), atol=1e-3)


def test_classes_and_other_forms_of_an_answer():
    sets = [IMAGES, -IMAGES]
    for label in (0, 1):
        D = dg.from_torch(Gaussian("eps", LINEAR, sets), "eps", LINEAR, condition={"label": label})
        np.testing.assert_allclose(D(X, 1.5), dense(sets[label], X, 1.5), atol=1e-4)
        np.testing.assert_allclose(jax.vmap(D, (0, None))(X[:, None], 1.5)[:, 0], D(X, 1.5), atol=1e-5)

    class Other(torch.nn.Module):
        def __init__(self, form):
            super().__init__()
            self.inner, self.form = Gaussian("x0", LINEAR, [IMAGES]), form

        def forward(self, x, t):
            return self.form(self.inner(x, t))

    class Answer:
        def __init__(self, sample):
            self.sample = sample

    want = dense(IMAGES, X, 1.5)
    for form in (lambda y: (y, None), Answer, lambda y: torch.cat([y, 0 * y], 1)):
        np.testing.assert_allclose(dg.from_torch(Other(form), "x0", LINEAR)(X, 1.5), want, atol=1e-4)
    wrong = [
        (Other(lambda y: torch.cat([y, y[:, :1]], 1)), r"gives \(1, 3, 6, 6\) for \(1, 2, 6, 6\); needs the same"),
        (Other(lambda y: None), r"the module fails with images \(6, 6, 2\), channels last: .*NoneType"),
        (torch.nn.Linear(2, 2), r"the module fails with images .*takes 2 positional arguments but 3 were given"),
    ]
    for module, said in wrong:  # before anything is compiled, so that the error is no runtime error of XLA
        for call in (jax.jit(lambda D, x: D(x, 1.5)), lambda D, x: D(x, 1.5)):
            with pytest.raises(ValueError, match=said):
                call(dg.from_torch(module, "x0", LINEAR), X)


def test_half_precision_and_a_module_that_goes_on_training():
    net = torch.nn.Conv2d(2, 2, 3, padding=1)

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.drop = net, torch.nn.Dropout(0.5)

        def forward(self, x, t):
            return self.drop(self.net(x))

    module = Plain()
    D, half = dg.from_torch(module), dg.from_torch(Plain().to(torch.bfloat16))
    before = np.asarray(D(X, 1.0))
    assert half(X, 1.0).dtype == jnp.float32
    np.testing.assert_allclose(half(X, 1.0), before, atol=0.05)
    assert not np.array_equal(half(X, 1.0), before)
    with torch.no_grad():
        module.net.weight.add_(1.0)
    np.testing.assert_array_equal(D(X, 1.0), before)  # a copy, without dropout
    assert module.training and module.net.weight.requires_grad
    assert not np.array_equal(jax.tree.leaves(dg.from_torch(module)), jax.tree.leaves(D))  # other weights are told
    with pytest.raises(ValueError, match=r"x has shape \(0, 6, 6, 2\); needs b ≥ 1"):
        D(X[:0], 1.0)


def test_a_large_batch_goes_to_torch_in_parts():
    """With a level for each image and a condition; also its derivative, whose parts come together in order."""
    seen = []

    class Noted(Gaussian):
        def forward(self, x, t, label=None):
            seen.append(len(x))
            return super().forward(x, t, label)

    D = dg.from_torch(Noted("eps", LINEAR, [IMAGES, -IMAGES]), "eps", LINEAR, condition={"label": 1})
    x = jnp.asarray(np.random.default_rng(5).normal(size=(150, 6, 6, 2)), jnp.float32)
    levels = jnp.linspace(0.5, 5.0, 150)
    out, slope = jax.jit(lambda x: jax.jvp(lambda x: D(x, levels), (x,), (jnp.ones_like(x),)))(x)
    assert max(seen) == 64 and {22} < set(seen)
    each = [jax.jvp(lambda x, i=i: D(x, levels[i]), (x[i : i + 1],), (jnp.ones_like(x[:1]),)) for i in (0, 64, 149)]
    np.testing.assert_allclose(out[np.array([0, 64, 149])], np.concatenate([a for a, _ in each]), atol=1e-5)
    np.testing.assert_allclose(slope[np.array([0, 64, 149])], np.concatenate([b for _, b in each]), atol=1e-5)


def test_it_samples_and_is_distilled_as_any_other():
    D = dg.from_torch(Gaussian("v", LINEAR, [IMAGES]), "v", LINEAR)
    D_G = dg.GaussianDenoiser.from_data(IMAGES)
    grid = dg.karras_sigmas(6, sigma_min=0.011)  # below the schedule's least level the network cannot be asked
    start = 80 * jax.random.normal(jax.random.key(0), (4, 6, 6, 2))
    np.testing.assert_allclose(dg.sample(D, start, grid), dg.sample(D_G, start, grid), atol=5e-3)
    L = dg.distill(D, IMAGES, grid[2:4], key=jax.random.key(0), samples=500)
    np.testing.assert_allclose(L(X, grid[2]), D_G(X, grid[2]), atol=1e-3)


def test_it_cannot_be_exported_and_its_docstring_says_so():
    D = dg.from_torch(Gaussian("edm", None, [IMAGES]))
    with pytest.raises(Exception, match="(?i)callback"):
        export.export(jax.jit(lambda x: D(x, 1.5)))(X).serialize()
    assert "jax.export" in str(dg.from_torch.__doc__)


WRONG = [(true, said, s) for true, s in KINDS[:5] for said in ("x0", "eps", "v") if said != true]
WRONG = [(true, said, s) for true, said, s in WRONG if s.preserving or said != "v"]


@pytest.mark.parametrize(
    ("true", "said", "schedule"), WRONG, ids=[f"{t} as {s} {i}" for i, (t, s, _) in enumerate(WRONG)]
)
def test_a_wrong_kind_is_found_and_the_right_one_named(true, said, schedule):
    module = Gaussian(true, schedule, [IMAGES])
    dg.from_torch(module, true, schedule, images=IMAGES)
    with pytest.raises(ValueError, match=f"kind = '{said}': at σ = .*; kind = '{true}' fits"):
        dg.from_torch(module, said, schedule, images=IMAGES)


def test_a_wrong_schedule_is_found():
    cosine = np.cos((np.arange(1, 1000) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    other = dg.NoiseSchedule.vp(cosine)
    module = Gaussian("eps", LINEAR, [IMAGES])
    with pytest.raises(ValueError, match="schedule: at σ = .* if the network is told|kind = 'eps': at σ"):
        dg.from_torch(module, "eps", other, images=IMAGES)
    with pytest.raises(ValueError, match="where a constant has"):
        dg.from_torch(Gaussian("edm", None, [IMAGES]), "eps", LINEAR, images=IMAGES)


def test_networks_in_jax_join_too():
    def F(weights, x, t):
        s = jnp.interp(t, LINEAR.times, LINEAR.sigmas)[:, None, None, None]
        noisy = x * jnp.sqrt(1 + s**2)
        return weights[None] + (noisy - weights[None]) * (0.09 / (0.09 + s**2))

    D = dg.from_network(Partial(F, jnp.asarray(IMAGES.mean(0))), "x0", LINEAR, images=IMAGES)
    np.testing.assert_allclose(
        D(X, 1.5), IMAGES.mean(0)[None] + (X - IMAGES.mean(0)[None]) * 0.09 / (0.09 + 2.25), atol=1e-2
    )
    shape = jax.export.export(jax.jit(lambda D, x: D(x, 1.5)))(D, X).out_avals[0].shape
    assert shape == X.shape


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: dg.from_torch("net.pt"), TypeError, "got str; needs a torch.nn.Module"),
        (lambda: dg.from_torch(NET, "score"), ValueError, "kind = 'score'; needs one of 'edm'"),  # type: ignore
        (lambda: dg.from_torch(NET, "eps"), ValueError, "with no schedule; needs one: dg.NoiseSch"),
        (lambda: dg.from_torch(NET, "edm", LINEAR), ValueError, "with a schedule; needs none"),
        (
            lambda: dg.from_torch(NET, "v", EXPLODING),
            ValueError,
            "explodes; needs NoiseSchedule.vp",
        ),
        (lambda: dg.from_torch(NET, channels="hwc"), ValueError, "channels = 'hwc'; needs 'nchw'"),  # type: ignore
        (lambda: dg.from_network(lambda x, t: x), TypeError, "needs|wrap"),
        (lambda: dg.NoiseSchedule.vp([0.5, 0.7]), ValueError, "need to be finite, > 0 and to increase"),
        (lambda: dg.NoiseSchedule.vp([0.5, -0.1]), ValueError, "values between 0 and 1"),
        (lambda: dg.NoiseSchedule.ve([1.0, 2.0], [0.0]), ValueError, r"shapes \(2,\) and \(1,\)"),
    ],
)
def test_what_does_not_go_together_is_refused(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_schedules():
    assert LINEAR.sigmas[0] == pytest.approx(0.01, rel=1e-3) and LINEAR.sigmas[-1] == pytest.approx(157, rel=0.01)
    assert LINEAR.time(jnp.asarray([1e-9, LINEAR.sigmas[500], 1e9])).tolist() == [0, 500, 999]
    middle = jnp.sqrt(LINEAR.sigmas[10] * LINEAR.sigmas[11])
    assert float(LINEAR.time(middle)) == pytest.approx(10.5, abs=1e-3)
    falling = dg.NoiseSchedule.ve([10.0, 1.0, 0.1], [2.0, 1.0, 0.0])
    assert falling.times.tolist() == [0, 1, 2] and float(falling.time(jnp.asarray(1.0))) == pytest.approx(1)
    assert len(dg.NoiseSchedule.vp([0.9, 0.5, 0.0]).sigmas) == 2  # pure noise has no level


def test_the_package_does_without_torch():
    code = "import sys, diffgauss as dg; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules; "
    code += "sys.modules['torch'] = None\ntry: dg.from_torch(1)\nexcept ModuleNotFoundError as e: print(e)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "torch is missing; needs: pip install 'diffgauss[torch]'"


def saved(folder, model, **scheduler):
    """A pipeline as diffusers saves it."""
    settings = {"num_train_timesteps": 1000} | scheduler
    pipeline = diffusers.DDPMPipeline(model, diffusers.DDPMScheduler(**settings))
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def small(**more):
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), **more,
    )  # fmt: skip


X8 = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))


@pytest.mark.parametrize("predicted", ["epsilon", "v_prediction", "sample"])
def test_a_folder_of_diffusers_is_its_pipeline(predicted, tmp_path):
    """One step of diffusers' own scheduler predicts the same image."""
    D = dg.from_diffusers(saved(tmp_path, small(), prediction_type=predicted))
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path)
    for t in (5, 400, 990):
        assert D.schedule is not None
        sigma = D.schedule.sigmas[t]
        noisy = torch.from_numpy(np.array(X8 / jnp.sqrt(1 + sigma**2)).transpose(0, 3, 1, 2))
        with torch.no_grad():
            F = pipeline.unet(noisy, t).sample
        pipeline.scheduler.config.clip_sample = False
        want = pipeline.scheduler.step(F, t, noisy).pred_original_sample.numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(D(X8, sigma), want, atol=1e-3 * max(1, float(sigma)))
    h = 1e-2
    slope = (D(X8 + h * X8[::-1], 1.5) - D(X8 - h * X8[::-1], 1.5)) / (2 * h)
    found = jax.jvp(lambda x: D(x, 1.5), (X8,), (X8[::-1],))[1]  # through attention and group norms
    np.testing.assert_allclose(found, slope, atol=2e-3)
    pulled = jax.grad(lambda x: (D(x, 1.5) * X8).sum())(X8)
    assert float((pulled * X8[::-1]).sum()) == pytest.approx(float((found * X8).sum()), rel=1e-3)


def test_classes_of_a_unet_and_of_a_transformer(tmp_path):
    D = dg.from_diffusers(saved(tmp_path / "unet", small(num_class_embeds=3)), label=2)
    assert not np.allclose(D(X8, 1.0), dg.from_diffusers(tmp_path / "unet", label=0)(X8, 1.0), atol=1e-6)
    torch.manual_seed(0)
    dit = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8,
        num_embeds_ada_norm=10,
    )  # fmt: skip
    for p in dit.parameters():
        torch.nn.init.normal_(p, std=0.2)
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    scheduler = diffusers.DDIMScheduler()
    diffusers.DiTPipeline(dit, vae, scheduler, {0: "shoe"}).save_pretrained(
        tmp_path / "dit", safe_serialization=True
    )
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 4))
    one, two = (dg.from_diffusers(tmp_path / "dit", label=k) for k in (1, 7))
    assert one(x, 1.0).shape == x.shape and not np.allclose(one(x, 1.0), two(x, 1.0), atol=1e-6)
    assert one.schedule is not None
    t = torch.full((2,), float(one.schedule.time(jnp.asarray(1.0))))
    dit.eval()  # training drops classes
    with torch.no_grad():
        noisy = torch.from_numpy(np.array(x / 2**0.5)).permute(0, 3, 1, 2)
        F = dit(noisy, t, class_labels=torch.ones(2, dtype=torch.long)).sample[:, :4]  # the rest is a variance
    np.testing.assert_allclose(one(x, 1.0), x - F.permute(0, 2, 3, 1).numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "label", "said"),
    [
        (
            lambda f: (f / "model_index.json").unlink(),
            None,
            "model_index.json is not there; needs a pipeline saved by",
        ),
        (lambda f: (f / "model_index.json").write_text("{", encoding="utf-8"), None, "model_index.json is no JSON"),
        (
            lambda f: (f / "model_index.json").write_text("{}", encoding="utf-8"),
            None,
            "holds no model; needs one of UNet2DModel",
        ),
        (
            lambda f: f.joinpath("unet", WEIGHTS).rename(f / "unet" / "weights.bin"),
            None,
            "has no .*safetensors file",
        ),
        (lambda f: change_scheduler(f, "epsilon", "flow"), None, "prediction_type 'flow'; needs a scheduler with"),
        (lambda f: change_scheduler(f, "DDPMScheduler", "EDMEulerScheduler"), None, "EDMEulerScheduler and pred"),
        (lambda f: (f / "scheduler" / "scheduler_config.json").unlink(), None, "needs the scheduler's settings"),
        (lambda f: None, 1, "label = 1 for a model with no classes; needs one of them, or none"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(change, label, said, tmp_path):
    change(saved(tmp_path, small()))
    with pytest.raises(ValueError, match=said):
        dg.from_diffusers(tmp_path, label=label)


WEIGHTS = "diffusion_pytorch_model.safetensors"


def change_scheduler(folder, before, after):
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")


@pytest.mark.parametrize("kind", ["eps", "v"])
def test_the_shipped_networks_of_diffusers_are_as_good_as_ours(kind):
    """Trained by diffusers on the sneakers of a network of the zoo, to which its skill is near."""
    images, held_out = dg.zoo.data("sneaker-n3000"), dg.zoo.held_out("sneaker-n3000")[:256]
    D = dg.from_diffusers(store.tree(f"diffusers/sneaker-{kind}"), images=images)
    D_G, ours = dg.GaussianDenoiser.from_data(images), dg.zoo.load("sneaker-n3000")
    for sigma in (1.5, 0.47):
        theirs, mine = (dg.skill(E, D_G, held_out, sigma, key=jax.random.key(0)) for E in (D, ours))
        assert theirs.value == pytest.approx(mine.value, abs=0.1)
    with pytest.raises(ValueError, match="kind = '.*' fits"):
        dg.from_torch(D.net.host.module, "x0", D.schedule, images=images)


ONE_CORE = """
import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, torch, diffgauss as dg
class Net(torch.nn.Conv2d):
    def forward(self, x, t):
        return super().forward(x)
D = dg.from_torch(Net(3, 3, 3, padding=1))
x = jax.random.normal(jax.random.key(0), (64, 32, 32, 3))
for _ in range(5):
    x = D(x, 1.0) + 0 * dg.sample(D, x, dg.karras_sigmas(6))
print(float(abs(x).max()) > 0)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot keep a process to one core")
def test_it_does_not_hang_where_there_is_one_core():
    """As it did while the arguments of a call went through the device."""
    run = subprocess.run([sys.executable, "-c", ONE_CORE], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "True", run.stderr
