"""What a reader writes: right, wrong and empty functions are told apart, and borrowed ones earn nothing."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffgauss as dg
from diffgauss.notebook import answers, lesson

RIGHT = """
import jax
import jax.numpy as jnp
import numpy as np

def score(x, sigma, centres, shares, width):
    v = width**2 + sigma**2
    logits = jnp.log(shares) - ((x[:, None] - centres) ** 2).sum(-1) / (2 * v)
    return (jax.nn.softmax(logits)[..., None] * (centres - x[:, None]) / v).sum(1)

def velocity(D, x, sigma):
    return (x - D(x, sigma)) / sigma

def euler(D, x, sigma, sigma_next):
    return x + (sigma_next - sigma) * velocity(D, x, sigma)

def heun(D, x, sigma, sigma_next):
    h, v = sigma_next - sigma, velocity(D, x, sigma)
    return x + h * (v + velocity(D, x + h * v, sigma_next)) / 2

def grid(n, top, bottom, rho):
    i = jnp.arange(n)
    return (top ** (1 / rho) + i / (n - 1) * (bottom ** (1 / rho) - top ** (1 / rho))) ** rho

def D_M(x, sigma, y):
    distance = ((x[:, None] - y[None]) ** 2).sum((2, 3, 4))
    weights = jax.nn.softmax(-distance / (2 * sigma**2), axis=1)
    return jnp.einsum("bn,nhwc->bhwc", weights, y)

def effective_number(logits):
    w = jax.nn.softmax(logits, axis=-1)
    return jnp.exp(-jax.scipy.special.xlogy(w, w).sum(-1))

def D_G(x, sigma, u, U, lam):
    z = (x - u).reshape(len(x), -1) @ U
    return u + (z * lam / (lam + sigma**2) @ U.T).reshape(x.shape)

def flow(x, sigma, sigma_next, u, U, lam):
    z = (x - u).reshape(len(x), -1) @ U
    return u + (z * jnp.sqrt((lam + sigma_next**2) / (lam + sigma**2)) @ U.T).reshape(x.shape)

def GL(x, y):
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    nearest = jnp.linalg.norm(x[:, None] - y[None], axis=-1).min(1)
    return (nearest / jnp.linalg.norm(x, axis=1)).mean()

def scalings(sigma, sigma_data):
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / jnp.sqrt(total), 1 / jnp.sqrt(total)

def dsm_loss(D, x0, sigma, eps, sigma_data):
    c_out = scalings(sigma, sigma_data)[1]
    error = D(x0 + sigma[:, None, None, None] * eps, sigma) - x0
    return ((error**2).mean((1, 2, 3)) / c_out**2).mean()

@jax.jit
def train_step(D, moments, x0, sigma, eps, rate):
    import optax
    loss, gradient = jax.value_and_grad(dsm_loss)(D, x0, sigma, eps, 0.7)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    updates, moments = adam.update(gradient, moments)
    return optax.apply_updates(D, updates), moments, loss

def average(ema, D, decay):
    return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, ema, D)

def memorized(samples, images):
    a, b = samples.reshape(len(samples), -1), images.reshape(len(images), -1)
    d = jnp.sort(jnp.linalg.norm(a[:, None] - b[None], axis=-1), axis=1)
    return (d[:, 0] < d[:, 1] / 3).mean()

def mix(x1, x2, alpha, u):
    return alpha * x1 + jnp.sqrt(1 - alpha**2) * x2 + (1 - alpha - jnp.sqrt(1 - alpha**2)) * u

def orders(D, x1, x2, sigma, u):
    after = (D(mix(x1, x2, 0.5**0.5, u), sigma) - u).reshape(len(x1), -1)
    return after, (mix(D(x1, sigma), D(x2, sigma), 0.5**0.5, u) - u).reshape(len(x1), -1)

def linearity(D, x1, x2, sigma, u):
    after, before = (v / jnp.linalg.norm(v, axis=1, keepdims=True) for v in orders(D, x1, x2, sigma, u))
    return (after * before).sum(1).mean()

def deviation(D, x1, x2, sigma, u):
    after, before = orders(D, x1, x2, sigma, u)
    return (jnp.linalg.norm(after - before, axis=1) / jnp.linalg.norm(after, axis=1)).mean()

def normal_equations(x, a):
    columns = np.append(np.asarray(x, float), np.ones((len(x), 1)), 1)
    solution = np.linalg.lstsq(columns, np.asarray(a, float), rcond=None)[0]
    return solution[:-1].T, solution[-1]

