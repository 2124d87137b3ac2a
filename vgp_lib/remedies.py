"""The table of remedies: one sick net, one change at a time and the pairs that matter, all with the same budget.

Ten or thirty hidden layers of ten units on the two moons, 100 epochs in batches of 32, 32 seeds. `measure` trains,
`data/remedies.csv` keeps the last measurement, and the tests measure a part of it again and compare.
"""

import functools
from pathlib import Path

import keras
import numpy as np

from vgp_lib.data import load_moons, read_table, write_table
from vgp_lib.gradients import inspect_layers
from vgp_lib.models import build_mlp
from vgp_lib.training import train

REMEDIES_CSV = Path(__file__).resolve().parent.parent / "data" / "remedies.csv"
SEEDS = range(32)
DEPTHS = (10, 30)
ADAM = keras.optimizers.Adam(0.001)


def scaled(sigma_w):
    """Weights of variance σ_w² / fan_in."""
    return keras.initializers.VarianceScaling(sigma_w**2, mode="fan_in", distribution="normal")


def _build_with(layer, normalizes, hidden_layers=10, activation="sigmoid", kernel_initializer="glorot_uniform"):
    """Build a plain net with such a layer in every hidden layer: before the activation if it normalizes, else after."""
    model = keras.Sequential([keras.Input((2,))])
    for index in range(hidden_layers):
        model.add(keras.layers.Dense(10, kernel_initializer=kernel_initializer, name=f"hidden_{index + 1}"))
        parts = [layer(), keras.layers.Activation(activation)]
        for part in parts if normalizes else reversed(parts):
            model.add(part)
    model.add(keras.layers.Dense(1, "sigmoid", kernel_initializer=kernel_initializer, name="output"))
    return model


_layer_normalization = functools.partial(_build_with, keras.layers.LayerNormalization, True)
_dropout = functools.partial(_build_with, functools.partial(keras.layers.Dropout, 0.2), False)
_he, _lecun, _orthogonal = ({"kernel_initializer": name} for name in ("he_normal", "lecun_normal", "orthogonal"))
_relu = {"activation": "relu"}

# name: (how the net is built, its settings, optimizer, what the remedy does not do)
REMEDIES = {
    "nothing: sigmoid, Glorot, Adam": (build_mlp, {}, ADAM, ""),
    "2 layers": (build_mlp, {"hidden_layers": 2}, ADAM, "the deep net itself"),
    "tanh": (build_mlp, {"activation": "tanh"}, ADAM, "saturation by large weights"),
    "ReLU": (build_mlp, _relu, ADAM, "thirty layers; dead units"),
    "leaky ReLU": (build_mlp, {"activation": "leaky_relu"}, ADAM, "the fading of Glorot's weights"),
    "ELU": (build_mlp, {"activation": "elu"}, ADAM, "the fading of Glorot's weights"),
    "GELU": (build_mlp, {"activation": "gelu"}, ADAM, "thirty layers: its slope at 0 is 1/2"),
    "He": (build_mlp, _he, ADAM, "the slope of the sigmoid"),
    "LeCun": (build_mlp, _lecun, ADAM, "anything: in square layers it is Glorot's variance"),
    "orthogonal": (build_mlp, _orthogonal, ADAM, "the slope of the sigmoid"),
    "scale 4": (build_mlp, {"kernel_initializer": scaled(4)}, ADAM, "it is below the critical scale"),
    "scale 10": (build_mlp, {"kernel_initializer": scaled(10)}, ADAM, "saturation"),
    "batch normalization": (build_mlp, {"batch_normalization": True}, ADAM, "small batches"),
    "layer normalization": (_layer_normalization, {}, ADAM, "the slope of the sigmoid"),
    "residual": (build_mlp, {"residual": True}, ADAM, "the sigmoid's mean of 1/2, which adds up"),
    "dropout 0.2": (_dropout, {}, ADAM, "anything: it is made against overfitting"),
    "100 units": (build_mlp, {"units": 100}, ADAM, "the factor per layer"),
    "SGD 0.1": (build_mlp, {}, keras.optimizers.SGD(0.1), "it needs the gradient's size"),
    "SGD 1.0, momentum 0.9": (build_mlp, {}, keras.optimizers.SGD(1.0, momentum=0.9), "it needs the gradient's size"),
    "RMSprop 0.001": (build_mlp, {}, keras.optimizers.RMSprop(0.001), "gradients below its epsilon"),
    "Adam 0.01": (build_mlp, {}, keras.optimizers.Adam(0.01), "gradients below its epsilon"),
    "global_clipnorm=1": (build_mlp, {}, keras.optimizers.Adam(0.001, global_clipnorm=1.0), "small gradients at all"),
    "ReLU + He": (build_mlp, _relu | _he, ADAM, "dead units"),
    "ReLU + orthogonal": (build_mlp, _relu | _orthogonal, ADAM, "half of the squares, as with Glorot"),
    "SELU + LeCun": (build_mlp, {"activation": "selu"} | _lecun, ADAM, "slow growth of delta"),
    "ReLU + batch normalization": (
        build_mlp,
        _relu | {"batch_normalization": True},
        ADAM,
        "delta grows with every layer",
    ),
    "ReLU + layer normalization": (_layer_normalization, _relu, ADAM, "thirty layers"),
    "ReLU + residual": (build_mlp, _relu | {"residual": True}, ADAM, "delta grows with every block"),
    "ReLU + residual + batch norm.": (
        build_mlp,
        _relu | {"residual": True, "batch_normalization": True},
        ADAM,
        "delta grows a little",
    ),
    "ReLU + He + dropout 0.2": (_dropout, _relu | _he, ADAM, "it slows the fit"),
    "ReLU + He, SGD 0.1": (build_mlp, _relu | _he, keras.optimizers.SGD(0.1), "thirty layers"),
}


