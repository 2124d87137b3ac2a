"""The frozen data set of the course, and harder ones."""

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vgp_lib.engine._arguments import integer, number

_HERE = Path(__file__).resolve().parent
# A wheel carries the folder data as vgp_lib/tables; in a checkout it is read where it lies.
TABLES = _HERE / "tables" if (_HERE / "tables").is_dir() else _HERE.parent / "data"
_SHA256 = "0db1d9071115da0c92a326bbe4eaa68c703e39b0841d02514973c82810d4c52c"  # of its lines, whatever ends them


class Data(NamedTuple):
    """Points x, (samples, 2), or sequences x, (samples, time steps, 1), and labels y, 0 or 1, (samples,); float32."""

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
    path, advice = TABLES / "moons.csv", "Restore it with: git checkout -- data/moons.csv, or install vgp_lib again"
    if not path.is_file():
        raise FileNotFoundError(f"The data set moons.csv is missing. {advice}")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if hashlib.sha256("\n".join(lines).encode()).hexdigest() != _SHA256:
        raise ValueError(f"The data set moons.csv is damaged: it is not the file of the course. {advice}")
    rows = sorted(csv.DictReader(lines), key=lambda row: (row["split"] == "test", int(row["row"])))
    table = np.array([[row["x1"], row["x2"], row["label"]] for row in rows], dtype=float)
    return _split(table[:, :2], table[:, 2])


def make_spirals(samples=500, turns=2.0, noise=0.02, seed=0) -> Data:
    """Draw two interleaved spirals, harder to separate than the moons; four fifths are for training.

    Args:
        samples: number of points of both arms together; even, at least 10.
        turns: how often each arm winds around the origin; more is harder.
        noise: standard deviation of the Gaussian noise on both coordinates; the spirals' radius is 1.
        seed: of the random generator.

    Returns `Data`; the points are shuffled, so that every part of it is balanced up to chance.
    Raises `ValueError` if `samples`, `turns` or `noise` is out of range.
    """
    samples, seed = _even(samples), integer("seed", seed)
    turns, noise = number("turns", turns, positive=True), number("noise", noise)
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
    samples, seed = _even(samples), integer("seed", seed)
    time_steps, noise = integer("time_steps", time_steps, at_least=2, at_most=10**5), number("noise", noise)
    random = np.random.default_rng(seed)
    y = random.permutation(np.repeat([0.0, 1.0], samples // 2))
    x = random.normal(0.0, noise, (samples, time_steps, 1))
    x[:, 0, 0] = 2 * y - 1
    return _split(x, y)


def _split(x, y):
    x, y = x.astype("float32"), y.astype("float32")
    cut = len(x) * 4 // 5
    return Data(x[:cut], y[:cut], x[cut:], y[cut:])


def _even(samples):
    samples = integer("samples", samples, at_least=10, at_most=10**7)
    if samples % 2:
        raise ValueError(f"samples is {samples}; give an even number, half of it for each class")
    return samples