def wiener(U, lam, sigma):
    return jnp.einsum("ik,k,jk->ij", U, lam / (lam + sigma**2), U)

def cross_fit(x1, r1, x2, r2, x):
    one, two = (x @ W.T + b for W, b in (normal_equations(x1, r1), normal_equations(x2, r2)))
    return (one * two).sum() / one.size

def position(v, m):
    return np.vdot(v, m) / np.vdot(m, m)

def skill(v, g):
    return 1 - np.square(v - g).mean() / np.square(g).mean()

def excess(v, g):
    return np.vdot(v, g) / np.vdot(v, v)

def pull(v1, v2, g):
    return 2 * np.vdot(v1, v2) / (np.vdot(v1, g) + np.vdot(v2, g))

def gap(a, b):
    return np.linalg.norm(a - b, axis=2).mean() / a.shape[2] ** 0.5

def agreement(x, y, u):
    return np.median([np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)) for a, b in zip(x - u, y - u)])

def D_classes(x, sigma, pi, u, U, lam):
    covariances = np.einsum("kij,kj,klj->kil", U, lam, U) + sigma**2 * np.eye(u.shape[1])
    out = np.zeros_like(np.asarray(x, float))
    for i, point in enumerate(np.asarray(x, float)):
        d = point - u
        solved = np.stack([np.linalg.solve(C, v) for C, v in zip(covariances, d)])
        log_r = np.log(pi) - (d * solved).sum(1) / 2 - np.linalg.slogdet(covariances)[1] / 2
        r = np.exp(log_r - log_r.max())
        out[i] = (r / r.sum()) @ (point - sigma**2 * solved)
    return out

def local_pixel(x, sigma, y, row, column, half):
    cut = [a[..., row - half : row + half + 1, column - half : column + half + 1] for a in (x, y)]
    w = np.exp(-np.square(cut[0] - cut[1]).sum((1, 2)) / (2 * sigma**2))
    return np.average(y[:, row, column], weights=w)

def predicted_gap(q, mse):
    return (q * mse) ** 0.5

def explained(net, other):
    return (2 * np.vdot(net, other) - np.vdot(other, other)) / np.vdot(net, net)

def collapse(delta, N):
    return delta / np.log(float(N) ** 2) ** 0.5

def from_eps(x, sigma, F):
    return x - sigma * F

def from_v(x, sigma, F):
    return (x / np.sqrt(1 + sigma**2) - sigma * F) / np.sqrt(1 + sigma**2)

def time(sigma, sigmas, times):
    return np.interp(np.log(sigma), np.log(sigmas), times)

def median_r2(x, y):
    return np.median([np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(x, y)])

def effective_noise(lam, sigma, N):
    from scipy.optimize import brentq
    lam = np.asarray(lam, float)
    def excess_of(kappa):
        return kappa - sigma**2 - kappa / N * (lam / (lam + kappa)).sum()
    return brentq(excess_of, sigma**2, sigma**2 + lam.sum() / N + 1)
