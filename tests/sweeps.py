"""Helpers of the tests of sweeps: a small sweep, its command in the background, its table."""

import csv
import subprocess
import sys

from tests.commands import ROOT

# Same sizes as `commands.SHORT`, so that both use the same compiled programs.
SMALL = """
num_seeds: 3
report: false
chunk_members: 1
data: {num_train: 60, num_validation: 20, num_test: 200}
model: {num_components: 3, hidden_sizes: [5]}
train: {num_steps: 60, report_every: 20}
grid:
  model.scale_floor: [0.01, 0.1]
  train.optimizer.learning_rate: [0.01, 0.02, 1.0e+30]
"""


def rows(folder, name="members.csv"):
    """Returns the rows of a table without its columns of seconds."""
    with open(folder / name) as file:
        return [{key: value for key, value in row.items() if "seconds" not in key} for row in csv.DictReader(file)]


def start(file, *words):
    """Starts the command in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.sweep", str(file), *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
