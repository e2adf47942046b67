import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffgauss import solutions
from diffgauss.ode import euler
from diffgauss.solutions import EXERCISES

PLAUSIBLE_BUT_WRONG = {
    "1a": [36, 18, 37],
    "1b": [euler, lambda D, x, sigma, sigma_next: x],
    "1c": ["a", "c", "", 2],
    "2a": [lambda logits: jnp.exp(logits).sum(-1), lambda logits: logits.shape[-1]],
    "2b": [3.5, np.exp(7), np.exp(-3.5)],
    "2c": ["a", "b", "everything"],
    "3a": [0.25, 0.5, 0.8],
    "3b": [lambda sigma, sigma_data: 1 / sigma**2, lambda sigma, sigma_data: sigma],
    "3c": ["a", "c", ""],
    "4a": [0, 1, 1.414],
    "4b": [lambda x1, x2, alpha: alpha * x1 + (1 - alpha) * x2, lambda x1, x2, alpha: x1],
    "4c": ["a", "c", 4],
}


def test_every_exercise_is_tested_here_and_has_a_hint():
    assert set(EXERCISES) == set(PLAUSIBLE_BUT_WRONG)
    assert all(len(exercise.hint) > 20 for exercise in EXERCISES.values())


@pytest.mark.parametrize("name", EXERCISES)
def test_a_reference_agrees_with_itself(name):
    assert EXERCISES[name].agrees(EXERCISES[name].reference) is True


@pytest.mark.parametrize("name, answer", [(n, a) for n, answers in PLAUSIBLE_BUT_WRONG.items() for a in answers])
def test_a_plausible_wrong_answer_does_not(name, answer):
    assert EXERCISES[name].agrees(answer) is False


def test_a_hint_does_not_give_the_number_away():
    for exercise in EXERCISES.values():
        if isinstance(exercise.reference, int | float):
            assert f"{exercise.reference:g}" not in exercise.hint


@pytest.mark.parametrize("name, answer", [("1a", "35"), ("1a", 35), ("1c", " B "), ("2b", np.float32(33.115))])
def test_an_answer_may_be_written_in_several_ways(name, answer):
    assert EXERCISES[name].agrees(answer)


def test_an_answer_of_another_shape_is_wrong_not_broadcast():
    assert not EXERCISES["2a"].agrees(lambda logits: solutions.effective_number(logits)[:, None])


def test_effective_number_is_the_exponential_of_the_entropy():
    logits = np.random.default_rng(0).standard_normal((4, 6)) * 3
    want = np.exp([stats.entropy(np.exp(row)) for row in logits])
    np.testing.assert_allclose(solutions.effective_number(jnp.asarray(logits, jnp.float32)), want, rtol=1e-5)
    np.testing.assert_allclose(solutions.effective_number(jnp.zeros((2, 9)) - 1e4), 9, rtol=1e-5)
    np.testing.assert_allclose(solutions.effective_number(jnp.array([[0.0, -500.0]])), 1, rtol=1e-6)


def test_midpoint_calls_the_denoiser_twice_at_the_ends_of_half_a_step():
    asked = []

    def D(x, sigma):
        asked.append(float(sigma))
        return jax.numpy.zeros_like(x)

    solutions.midpoint(D, jnp.ones((1, 2)), 3.0, 1.0)
    assert asked == [3.0, 2.0]
