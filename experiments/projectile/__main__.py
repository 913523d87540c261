"""Launch angles that hit, with drag and wind: a mixture over the angle, trained through the solver of the flight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from experiments import command, report
from experiments.progress import Clock, training
from experiments.projectile import aim, figures
from experiments.projectile.answers import Answers, answer_all, in_words, score
from experiments.projectile.flight import farthest
from experiments.projectile.schema import Projectile, Questions
from experiments.reading.files import need
from experiments.run_folder import create_run_folder
from experiments.study import check_optimizers, divergence_message
from mdnjax.ensemble import Networks
from mdnjax.model_file import save
from mdnjax.predictor import Predictor, make_predictor
from mdnjax.training.population import Fit
from mdnjax.training.train import train_one

FILES = ("metrics.json", "timing.json", "environment.json", "history.csv", "model.safetensors", "figures/*.png")
NUM_ALONG = 150  # distances of a panel
WINDS = (0.1, 0.5, 0.9)  # of the range, a panel each


def study(config: Projectile, overwrite: bool) -> None:
    """Trains, asks, launches the answers, and writes the run folder."""
    need("diffrax", "ode")
    command.settle(config.runtime)
    check_optimizers(train=config.train)
    if config.model.num_components == "auto" or config.model.line or config.model.family not in ("diagonal", "isotropic"):
        got = f"{config.model.num_components} {config.model.family} components, line {config.model.line}"
        raise command.UserError(f"model: got {got}, expected a number of Gaussians (diagonal) without a line")
    folder, clock = create_run_folder(config, config.output, FILES, overwrite), Clock()
    with clock.phase("questions"):
        nums = (config.questions.num_train, config.questions.num_validation, config.questions.num_test)
        parts = [
            aim.draw_questions(np.random.default_rng([config.seed, part]), config.questions, num) for part, num in enumerate(nums)
        ]
    with clock.phase("training"):
        fitted, predictor = train(config, *parts[:2])
        save(folder / "model.safetensors", predictor)
    with clock.phase("answers"):
        asked = np.array(config.asked, np.float32).reshape(-1, 3)
        tested, asked, *along = answer_all(predictor, [parts[2], asked, *along_distance(config.questions)])
        metrics = score(tested)
    with clock.phase("figures"):
        report.write_figures(folder / "figures", figures.draw(asked, along, tested))
    write(config, folder, clock, fitted, metrics)
    show(config, folder, clock, metrics, asked)
    if fitted.diverged:
        raise command.RunFailed(
            divergence_message("aim", int(fitted.state.step), config.train.num_steps, folder / "model.safetensors")
        )


def train(config: Projectile, questions: np.ndarray, watched: np.ndarray) -> tuple[Fit, Predictor]:
    """Trains through the solver; the observer sees the expected miss as a share of the distance."""
    scaler = aim.scaler_of(questions)
    columns = (np.ascontiguousarray(part.T) for part in (questions, watched))
    inputs = aim.TrainingInputs(jax.random.key(config.seed), *columns, scaler.x_mean, scaler.x_sd)  # pyright: ignore
    with training("aim", config.train.num_steps, "validation miss") as observe:
        fitted = train_one(aim.make_training_functions(config), config.train, inputs, observe)
    params = fitted.state.best.params if config.train.keep == "best" else fitted.state.params
    networks = Networks(jax.tree.map(lambda leaf: np.asarray(leaf)[None], params))
    return fitted, make_predictor(config.model, networks, scaler)


def along_distance(questions: Questions) -> Iterator[np.ndarray]:
    """Questions along the distance at the middle speed, for some winds."""
    winds = np.array([questions.wind[0] + share * (questions.wind[1] - questions.wind[0]) for share in WINDS], np.float32)
    speeds = np.full_like(winds, np.mean(questions.speed))
    for speed, wind, most in zip(speeds, winds, farthest(speeds, winds).distance, strict=True):
        distance = most * np.linspace(*questions.share, NUM_ALONG, dtype=np.float32)
        yield np.stack([np.full_like(distance, speed), distance, np.full_like(distance, wind)], axis=1)


def write(config: Projectile, folder: Path, clock: Clock, fitted: Fit, metrics: dict[str, float]) -> None:
    """Writes everything but the model and the figures."""
    report.write_history(folder / "history.csv", fitted.history, "validation_miss")
    status = "diverged" if fitted.diverged else "finished"
    report.write_run(folder, clock, {"seed": config.seed, "status": status, **metrics})


def show(config: Projectile, folder: Path, clock: Clock, metrics: dict[str, float], asked: Answers) -> None:
    """Prints the scores, and the answers in words."""
    title = f"Projectile, seed {config.seed}: {config.questions.num_test} new questions (speed, distance, wind)"
    two, beyond = metrics["num_two"], metrics["num_out_of_reach"]
    rows = [
        ("", "", "of"),
        ("both arcs found, where there are two", f"{100 * metrics['both_found']:.1f} %", f"{two:.0f}"),
        ("miss at the modes, median", f"{metrics['median_miss']:.3f} %", ""),
        ("miss at the modes, mean", f"{metrics['mean_miss']:.3f} %", ""),
        ("modes that miss by 0.3 % of the distance or less", f"{100 * metrics['share_within_goal']:.1f} %", ""),
        ("out of reach, and said to be", f"{100 * metrics['said_out_of_reach']:.1f} %", f"{beyond:.0f}"),
        ("within reach, and said to be", f"{100 * metrics['said_in_reach']:.1f} %", ""),
    ]
    report.print_table(title, rows)
    for number in range(len(asked.question)):
        print(in_words(asked, number))
    report.print_end(unusual(config), clock, folder)


def unusual(config: Projectile) -> Iterator[str]:
    """A sentence for each question with a speed or wind that training did not see, and how far it is from those."""
    for question in config.asked:
        for name, value, (low, high) in (
            ("speed", question[0], config.questions.speed),
            ("wind", question[2], config.questions.wind),
        ):
            if not low <= value <= high:
                off = max(low - value, value - high)
                yield f"a {name} of {value:g} m/s is {off:g} outside of what was trained ({low:g} to {high:g})"


if __name__ == "__main__":
    command.main("experiments.projectile", __doc__ or "", Projectile, command.CONFIGS / "projectile.yaml", study)
