"""Tests of the projectile: flights against another solver, gradients against finite differences, the loss, the command."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp, trapezoid

import mdnjax as mdn
from experiments.command import CONFIGS, UserError
from experiments.projectile import flight, objective
from experiments.projectile.__main__ import extrapolation_notes, study
from experiments.projectile.evaluation import Launches, describe, score
from experiments.projectile.schema import Projectile
from mdnjax.components import Diagonal
from mdnjax.config import ConfigError, load
from tests.commands import assert_not_blank, run

RNG = np.random.default_rng(0)
FLIGHTS = RNG.uniform([2, 15, -10], [88, 45, 10], (40, 3)).T  # angle, speed, wind
TINY = ["train.num_steps=4", "train.report_every=2", "train.batch_size=8", "data.num_train=20", "data.num_test=20"]
TINY += ["data.num_validation=5", "model.num_components=2", "model.hidden_sizes=[4]", "shots=[[30, 45, 0], [50, 900, 2]]"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Computes flights in small blocks, which are as exact and take less time to fill up."""
    monkeypatch.setattr(flight, "BLOCK_SIZE", 64)


def land(angle, speed, wind):
    """Returns the landing by another solver, to 1e-10."""

    def motion(_, state):
        relative = state[2:] - [wind, 0]
        return [*state[2:], *(-flight.DRAG * np.hypot(*relative) * relative - [0, flight.GRAVITY])]

    def height(_, state):
        return state[1]

    height.terminal, height.direction = True, -1  # pyright: ignore[reportFunctionMemberAccess]
    start = [0, 0, speed * np.cos(np.deg2rad(angle)), speed * np.sin(np.deg2rad(angle))]
    return solve_ivp(motion, (0, 60), start, events=height, rtol=1e-10, atol=1e-10).y_events[0][0][0]


def test_landings_agree_with_another_solver():
    expected = [land(*values) for values in FLIGHTS.T]
    np.testing.assert_allclose(flight.landing(*map(jnp.asarray, FLIGHTS)), expected, atol=2e-3)


def test_gradients_through_the_solver_agree_with_finite_differences():
    angle, speed, wind = map(jnp.asarray, FLIGHTS)
    step = 1e-4
    differences = (flight.landing(angle + step, speed, wind) - flight.landing(angle - step, speed, wind)) / (2 * step)
    gradient = jax.grad(lambda angle: jnp.sum(flight.landing(angle, speed, wind)))(angle)
    np.testing.assert_allclose(gradient, differences, atol=1e-6)


def test_the_farthest_landing_and_both_solutions():
    _, speed, wind = FLIGHTS
    limit = flight.farthest(speed, wind)
    angles = np.linspace(1, 89, 45)
    grid = flight.landings(angles[:, None], speed, wind)
    assert (limit.distance >= grid.max(axis=0) - 1e-6).all()
    assert (limit.distance - grid.max(axis=0) < 0.1).all()
    low, high = flight.solutions(speed, 0.8 * limit.distance, wind, limit).T
    assert np.isfinite(low).all()
    assert (low < limit.angle).all()
    for angle in (low, high):
        exists = np.isfinite(angle)
        landed = flight.landings(np.nan_to_num(angle, nan=45.0), speed, wind)
        np.testing.assert_allclose(landed[exists], 0.8 * limit.distance[exists], rtol=1e-5)
        refined = flight.refined(np.nan_to_num(angle, nan=45.0) + 1.5, speed, 0.8 * limit.distance, wind)
        np.testing.assert_allclose(refined[exists], angle[exists], atol=1e-3)
    best = flight.refined(limit.angle + 1.0, speed, 1.01 * limit.distance, wind)  # nothing lands there
    assert (np.abs(flight.landings(best, speed, wind) - limit.distance) < 0.01 * limit.distance).all()
    assert np.isnan(flight.solutions(speed, 1.01 * limit.distance, wind, limit)).all()


def test_the_loss_agrees_with_quadrature():
    """One component: E[miss^2] / 2 and E[log p] by quadrature over the noise; its gradient by finite differences."""
    x, tolerance = jnp.array([[30.0], [40.0], [2.0]]), 0.2

    @jax.jit
    def loss(params, noise):  # loc and log scale
        component = Diagonal(params[0].reshape(1, 1, 1), jnp.exp(params[1]).reshape(1, 1, 1))
        return objective.free_energy(jnp.zeros((1, 1)), component, noise.reshape(-1, 1, 1), x, tolerance)[0]

    params, (node, weight) = jnp.array([-1.0, -1.5]), np.polynomial.hermite_e.hermegauss(40)

    def expected_loss(params):  # opposite nodes are the noise, since they have the same weight
        values = [loss(params, jnp.array(node[[i, 39 - i]])) for i in range(20)]
        return sum(2 * w * value for w, value in zip(weight / weight.sum(), values, strict=False))

    def integrand(angle):
        u = np.log(angle / (90 - angle))
        log_p = -0.5 * ((u + 1) / np.exp(-1.5)) ** 2 + 1.5 - 0.5 * np.log(2 * np.pi) + np.log(90 / angle / (90 - angle))
        miss = (flight.landings(angle, np.full_like(angle, 30.0), np.full_like(angle, 2.0)) - 40) / 40
        return np.exp(log_p) * (0.5 * (miss / tolerance) ** 2 + log_p)

    angles = np.linspace(0.5, 80.0, 4001)
    assert float(expected_loss(params)) == pytest.approx(trapezoid(integrand(angles), angles), abs=2e-3)
    gradient = jax.grad(loss)(params, jnp.array([0.3, -0.8]))
    for i in range(2):
        step = 1e-4 * jnp.eye(2)[i]
        difference = (loss(params + step, jnp.array([0.3, -0.8])) - loss(params - step, jnp.array([0.3, -0.8]))) / 2e-4
        assert gradient[i] == pytest.approx(float(difference), rel=1e-4)


