"""The frozen data set of the course, and a harder one."""

import csv
import hashlib
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

import numpy as np

MOONS_CSV = Path(__file__).resolve().parent.parent / "data" / "moons.csv"
_SHA256 = "0db1d9071115da0c92a326bbe4eaa68c703e39b0841d02514973c82810d4c52c"  # of its lines, whatever ends them


class Data(NamedTuple):
    """Points in the plane and their class: `x_*` of shape (samples, 2), `y_*` of shape (samples,), all float32."""

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
    for name, value in {"samples": samples, "seed": seed}.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} is {value!r}; give an integer")
    if samples < 10 or samples % 2 or seed < 0:
        raise ValueError(f"samples is {samples} and seed is {seed}; give an even number from 10 on, a seed from 0 on")
    for name, value in {"turns": turns, "noise": noise}.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} is {value!r}; give a number")
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
    x, y = x[order].astype("float32"), y[order].astype("float32")
    cut = samples * 4 // 5
    return Data(x[:cut], y[:cut], x[cut:], y[cut:])
