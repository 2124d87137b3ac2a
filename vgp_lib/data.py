"""The frozen data set of the course, harder ones, and the tables of what was measured."""

import csv
import hashlib
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

import numpy as np

MOONS_CSV = Path(__file__).resolve().parent.parent / "data" / "moons.csv"
_SHA256 = "0db1d9071115da0c92a326bbe4eaa68c703e39b0841d02514973c82810d4c52c"  # of its lines, whatever ends them


class Data(NamedTuple):
    """Samples and their class, all float32.

    `x_*` has shape (samples, 2), points in the plane, or (samples, time steps, 1), sequences; `y_*` has shape
    (samples,), labels 0 and 1.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load_moons() -> Data:
    """Read the two moons: 200 training and 50 test points, labels 0 and 1.

    The file holds scikit-learn's `make_moons(250, noise=0.05, random_state=42)`; column `split` and `row` give the
    place of each point in `train_test_split(..., test_size=0.2, random_state=42)`. See data/README.md.

    Raises `FileNotFoundError` if data/moons.csv is missing and `ValueError` if it is damaged.
    """
    mend = "Restore the file with: git checkout -- data/moons.csv"
    if not MOONS_CSV.is_file():
        raise FileNotFoundError(
            f"The data set {MOONS_CSV.name} is not in the folder data of the course. {mend} "
            "(vgp_lib reads it from the checkout: install with `pip install -e .`)"
        )
    lines = MOONS_CSV.read_text(encoding="utf-8", errors="replace").splitlines()
    if hashlib.sha256("\n".join(lines).encode()).hexdigest() != _SHA256:
        raise ValueError(f"data/moons.csv is damaged: it is not the file of the course. {mend}")
    rows = sorted(csv.DictReader(lines), key=lambda row: int(row["row"]))
    parts = []
    for split in ("train", "test"):
        table = np.array([[row["x1"], row["x2"], row["label"]] for row in rows if row["split"] == split], dtype=float)
        parts += [table[:, :2].astype("float32"), table[:, 2].astype("float32")]
    return Data(*parts)


def make_spirals(samples=500, turns=2.0, noise=0.02, seed=0) -> Data:
    """Draw two interleaved spirals, a task that a shallow sigmoid net cannot do; four fifths are for training.

    Args:
        samples: number of points of both arms together; even, at least 10.
        turns: how often each arm winds around the origin; more is harder.
        noise: standard deviation of the Gaussian noise on both coordinates; the spirals' radius is 1.
        seed: of the random generator.

    Returns `Data`; the points are shuffled, so that every part of it is balanced up to chance.
    Raises `ValueError` if `samples`, `turns` or `noise` is out of range.
    """
    samples, seed = _even(samples), integer("seed", seed, at_least=0)
    _check_numbers(turns=turns, noise=noise)
    if not 0 < turns < np.inf or not 0 <= noise < np.inf:
        raise ValueError(f"turns is {turns} and noise is {noise}; give positive turns, and noise of at least 0")
    random = np.random.default_rng(seed)
    # The square root spreads the points evenly along the arm, whose length grows with the radius.
    radius = np.sqrt(random.uniform(0.02, 1.0, samples // 2))
    angle = 2 * np.pi * turns * radius
    arm = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    x = np.concatenate([arm, -arm]) + random.normal(0.0, noise, (samples, 2))
    y = np.repeat([0.0, 1.0], samples // 2)
    order = random.permutation(samples)
    return _split(x[order], y[order])


def make_first_bit(samples=500, time_steps=25, noise=0.2, seed=0) -> Data:
    """Draw sequences that begin with -1 or 1 and go on with noise; the class tells how they began (1: with 1).

    To answer after the last time step, a recurrent network must remember the first: a small relative of the tasks of
    Hochreiter & Schmidhuber 1997, section 5. Four fifths of the samples are for training.

    Args:
        samples: number of sequences; even, at least 10.
        time_steps: length of the sequences, at least 2; the lag to be bridged is one less.
        noise: standard deviation of the Gaussian noise in all time steps but the first.
        seed: of the random generator.

    Returns `Data` with x of shape (samples, time steps, 1).
    Raises `ValueError` or `TypeError` if an argument is out of range.
    """
    samples, seed = _even(samples), integer("seed", seed, at_least=0)
    time_steps = integer("time_steps", time_steps, at_least=2)
    _check_numbers(noise=noise)
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise is {noise}; give at least 0")
    random = np.random.default_rng(seed)
    y = random.permutation(np.repeat([0.0, 1.0], samples // 2))
    x = random.normal(0.0, noise, (samples, time_steps, 1))
    x[:, 0, 0] = 2 * y - 1
    return _split(x, y)


def _split(x, y):
    x, y = x.astype("float32"), y.astype("float32")
    cut = len(x) * 4 // 5
    return Data(x[:cut], y[:cut], x[cut:], y[cut:])


def integer(name, value, at_least):
    """Return an argument as an int; raise `TypeError` or `ValueError` if it is none, or too small."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r}; give an integer of at least {at_least}")
    if value < at_least:
        raise ValueError(f"{name} is {value}; give an integer of at least {at_least}")
    return int(value)


def _even(samples):
    samples = integer("samples", samples, at_least=10)
    if samples % 2:
        raise ValueError(f"samples is {samples}; give an even number, half of it for each class")
    return samples


def _check_numbers(**values):
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} is {value!r}; give a number")


def read_table(path):
    """Read a measurement stored in the folder data: a list of dicts from column to text."""
    if not path.is_file():
        raise FileNotFoundError(f"data/{path.name} is missing; restore it with: git checkout -- data/{path.name}")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(path, rows):
    """Store a measurement, numbers with three digits: what agrees between computers."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