def measure(names=tuple(REMEDIES), depths=DEPTHS):
    """Train and return one dict per remedy and depth, the columns of data/remedies.csv."""
    rows = []
    for name in names:
        build, settings, optimizer, leaves = REMEDIES[name]
        for depth in depths if "hidden_layers" not in settings else depths[:1]:
            make = functools.partial(build, **{"hidden_layers": depth} | settings)
            runs = train(make, load_moons(), optimizer, seeds=SEEDS, progress=False)
            start, moons = train(make, load_moons(), optimizer, epochs=0, seeds=SEEDS), load_moons()
            reports = [inspect_layers(start.model(seed), moons.x_train, moons.y_train) for seed in SEEDS]
            low, middle, high = np.quantile(np.nan_to_num(runs.loss[-1], nan=np.inf), [0.1, 0.5, 0.9], method="nearest")
            rows.append(
                {
                    "remedy": name,
                    "hidden_layers": settings.get("hidden_layers", depth),
                    "loss": middle,
                    "loss_p10": low,
                    "loss_p90": high,
                    "solved": int((runs.accuracy[-1] > 0.95).sum()),
                    "gradient_ratio": np.nanmedian([report.gradient_ratio for report in reports]),
                    "delta_ratio": np.nanmedian([report.delta_ratio for report in reports]),
                    "does_not_mend": leaves,
                }
            )
    return Remedies(rows)


class Remedies(list):
    """Rows of the table, dicts from column to value; prints as a table."""

    def __repr__(self):
        head = f"{'remedy':30} {'layers':>6}  {'loss [10 %, 90 %]':21}  {'solved':>6}  gradient  delta    does not mend"
        lines = [head]
        for row in self:
            loss = "{:.2g} [{:.2g}, {:.2g}]".format(*(float(row[name]) for name in ("loss", "loss_p10", "loss_p90")))
            ratios = "  ".join(f"{float(row[name]):7.0e}" for name in ("gradient_ratio", "delta_ratio"))
            lines.append(
                f"{row['remedy']:30} {row['hidden_layers']:>6}  {loss:21}  {row['solved']:>3}/{len(SEEDS)}  "
                f"{ratios}  {row['does_not_mend']}".rstrip()
            )
        return "\n".join(lines)


def remedies(hidden_layers=None) -> Remedies:
    """Read the last measurement; for 10 or 30 hidden layers, or all of it.

    loss, with its 10 % and 90 % quantile, and solved (seeds with a training accuracy above 0.95) after 100 epochs;
    gradient and delta ratio (first over last hidden layer) before training; medians over 32 seeds.

    Raises `ValueError` if there are no such rows, `FileNotFoundError` if data/remedies.csv is missing.
    """
    rows = read_table(REMEDIES_CSV)
    known = sorted({int(row["hidden_layers"]) for row in rows})
    if hidden_layers is not None and hidden_layers not in known:
        raise ValueError(f"hidden_layers is {hidden_layers!r}; the table has rows for {known}")
    return Remedies(row for row in rows if hidden_layers in (None, int(row["hidden_layers"])))


def store(rows):
    """Write a measurement to data/remedies.csv."""
    write_table(REMEDIES_CSV, rows)