def test_scores_and_descriptions_by_hand():
    nan = np.nan
    launches = Launches(
        x=np.array([[30.0, 40.0, 0.0], [30.0, 40.0, 2.0], [30.0, 80.0, 0.0]]),
        angle=np.array([[20.0, 70.0], [20.0, nan], [42.0, nan]]),
        mass=np.array([[0.6, 0.4], [1.0, nan], [1.0, nan]]),
        place=np.array([[40.1, 39.9], [42.0, nan], [66.0, nan]]),
        refined=np.array([[19.95, 69.95], [19.0, nan], [42.4, nan]]),
        refined_place=np.array([[40.0, 40.0], [40.4, nan], [66.0, nan]]),
        exact=np.array([[20.1, 70.1], [19.0, 71.0], [nan, nan]]),
        farthest=np.array([66.0, 66.0, 66.0]),
        farthest_angle=np.array([42.5, 42.5, 42.5]),
    )
    np.testing.assert_array_equal(launches.mode_of_arc, [[0, 1], [0, -1], [0, -1]])
    found = score(launches)
    assert (found["num_two"], found["both_found"], found["low_found"], found["high_found"]) == (2, 0.5, 0.5, 0.5)
    assert found["median_miss"] == pytest.approx(0.25)  # of 0.25, 0.25 and 5 %
    assert found["refined_within_goal"] == pytest.approx(2 / 3)
    assert (found["num_out_of_reach"], found["predicted_out_of_reach"], found["predicted_within_reach"]) == (1, 1.0, 0.5)
    assert describe(launches, 0).endswith("19.95 degrees lands at 40.00 m (60 %), 69.95 degrees lands at 40.00 m (40 %)")
    assert "out of reach; the farthest is 66.0 m, at 42.5 degrees" in describe(launches, 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.speed=[40, 20]", r"data.speed: got \[40, 20\], expected \[low, high\]"),
        ("shots=[[30, -5, 0]]", "shots.0.1"),
        ("shots=[[30, 5]]", "shots"),
        ("asked=[[30, 45, 0]]", "command line: unknown key 'asked'; it is now 'shots'"),
        ("questions.num_test=9", "command line: unknown key 'questions'; it is now 'data'"),
        ("train.optimizer.name=lbfgs", "an optimiser of noisy losses"),
        ("train.tolerance=0", "train.tolerance: got 0"),
    ],
)
def test_mistakes_in_the_configuration_are_reported(override, message):
    with pytest.raises(ConfigError, match=message):
        load(Projectile, CONFIGS / "projectile.yaml", [override])


@pytest.mark.parametrize("override", ["model.family=student_t", "model.num_components=auto"])
def test_other_mixtures_are_refused_before_anything_is_written(override, tmp_path):
    config = load(Projectile, CONFIGS / "projectile.yaml", [override, f"output={tmp_path / 'never'}"])
    with pytest.raises(UserError, match="expected a number of Gaussians"):
        study(config, False)
    assert not (tmp_path / "never").exists()


def test_inputs_outside_of_the_range_of_training_get_a_note():
    config = load(Projectile, CONFIGS / "projectile.yaml", ["shots=[[50, 60, 0], [30, 40, -9]]"])
    speed_note, wind_note = extrapolation_notes(config)
    assert "a speed of 50 m/s is 10 m/s outside of the range of training (20 to 40 m/s)" in speed_note
    assert "a wind of -9 m/s is 1 m/s outside" in wind_note


def test_the_command_prints_angles_and_writes_figures(tmp_path):
    done = run("projectile", *TINY, f"output={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert "50 m/s, 900 m, wind +2 m/s: out of reach; the farthest is 1" in done.stdout
    assert "note: a speed of 50 m/s is 10 m/s outside" in done.stdout
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["status"] == "finished"
    for name in ("arcs", "angles", "misses"):
        assert_not_blank(tmp_path / "run" / "figures" / f"{name}.png")
    mixture = mdn.load(tmp_path / "run" / "model.safetensors")(np.array([[30.0, 45.0, 0.0]], np.float32))
    draws = np.asarray(mdn.sample(jax.random.key(0), mixture, (100,)))
    assert (draws > 0).all()
    assert (draws < 90).all()
