"""Launch angles that hit a distance despite drag and wind: a mixture over the angle, trained through the solver of the flight."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import numpy as np

from experiments import command, report
from experiments.page.plain import plain_sections
from experiments.page.writing import PAGE_FILE, write_page
from experiments.progress import Clock
from experiments.projectile import figures, objective
from experiments.projectile.evaluation import describe, evaluate_all, score
from experiments.projectile.flight import farthest
from experiments.projectile.schema import InputRanges, Projectile
from experiments.run_folder import create_run_folder
from experiments.sentences import say
from experiments.study import check_optimizers, divergence_message
from mdnjax.ensemble import Networks
from mdnjax.model_file import save
from mdnjax.predictor import Predictor, make_predictor
from mdnjax.progress import training_progress
from mdnjax.training.population import Fit
from mdnjax.training.selection import selected_params
from mdnjax.training.train import train_one

FILES = ("metrics.json", "timing.json", "environment.json", "history.csv", "model.safetensors", PAGE_FILE, "figures/*.png")
DEFAULT = command.CONFIGS / "projectile.yaml"
PICTURES = {
    "arcs": "The flights of the predicted launch angles, a panel for each of the first five shots.",
    "angles": "Predicted and exact launch angles against the distance, for three winds.",
    "misses": "The misses at the modes of the test inputs.",
}
NUM_DISTANCES = 150  # plotted in a panel
WIND_SHARES = (0.1, 0.5, 0.9)  # positions within the range of winds, one panel each


def study(config: Projectile, overwrite: bool) -> None:
    """Trains, evaluates the predicted launch angles, and writes the run folder."""
    command.import_extra("diffrax", "ode")
    command.setup_runtime(config.runtime)
    check_optimizers(train=config.train)
    if config.model.num_components == "auto" or config.model.line or config.model.family not in ("diagonal", "isotropic"):
        got = f"{config.model.num_components} {config.model.family} components, line {config.model.line}"
        raise command.UserError(f"model: got {got}, expected a number of Gaussians (diagonal or isotropic) and line false")
    folder, clock = create_run_folder(config, config.output, FILES, overwrite), Clock()
    with clock.phase("data"):
        ranges = config.data
        train_x, validation_x, test_x = (
            objective.draw_inputs(np.random.default_rng([config.seed, part]), ranges, num)
            for part, num in enumerate((ranges.num_train, ranges.num_validation, ranges.num_test))
        )
    with clock.phase("training"):
        fitted, predictor = train(config, train_x, validation_x)
        save(folder / "model.safetensors", predictor)
    with clock.phase("evaluation"):
        example_x = np.array(config.shots, np.float32).reshape(-1, 3)
        tested, examples, *by_distance = evaluate_all(predictor, [test_x, example_x, *distance_grids(ranges)])
        metrics = score(tested)
    with clock.phase("figures"):
        report.write_figures(folder / "figures", figures.draw(examples, by_distance, tested))
    report.write_history(folder / "history.csv", fitted.history, "validation_miss")
    table = table_of(metrics)
    title = f"Projectile, seed {config.seed}: {config.data.num_test} test inputs (speed, distance, wind)"
    notes = [*extrapolation_notes(config)]
    page = partial(plain_sections, __doc__ or "", config, DEFAULT, [("Test scores", table)], notes, folder, PICTURES)
    write_page(folder, clock, title, page, wanted=config.report and not fitted.diverged)
    status = "diverged" if fitted.diverged else "finished"
    report.write_run(folder, clock, {"seed": config.seed, "status": status, **metrics})
    report.print_table(title, table)
    for number in range(len(examples.x)):
        say(describe(examples, number))
    report.print_end(notes, clock, folder)
    if fitted.diverged:
        step = int(fitted.state.step)
        raise command.RunFailed(divergence_message("projectile", step, config.train.num_steps, folder / "model.safetensors"))


def train(config: Projectile, train_x: np.ndarray, validation_x: np.ndarray) -> tuple[Fit, Predictor]:
    """Trains through the solver; the validation score is the expected miss as a share of the distance."""
    scaler = objective.scaler_of(train_x)
    columns = (np.ascontiguousarray(x.T) for x in (train_x, validation_x))
    inputs = objective.TrainingInputs(jax.random.key(config.seed), *columns, scaler.x_mean, scaler.x_sd)  # pyright: ignore
    with training_progress("projectile", config.train.num_steps, "validation miss") as observe:
        fitted = train_one(objective.make_training_functions(config), config.train, inputs, observe)
    params = selected_params(fitted.state, config.train.keep)
    networks = Networks(jax.tree.map(lambda leaf: np.asarray(leaf)[None], params))
    return fitted, make_predictor(config.model, networks, scaler)


def distance_grids(ranges: InputRanges) -> Iterator[np.ndarray]:
    """Yields inputs `[NUM_DISTANCES, 3]` over the range of distances, at the mean speed and one wind each."""
    low, high = ranges.wind
    winds = np.array([low + share * (high - low) for share in WIND_SHARES], np.float32)
    speeds = np.full_like(winds, np.mean(ranges.speed))
    for speed, wind, limit in zip(speeds, winds, farthest(speeds, winds).distance, strict=True):
        distance = limit * np.linspace(*ranges.share, NUM_DISTANCES, dtype=np.float32)
        yield np.stack([np.full_like(distance, speed), distance, np.full_like(distance, wind)], axis=1)


def table_of(metrics: dict[str, float]) -> list[tuple[str, ...]]:
    """Returns the table of scores with its header."""
    two, out_of_reach = metrics["num_two"], metrics["num_out_of_reach"]
    return [
        ("", "", "of"),
        ("both arcs found, where two angles hit", f"{100 * metrics['both_found']:.1f} %", f"{two:.0f}"),
        ("miss at the modes, median", f"{metrics['median_miss']:.3f} %", ""),
        ("miss at the modes, mean", f"{metrics['mean_miss']:.3f} %", ""),
        ("modes that miss by 0.3 % of the distance or less", f"{100 * metrics['share_within_goal']:.1f} %", ""),
        ("the same, after Newton steps through the flight", f"{100 * metrics['refined_within_goal']:.1f} %", ""),
        ("out of reach, and predicted to be", f"{100 * metrics['predicted_out_of_reach']:.1f} %", f"{out_of_reach:.0f}"),
        ("within reach, and predicted to be", f"{100 * metrics['predicted_within_reach']:.1f} %", ""),
    ]


def extrapolation_notes(config: Projectile) -> Iterator[str]:
    """Yields a note for each speed or wind in `shots` outside of the range of training."""
    ranges = config.data
    for speed, _, wind in config.shots:
        for name, value, (low, high) in (("speed", speed, ranges.speed), ("wind", wind, ranges.wind)):
            if not low <= value <= high:
                excess = max(low - value, value - high)
                yield f"a {name} of {value:g} m/s is {excess:g} m/s outside of the range of training ({low:g} to {high:g} m/s)"


if __name__ == "__main__":
    command.main("experiments.projectile", __doc__ or "", Projectile, DEFAULT, study)
