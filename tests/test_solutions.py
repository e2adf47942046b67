import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffgauss.notebook import solutions
from diffgauss.notebook.solutions import EXERCISES
from diffgauss.ode import euler

PLAUSIBLE_BUT_WRONG = {
    "1a": [36, 18, 37],
    "1b": [euler, lambda D, x, sigma, sigma_next: x],
    "1c": ["a", "c", "", 2],
    "2a": [3.5, np.exp(7), np.exp(-3.5)],
    "2b": ["a", "b", "everything"],
    "3a": [0.25, 0.5, 0.8],
    "3b": ["a", "c", ""],
    "4a": [0, 1, 1.414],
    "4b": ["a", "c", 4],
    "5a": [2, 0.8, 0.667],
    "5b": ["b", "c", ""],
    "6a": [1, 0.25, 2],
    "6b": ["a", "b", 6],
    "7a": [0.5, 16, 0.0039],
    "7b": [1, 2, -0.618],
    "7c": ["a", "c", ""],
    "8a": [0.5, 0.27, 0.62],
    "8b": ["a", "c", "both"],
    "9a": [10, 0.462, 4.65],
    "9b": ["a", "c", ""],
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


@pytest.mark.parametrize("name, answer", [("1a", "35"), ("1a", 35), ("1c", " B "), ("2a", np.float32(33.115))])
def test_an_answer_may_be_written_in_several_ways(name, answer):
    assert EXERCISES[name].agrees(answer)


def test_an_answer_of_another_shape_is_wrong_not_broadcast():
    assert not EXERCISES["1b"].agrees(lambda *arguments: solutions.midpoint(*arguments)[None])


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