"""
WRONG = {
    "score": RIGHT.replace(" / v).sum(1)", " / sigma**2).sum(1)"),
    "velocity": RIGHT.replace("(x - D(x, sigma)) / sigma", "D(x, sigma) / sigma"),
    "euler": RIGHT.replace("x + (sigma_next - sigma)", "x - (sigma_next - sigma)"),
    "heun": RIGHT.replace("sigma_next)) / 2", "sigma)) / 2"),
    "grid": RIGHT.replace("/ (n - 1)", "/ n"),
    "D_M": RIGHT.replace("2 * sigma**2", "sigma**2"),
    "effective_number": RIGHT.replace("jnp.exp(-jax", "(-jax"),
    "D_G": RIGHT.replace("lam + sigma**2) @", "lam + sigma) @"),
    "flow": RIGHT.replace("jnp.sqrt(", "("),
    "GL": RIGHT.replace(".min(1)", ".mean(1)"),
    "scalings": RIGHT.replace("sigma_data**2 / total, sigma", "sigma**2 / total, sigma"),
    "dsm_loss": RIGHT.replace(" / c_out**2", ""),
    "train_step": RIGHT.replace("sigma, eps, 0.7)", "sigma, eps, 0.3)"),
    "average": RIGHT.replace("decay * a + (1 - decay) * b", "decay * b + (1 - decay) * a"),
    "memorized": RIGHT.replace("d[:, 1] / 3", "d[:, 1] * 3"),
    "mix": RIGHT.replace("jnp.sqrt(1 - alpha**2) * x2", "(1 - alpha) * x2"),
    "linearity": RIGHT.replace("(after * before).sum(1).mean()", "(after * before).sum()"),
    "deviation": RIGHT.replace("jnp.linalg.norm(after, axis=1)).mean()", "jnp.linalg.norm(before, axis=1)).mean()"),
    "normal_equations": RIGHT.replace("np.ones((len(x), 1))", "np.zeros((len(x), 1))"),
    "wiener": RIGHT.replace('"ik,k,jk->ij", U, lam / (lam + sigma**2)', '"ik,k,jk->ij", U, lam / (lam + sigma)'),
    "cross_fit": RIGHT.replace("(one * two).sum() / one.size", "(one * one).sum() / one.size"),
    "position": RIGHT.replace("np.vdot(v, m) / np.vdot(m, m)", "np.vdot(v, m) / np.vdot(v, v)"),
    "skill": RIGHT.replace("1 - np.square(v - g)", "np.square(v - g)"),
    "excess": RIGHT.replace("np.vdot(v, g) / np.vdot(v, v)", "np.vdot(v, g) / np.vdot(g, g)"),
    "pull": RIGHT.replace("2 * np.vdot(v1, v2)", "np.vdot(v1, v2)"),
    "gap": RIGHT.replace(" / a.shape[2] ** 0.5", ""),
    "agreement": RIGHT.replace("np.median([", "np.mean(["),
    "D_classes": RIGHT.replace(" - np.linalg.slogdet(covariances)[1] / 2", ""),
    "local_pixel": RIGHT.replace(
        "row + half + 1, column - half : column + half + 1", "row + half, column - half : column + half"
    ),
    "predicted_gap": RIGHT.replace("(q * mse) ** 0.5", "q * mse"),
    "explained": RIGHT.replace("/ np.vdot(net, net)", "/ np.vdot(other, other)"),
    "collapse": RIGHT.replace("np.log(float(N) ** 2)", "np.log(float(N))"),
    "from_eps": RIGHT.replace("x - sigma * F", "x + sigma * F"),
    "from_v": RIGHT.replace("(x / np.sqrt(1 + sigma**2) - sigma * F)", "(x - sigma * F)"),
    "time": RIGHT.replace("np.interp(np.log(sigma), np.log(sigmas), times)", "np.interp(sigma, sigmas, times)"),
    "median_r2": RIGHT.replace("np.corrcoef(a, b)[0, 1] ** 2", "np.corrcoef(a, b)[0, 1]"),
    "effective_noise": RIGHT.replace("- kappa / N *", "- sigma**2 / N *"),
}


def cell(source, name) -> Any:
    scope: dict[str, Any] = {"dg": dg}
    exec(source, scope)
    return scope[name]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(lesson, "_written", {})


def test_every_task_is_tried_here():
    assert set(WRONG) == set(answers.TASKS)


@pytest.mark.parametrize("name", answers.TASKS)
@pytest.mark.parametrize("seed", range(3))
def test_a_right_one_agrees_and_a_wrong_one_does_not(name, seed):
    assert answers.compared(cell(RIGHT, name), seed).state == "right"
    found = answers.compared(cell(WRONG[name], name), seed)
    assert found.state == "wrong" and f"differs from {answers.TASKS[name].name}" in found.line


@pytest.mark.parametrize("name", answers.TASKS)
def test_the_notebook_goes_on_with_the_kernel(name, capsys):
    right, wrong = cell(RIGHT, name), cell(WRONG[name], name)
    assert lesson.written(right) is right and capsys.readouterr().out.startswith(f"✓ your {name} agrees")
    lesson.grade(name, 7)
    assert lesson.written(wrong) is answers.TASKS[name].kernel
    assert capsys.readouterr().out.startswith(f"✗ your {name} differs")
    with pytest.raises(AssertionError, match=f"your {name} differs from"):
        lesson.grade(name, 7)


@pytest.mark.parametrize("body", ["...", "raise NotImplementedError", "pass"])
def test_an_empty_one_is_said_to_be_empty(body, capsys):
    empty = cell(f"def D_M(x, sigma, y):\n    {body}", "D_M")
    assert lesson.written(empty) is answers.TASKS["D_M"].kernel
    assert capsys.readouterr().out == "○ D_M is not written yet; the cells below go on with dg.EmpiricalDenoiser\n"
    with pytest.raises(AssertionError, match="D_M is not written yet"):
        lesson.grade("D_M")


@pytest.mark.parametrize("body, said", [("return x[0]", "gives shape"), ("return nothing", "raised NameError")])
def test_other_answers_say_what_is_wrong(body, said):
    assert said in answers.compared(cell(f"def D_M(x, sigma, y):\n    {body}", "D_M")).line


CRASHES = ["return 1 / 0", "raise KeyError('x')", "import sys; sys.exit(0)", "assert False", "return D_M(x, s, y)"]


@pytest.mark.parametrize("body", CRASHES)
def test_a_crash_earns_nothing_and_the_notebook_goes_on(body, capsys):
    crash = cell(f"def D_M(x, s, y):\n    {body}", "D_M")
    assert lesson.written(crash) is answers.TASKS["D_M"].kernel
    assert capsys.readouterr().out.startswith("✗ your D_M raised ")
    for seed in (0, 7):
        with pytest.raises(AssertionError, match="your D_M raised "):
            lesson.grade("D_M", seed)


def test_what_crashes_on_other_arguments_alone_earns_nothing():
    """The notebook's own arguments are those of seed 0."""
    own = answers.TASKS["D_M"].draw(np.random.default_rng(0))[0]

    def D_M(x, sigma, y):
        return cell(RIGHT, "D_M")(x, sigma, y) if np.allclose(x, own) else 1 / 0

    assert lesson.written(D_M) is D_M
    with pytest.raises(AssertionError, match="your D_M raised ZeroDivisionError"):
        lesson.grade("D_M", 7)


