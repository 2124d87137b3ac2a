"""The table of remedies: one sick net, one change at a time and the pairs that matter, all with the same budget.

Ten or thirty hidden layers of ten units on the two moons, 100 epochs in batches of 32, 32 seeds.
"""

import functools

import keras
import numpy as np

from evidence.claims import SEEDS, scaled
from vgp_lib import build_mlp, inspect_layers, load_moons, train

DEPTHS = (10, 30)


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
_relu, _bn = {"activation": "relu"}, {"batch_normalization": True}
_sgd, _rmsprop, _adam = keras.optimizers.SGD, keras.optimizers.RMSprop, keras.optimizers.Adam
ADAM = _adam(0.001)

# name: (how the net is built, its settings, optimizer, what is still open)
REMEDIES = {
    "nothing: sigmoid, Glorot, Adam": (build_mlp, {}, ADAM, ""),
    "2 layers": (build_mlp, {"hidden_layers": 2}, ADAM, "the deep net itself still fails"),
    "tanh": (build_mlp, {"activation": "tanh"}, ADAM, "saturation by large weights"),
    "ReLU": (build_mlp, _relu, ADAM, "thirty layers; dead units"),
    "leaky ReLU": (build_mlp, {"activation": "leaky_relu"}, ADAM, "Glorot's scale: delta shrinks in every layer"),
    "ELU": (build_mlp, {"activation": "elu"}, ADAM, "Glorot's scale: delta shrinks a little"),
    "GELU": (build_mlp, {"activation": "gelu"}, ADAM, "thirty layers: its slope at 0 is 1/2"),
    "He": (build_mlp, _he, ADAM, "the slope of the sigmoid"),
    "LeCun": (build_mlp, _lecun, ADAM, "everything: in square layers it is Glorot's variance"),
    "orthogonal": (build_mlp, _orthogonal, ADAM, "the slope of the sigmoid"),
    "scale 4": (build_mlp, {"kernel_initializer": scaled(4)}, ADAM, "4 is below the critical scale of 10"),
    "scale 10": (build_mlp, {"kernel_initializer": scaled(10)}, ADAM, "saturation"),
    "batch normalization": (build_mlp, _bn, ADAM, "small batches"),
    "layer normalization": (_layer_normalization, {}, ADAM, "the slope of the sigmoid"),
    "residual": (build_mlp, {"residual": True}, ADAM, "the sigmoid's mean of 1/2, which adds up"),
    "dropout 0.2": (_dropout, {}, ADAM, "everything: it is made against overfitting"),
    "100 units": (build_mlp, {"units": 100}, ADAM, "the factor per layer stays"),
    "SGD 0.1": (build_mlp, {}, _sgd(0.1), "its step is as small as the gradient"),
    "SGD 1.0, momentum 0.9": (build_mlp, {}, _sgd(1.0, momentum=0.9), "its step is as small as the gradient"),
    "RMSprop 0.001": (build_mlp, {}, _rmsprop(0.001), "gradients below its epsilon"),
    "Adam 0.01": (build_mlp, {}, _adam(0.01), "gradients below its epsilon"),
    "global_clipnorm=1": (build_mlp, {}, _adam(0.001, global_clipnorm=1.0), "it never enlarges a gradient"),
    "ReLU + He": (build_mlp, _relu | _he, ADAM, "dead units"),
    "ReLU + orthogonal": (build_mlp, _relu | _orthogonal, ADAM, "ReLU halves the squares, as with Glorot"),
    "SELU + LeCun": (build_mlp, {"activation": "selu"} | _lecun, ADAM, "slow growth of delta"),
    "ReLU + batch normalization": (build_mlp, _relu | _bn, ADAM, "delta grows with every layer"),
    "ReLU + layer normalization": (_layer_normalization, _relu, ADAM, "thirty layers"),
    "ReLU + residual": (build_mlp, _relu | {"residual": True}, ADAM, "delta grows with every block"),
    "ReLU + residual + batch norm.": (build_mlp, _relu | _bn | {"residual": True}, ADAM, "delta still grows, slowly"),
    "ReLU + He + dropout 0.2": (_dropout, _relu | _he, ADAM, "the fit is slower"),
    "ReLU + He, SGD 0.1": (build_mlp, _relu | _he, _sgd(0.1), "thirty layers"),
}


def settings():
    """Pairs (remedy, hidden layers): the rows of the table."""
    fixed = {name: net["hidden_layers"] for name, (_, net, _, _) in REMEDIES.items() if "hidden_layers" in net}
    return [(name, fixed.get(name, depth)) for depth in DEPTHS for name in REMEDIES if depth == 10 or name not in fixed]


def measure(name, hidden_layers):
    """Train, and return a row: a dict, the columns of data/remedies.csv."""
    build, net, optimizer, still_open = REMEDIES[name]
    make, moons = functools.partial(build, **net | {"hidden_layers": hidden_layers}), load_moons()
    runs, start = (train(make, moons, optimizer, n, seeds=SEEDS, progress=False) for n in (100, 0))
    reports = [inspect_layers(start.model(seed), moons.x_train, moons.y_train) for seed in SEEDS]
    low, middle, high = np.quantile(np.nan_to_num(runs.loss[-1], nan=np.inf), [0.1, 0.5, 0.9], method="nearest")
    return {
        "remedy": name,
        "hidden_layers": hidden_layers,
        "loss": middle,
        "loss_p10": low,
        "loss_p90": high,
        "solved": int((runs.accuracy[-1] > 0.95).sum()),
        "gradient_ratio": np.nanmedian([report.gradient_ratio for report in reports]),
        "delta_ratio": np.nanmedian([report.delta_ratio for report in reports]),
        "still_open": still_open,
    }


def deviation(row, stored):
    """Say in a line how a measured row differs from the stored table; "" if it agrees.

    The ratios before training must lie within 5 %, the median loss in the stored band, widened by a half, and as many
    nets must solve the task, but for six.
    """
    about = f"{row['remedy']}, {row['hidden_layers']} layers"
    kept = [
        old for old in stored if (old["remedy"], int(old["hidden_layers"])) == (row["remedy"], row["hidden_layers"])
    ]
    if len(kept) != 1:
        return f"{about}: {len(kept)} rows are stored"
    (old,), found = kept, []
    for name in ("gradient_ratio", "delta_ratio"):
        if not abs(row[name] / float(old[name]) - 1) <= 0.05:
            found.append(f"{name} {row[name]:.3g}, stored {old[name]}")
    if not float(old["loss_p10"]) * 0.5 - 1e-3 <= row["loss"] <= float(old["loss_p90"]) * 1.5 + 1e-3:
        found.append(f"loss {row['loss']:.3g}, stored {old['loss']} [{old['loss_p10']}, {old['loss_p90']}]")
    if abs(row["solved"] - int(old["solved"])) > 6:
        found.append(f"{row['solved']} solved, stored {old['solved']}")
    if row["still_open"] != old["still_open"]:
        found.append(f"still open is stored as {old['still_open']!r}")
    return f"{about}: {'; '.join(found)}" if found else ""