def test_a_cell_that_crashed_before_it_gave_its_function_earns_nothing():
    with pytest.raises(ZeroDivisionError):
        exec("def D_M(x, s, y):\n    return x\n1 / 0\ndg.lesson.written(D_M)", {"dg": dg})
    with pytest.raises(AssertionError, match="D_M was not given to dg.lesson.written"):
        lesson.grade("D_M", 7)


KERNEL = "EmpiricalDenoiser.from_data(np.asarray(y))(x, s)"
BORROWED = [
    f"def D_M(x, s, y):\n    import numpy as np\n    return dg.{KERNEL}",
    f"import diffgauss as mine, numpy as np\ndef D_M(x, s, y):\n    return mine.{KERNEL}",
    f"import numpy as np\ndef D_M(x, s, y):\n    import diffgauss\n    return diffgauss.{KERNEL}",
    "from diffgauss.denoisers.empirical import EmpiricalDenoiser\nimport numpy as np\n"
    f"def help(x, s, y):\n    return {KERNEL}\ndef D_M(x, s, y):\n    return help(x, s, y)",
    "from diffgauss.notebook.answers import TASKS\ndef D_M(x, s, y):\n    return TASKS['D_M'].kernel(x, s, y)",
    f"import numpy as np, sys\ndef D_M(x, s, y):\n    return sys.modules['diffgauss'].{KERNEL}",
    "from diffgauss.notebook.answers import TASKS\nkernel = TASKS['D_M'].kernel\n"
    "def D_M(x, s, y, f=kernel):\n    return f(x, s, y)",
]


@pytest.mark.parametrize("source", BORROWED)
def test_one_that_borrows_the_kernel_earns_nothing(source):
    lesson.written(cell(source, "D_M"))
    with pytest.raises(AssertionError, match="your D_M uses diffgauss itself .*; needs to be written out"):
        lesson.grade("D_M")


def test_a_right_one_that_calls_a_wrong_one_earns_its_point():
    """The notebook went on with the kernel in place of the wrong one."""
    scope: dict[str, Any] = {}
    exec(RIGHT, scope)
    scope["mix"] = lesson.written(cell(WRONG["mix"], "mix"))
    lesson.written(scope["linearity"])
    lesson.grade("linearity", 7)
    with pytest.raises(AssertionError, match="differs from"):
        lesson.grade("mix", 7)


def test_the_kernel_itself_and_one_that_was_never_given_earn_nothing():
    with pytest.raises(AssertionError, match="GL was not given to dg.lesson.written"):
        lesson.grade("GL")
    assert answers.borrows(answers.TASKS["GL"].kernel)
    assert answers.borrows(jax.jit(answers.TASKS["GL"].kernel))
    assert not answers.borrows(partial(jnp.add, 1))
    with pytest.raises(ValueError, match="got a function 'sample'; there are score"):
        lesson.written(dg.sample)
