"""The ledger: what the course asserts, measured over 32 seeds, with a verdict that is computed.

A claim is a sentence and an expectation: a range in which the 10 % and the 90 % quantile of the seeds must lie. It is
measured in one or several cases. It holds if every case does, is false if none does, and otherwise holds only if the
named cases apply.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from evidence import tables
from vgp_lib import (
    build_mlp,
    build_rnn,
    gradient_by_lag,
    gradient_from_update,
    inspect_layers,
    load_moons,
    make_first_bit,
    make_spirals,
    percent_change,
    predict_profile,
    train,
)

SEEDS = range(32)
WORDS = ("sentence", "source", "experiment", "expectation")


@dataclass(frozen=True)
class Claim:
    """One assertion; `measure` gives a dict from case to one value per seed."""

    id: str
    sentence: str
    source: str
    experiment: str
    low: float
    high: float
    measure: Callable

    @property
    def expectation(self):
        return f"{self.low:.3g} to {self.high:.3g}"

    @property
    def trains(self):
        """Whether the measured values come from trained nets, which differ a little between processors."""
        return self.id in _TRAINED

    def expects(self, p10, p90):
        return bool(self.low <= p10 and p90 <= self.high)  # nan is nowhere expected

    def rows(self):
        """Measure, and return one dict per case, the columns of data/claims.csv."""
        rows = []
        for case, values in self.measure().items():
            p10, median, p90 = np.quantile(np.asarray(values, dtype=float), [0.1, 0.5, 0.9], method="nearest")
            rows.append({"case": case, "median": median, "p10": p10, "p90": p90, "holds": self.expects(p10, p90)})
        told = verdict({row["case"]: row["holds"] for row in rows})
        about = {"id": self.id} | {name: getattr(self, name) for name in WORDS}
        return [about | row | {"verdict": told} for row in rows]


def verdict(holds):
    """Put together what holds in each case: a dict from case to bool."""
    if all(holds.values()):
        return "holds"
    good = [case for case, value in holds.items() if value]
    return "holds only if " + " or ".join(good) if good else "false"


def deviation(claim, rows, stored):
    """Say in a line how a measurement of a claim differs from the stored rows; "" if it agrees.

    Words, cases and verdicts must be equal. A median must lie within 5 % of the stored one; if nets were trained, only
    in the stored band, widened by a quarter on both sides and by float32's noise near 0.
    """
    kept = {row["case"]: row for row in stored if row["id"] == claim.id}
    if [row["case"] for row in rows] != list(kept):
        return f"{claim.id}: the cases are {[row['case'] for row in rows]}, stored are {list(kept)}"
    found = []
    for row in rows:
        old, case = kept[row["case"]], row["case"] and f"{row['case']}: "
        low, median, high = (float(old[name]) for name in ("p10", "median", "p90"))
        span = (low * 0.75 - 1e-4, high * 1.25 + 1e-4) if claim.trains else (median * 0.95 - 1e-8, median * 1.05 + 1e-8)
        found += [f"{case}the {name} is stored as {old[name]!r}" for name in WORDS if row[name] != old[name]]
        found += [f"{case}{name} {row[name]}, stored {old[name]}" for name in _VERDICTS if str(row[name]) != old[name]]
        if not span[0] <= row["median"] <= span[1]:
            found.append(f"{case}median {row['median']:.3g}, stored {median:.3g} [{low:.3g}, {high:.3g}]")
    return f"{claim.id}: {'; '.join(found)}" if found else ""


_VERDICTS = ("holds", "verdict")


# ------------------------------------------------------------------------------------------------------- experiments


def _train(optimizer=None, epochs=100, batch_size=32, data=None, **net):
    optimizer = optimizer or keras.optimizers.Adam(0.001)
    build = functools.partial(build_mlp, **net)
    return train(build, data or load_moons(), optimizer, epochs, batch_size, seeds=SEEDS, progress=False)


@functools.cache
def scaled(sigma_w):
    """Weights of variance σ_w² / fan_in; the same object for the same σ_w, so that measurements can be kept."""
    return keras.initializers.VarianceScaling(sigma_w**2, mode="fan_in", distribution="normal")


def _fresh(**net):
    """32 nets before training: those that `_train` begins with."""
    return [build_mlp(seed=seed, **net) for seed in SEEDS]


def _trained(runs):
    return [runs.model(seed) for seed in SEEDS]


def _inspected(models):
    moons = load_moons()
    return [inspect_layers(model, moons.x_train, moons.y_train) for model in models]


@functools.cache
def _reports(**net):
    return _inspected(_fresh(**net))


def _ratios(**net):
    return [report.gradient_ratio for report in _reports(**net)]


def _delta_ratios(**net):
    return [report.delta_ratio for report in _reports(**net)]


@functools.cache
def _tutorial(activation, optimizer):
    """The web's experiment: 10 layers of 10 units, 100 epochs, batches of 32; also used with SGD."""
    optimizers = {"Adam": keras.optimizers.Adam(0.001), "SGD": keras.optimizers.SGD(0.1)}
    return _train(optimizers[optimizer], activation=activation)


def _gradients(model, variables, data=None):
    """Autodiff's gradients on the whole training set, arrays."""
    data = data or load_moons()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.binary_crossentropy(data.y_train[:, None], model(data.x_train)))
    return [gradient.numpy() for gradient in tape.gradient(loss, [variable.value for variable in variables])]


def _first_gradient(model):
    return _gradients(model, [model.layers[1].kernel])[0]


def _change(activation, optimizer):
    weights = _tutorial(activation, optimizer).first_layer_weights
    return np.array([np.median(percent_change(old, new)) for old, new in zip(weights[0], weights[-1], strict=True)])


def _healthy_over_sick():
    with np.errstate(divide="ignore"):
        return {name: _change("relu", name) / _change("sigmoid", name) for name in ("Adam", "SGD")}


def _recipe_over_truth():
    cases = {}
    for optimizer in ("Adam", "SGD"):
        for activation, patient in (("sigmoid", "sick"), ("relu", "healthy")):
            runs = _tutorial(activation, optimizer)
            truth = [np.linalg.norm(_first_gradient(net)) for net in _fresh(activation=activation)]
            ends = zip(runs.first_layer_weights[0], runs.first_layer_weights[-1], strict=True)
            recipe = [np.linalg.norm(gradient_from_update(*pair, runs.learning_rate)) for pair in ends]
            cases[f"{optimizer}, {patient}"] = np.array(recipe) / truth
    return cases


def _derived_error():
    """Relative error of (old - new) / learning rate against autodiff, two sigmoid layers, one epoch."""
    cases = {}
    for name, optimizer, batch_size in (
        ("one SGD step", keras.optimizers.SGD(0.1), 200),
        ("seven SGD steps", keras.optimizers.SGD(0.1), 32),
        ("one Adam step", keras.optimizers.Adam(0.001), 200),
    ):
        runs = _train(optimizer, epochs=1, batch_size=batch_size, hidden_layers=2)
        errors = []
        for seed, net in enumerate(_fresh(hidden_layers=2)):
            truth = _first_gradient(net)
            derived = gradient_from_update(*runs.first_layer_weights[:, seed], runs.learning_rate)
            errors.append(np.linalg.norm(derived - truth) / np.linalg.norm(truth))
        cases[name] = errors
    return cases


def _adam_step_error():
    """Largest deviation of Adam's first step from g / (|g| + 3.16e-6), layer 7 of ten sigmoid layers."""
    runs, errors = _train(epochs=1, batch_size=200), []
    for before, after in zip(_fresh(), _trained(runs), strict=True):
        old, new = (net.get_layer("hidden_7").kernel for net in (before, after))
        (gradient,) = _gradients(before, [old])
        step = gradient_from_update(old.numpy(), new.numpy(), runs.learning_rate)
        predicted = gradient / (abs(gradient) + 1e-7 / np.sqrt(1e-3))
        errors.append(abs(step - predicted).max())
    return {"": errors}


def _unmoved():
    runs = _train(keras.optimizers.SGD(0.1), epochs=1, batch_size=200)
    return {"": [np.mean(runs.first_layer_weights[0, i] == runs.first_layer_weights[1, i]) for i in range(len(SEEDS))]}


@functools.cache
def _on_the_plateau():
    return _inspected(_trained(_train(keras.optimizers.SGD(1.0), epochs=300, batch_size=200)))


def _plateau():
    reports = _on_the_plateau()
    batch = [report.kernel_gradient_norm[0] / report.kernel_gradient_norm[-2] for report in reports]
    return {"per sample": [report.gradient_ratio for report in reports], "of the batch": batch}


def _level():
    """Spread of a layer's input over the samples, times its delta: second over last hidden layer of ten units."""
    products = [report.sample_spread[:-2] * report.delta_rms[1:-1] for report in _on_the_plateau()]
    return {"": [product[0] / product[-1] for product in products]}


def _update_ratio():
    """Update ratio of the last hidden layer in the first epoch, ten ReLU layers over ten sigmoid layers."""
    cases = {}
    for optimizer in ("Adam", "SGD"):
        healthy, sick = (_tutorial(activation, optimizer).update_ratios[0, :, -2] for activation in ("relu", "sigmoid"))
        cases[optimizer] = healthy / sick
    return cases


def _deep_relu():
    reports = _reports(hidden_layers=30, activation="relu")
    return {
        "delta": [report.delta_ratio for report in reports],
        "kernel gradient": [report.gradient_ratio for report in reports],
    }


def _shortcut(repaired):
    """Relative error of the shortcut for dL/dw1 of the two-weight net, against central differences; 32 random nets."""

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def error(w1, w2):
        return (1 - sigmoid(w2 * sigmoid(w1 * 1.5))) ** 2

    w1, w2 = np.random.default_rng(0).normal(size=(2, len(SEEDS)))
    h, a1 = 1e-6, sigmoid(w1 * 1.5)
    by_w1 = (error(w1 + h, w2) - error(w1 - h, w2)) / (2 * h)
    by_w2 = (error(w1, w2 + h) - error(w1, w2 - h)) / (2 * h)
    shortcut = by_w2 * w2 * a1 * (1 - a1) * 1.5 / (a1 if repaired else 1)
    return {"": abs(shortcut / by_w1 - 1)}


@functools.cache
def _bet(hidden_layers, learning_rate):
    return _train(keras.optimizers.Adam(learning_rate), hidden_layers=hidden_layers)


def _straight_line():
    """Loss and accuracy of a logistic regression on the moons, one value each."""
    moons = load_moons()
    line = LogisticRegression(C=np.inf).fit(moons.x_train, moons.y_train)
    loss = log_loss(moons.y_train, line.predict_proba(moons.x_train))
    return loss, line.score(moons.x_train, moons.y_train)


def _sigmoid_loss(weights):
    """Cross-entropy of a net of sigmoid layers on the moons, in float64, from its list of kernels and biases."""
    moons = load_moons()
    a = moons.x_train
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        a = expit(a @ kernel + bias)
    return -np.mean(np.log(np.where(moons.y_train == 1, a[:, 0], 1 - a[:, 0])))


@functools.cache
def _first_layer_alone():
    """Rise of the loss, predicted and measured, where every weight of layer 1 moves by 0.001 in its best direction."""
    changes = []
    for net in _fresh():
        g, weights = _first_gradient(net), [array.astype("float64") for array in net.get_weights()]
        before, step = _sigmoid_loss(weights), 0.001 * np.sign(g)
        weights[0] -= step
        changes.append((-np.sum(g * step), _sigmoid_loss(weights) - before))
    return np.array(changes).T


def _measured_over_predicted():
    predicted, measured = _first_layer_alone()
    return {"": measured / predicted}


def _rms_slopes():
    """Root mean square slope of the activations that occur in ten sigmoid layers."""
    slopes = []
    for net in _fresh():
        hidden = keras.Model(net.input, [layer.output for layer in net.layers[1:-1]])
        a = np.array(hidden(load_moons().x_train))
        slopes.append(np.sqrt(np.mean((a * (1 - a)) ** 2)))
    return {"": slopes}


def _spread_per_layer():
    spread = np.array([report.sample_spread for report in _reports()])
    return {"": (spread[:, 9] / spread[:, 0]) ** (1 / 9)}


def _slope_at(activation, z):
    with tf.GradientTape() as tape:
        point = tf.Variable(float(z))
        value = keras.activations.get(activation)(point)
    return {"": [float(tape.gradient(value, point))]}


def _factor_per_layer(**net):
    return (np.array(_ratios(hidden_layers=12, **net)) / _ratios(hidden_layers=4, **net)) ** (1 / 8)


@functools.cache
def _eight_layers():
    optimizers = {"SGD": keras.optimizers.SGD(1.0, momentum=0.9), "Adam": keras.optimizers.Adam(0.01)}
    return {
        name: _train(optimizer, epochs=300, batch_size=200, hidden_layers=8) for name, optimizer in optimizers.items()
    }


def _first_layer_moved():
    weights = {name: runs.first_layer_weights for name, runs in _eight_layers().items()}
    return {name: abs(values[100] - values[0]).mean(axis=(1, 2)) for name, values in weights.items()}


def _twelve_layers():
    cases = {}
    for epsilon in (1e-7, 1e-12):
        adam = keras.optimizers.Adam(0.01, epsilon=epsilon)
        cases[f"epsilon {epsilon:.0e}"] = _train(adam, epochs=300, batch_size=200, hidden_layers=12).loss[-1]
    return cases


def _spirals(learning_rate=0.01, **net):
    runs = _train(keras.optimizers.Adam(learning_rate), epochs=500, batch_size=400, data=make_spirals(), **net)
    return runs.accuracy[-1]


def _spirals_solved(**net):
    return [np.mean(_spirals(activation="relu", **net) > 0.95)]


def _never_vanishes():
    return {
        name: _delta_ratios(hidden_layers=30, activation="relu", kernel_initializer=initializer)
        for name, initializer in (("He", "he_normal"), ("Glorot", "glorot_uniform"))
    }


def _thirty_with_he():
    names = {"ReLU": "relu", "leaky ReLU": "leaky_relu", "ELU": "elu", "GELU": "gelu"}
    net = {"hidden_layers": 30, "kernel_initializer": "he_normal"}
    return {label: _solved(activation=name, **net) for label, name in names.items()}


def _dead(learning_rate):
    runs = _train(keras.optimizers.SGD(learning_rate), epochs=100, batch_size=200, activation="relu")
    return [report.dead[:-1].mean() for report in _inspected(_trained(runs))]


def _predicted_over_measured():
    """Delta ratio at 100 units, root mean square over the seeds, predicted over measured."""
    cases = {}
    for activation, initializer in (("sigmoid", "glorot_uniform"), ("tanh", "glorot_uniform"), ("relu", "he_normal")):
        net = {"hidden_layers": 6, "units": 100, "activation": activation, "kernel_initializer": initializer}
        deltas = np.square([report.delta_rms for report in _reports(**net)]).mean(axis=0)
        profile = predict_profile(activation, initializer, [2] + 6 * [100], load_moons().x_train)
        cases[f"{activation}, {initializer}"] = [profile.delta_ratio / np.sqrt(deltas[0] / deltas[-2])]
    return cases


def _share_in_band():
    """Share of the seeds whose delta ratio lies within the predicted 80 % band, ten units."""
    cases = {}
    for activation, initializer in (("sigmoid", "glorot_uniform"), ("relu", "he_normal")):
        ratios = np.array(_delta_ratios(activation=activation, kernel_initializer=initializer))
        profile = predict_profile(activation, initializer, [2] + 10 * [10], load_moons().x_train)
        low, high = profile.band.delta_ratio
        cases[f"{activation}, {initializer}"] = [np.mean((low < ratios) & (ratios < high))]
    return cases


def _solved(**net):
    return [np.mean(_train(**net).accuracy[-1] > 0.95)]


def _in_test_mode(momentum):
    """Share of the seeds that are solved where batch normalization uses its moving averages, on the training points."""

    def build():
        model = build_mlp(batch_normalization=True)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = momentum
        return model

    moons = load_moons()
    runs = train(build, moons, keras.optimizers.Adam(0.001), seeds=SEEDS, progress=False)
    answers = np.array([model(moons.x_train, training=False)[:, 0] > 0.5 for model in _trained(runs)])
    return [np.mean(np.mean(answers == moons.y_train, axis=1) > 0.95)]


def _loss_and_ladder():
    """Gradient ratio with the squared error over that with cross-entropy, ten sigmoid layers."""
    moons, nets = load_moons(), _fresh()
    by_loss = [
        [inspect_layers(net, moons.x_train, moons.y_train, loss).gradient_ratio for net in nets]
        for loss in ("mse", "binary_crossentropy")
    ]
    return {"": np.divide(*by_loss)}


def _with_dropout():
    """Gradient ratio with dropout of 0.2 after every layer, over that without, same weights."""
    nets = []
    for seed, plain in enumerate(_fresh()):
        layers = [keras.Input((2,))]
        for layer in plain.layers[1:-1]:
            layers += [layer, keras.layers.Dropout(0.2, seed=seed)]
        nets.append(keras.Sequential([*layers, plain.layers[-1]]))
    return {"": np.divide([report.gradient_ratio for report in _inspected(nets)], _ratios())}


def _shared_initializer():
    """Share of equal weights in two layers that share one initializer object."""
    shares = []
    for seed in SEEDS:
        shared = keras.initializers.HeNormal(seed)
        one, two = (np.asarray(shared((10, 10))) for _ in range(2))
        shares.append(np.mean(one == two))
    return {"": shares}


def _by_weights(stddev):
    wide = keras.initializers.RandomNormal(stddev=stddev)
    return {
        label: _delta_ratios(activation=name, kernel_initializer=wide)
        for label, name in (("ReLU", "relu"), ("sigmoid", "sigmoid"))
    }


def _deep(initializer, **clipping):
    return _train(keras.optimizers.SGD(0.1, **clipping), activation="relu", kernel_initializer=initializer)


def _nan_at_once():
    """Share of the seeds with a nan or infinite loss in the first epoch."""
    diverged = _deep(keras.initializers.RandomNormal(stddev=2.0)).diverged
    return {"": [np.mean([diverged.get(seed) == 1 for seed in SEEDS])]}


def _gated(forget_bias, **net):
    model = build_rnn("lstm", **net)
    bias = model.get_layer("recurrent").cell.bias
    bias.assign(np.repeat([0.0, forget_bias, 0.0, 0.0], 10))  # input, forget, cell and output gate
    return model


@functools.cache
def _lags(gain=1.0, cell="simple_rnn", forget_bias=None, kernel=None):
    """Gradient against time lag before training: (seeds, time steps)."""
    bits, lags = make_first_bit(), []
    build = functools.partial(build_rnn, cell) if forget_bias is None else functools.partial(_gated, forget_bias)
    for seed in SEEDS:
        model = build(recurrent_initializer=kernel or keras.initializers.Orthogonal(gain), seed=seed)
        lags.append(gradient_by_lag(model, bits.x_train[:50], bits.y_train[:50]))
    return np.array(lags)


def _kept(**net):
    """The gradient that is left at lag 24, as a share of that at lag 0."""
    lags = _lags(**net)
    return lags[:, 24] / lags[:, 0]


def _over_the_bound():
    """The gradient at lag k over s^k times that at lag 0, its largest value over k."""
    return {
        f"s = {gain:g}": (_lags(gain)[:, 1:] / _lags(gain)[:, :1] / gain ** np.arange(1, 25)).max(axis=1)
        for gain in (0.5, 1.0, 3.0)
    }


@functools.cache
def _remembered(gain, optimizer):
    """Training accuracy on the first-bit task after 30 epochs; 24 steps lie between the bit and the answer."""
    optimizers = {
        "SGD": keras.optimizers.SGD(0.1),
        "SGD, clipped": keras.optimizers.SGD(0.1, global_clipnorm=1.0),
        "Adam": keras.optimizers.Adam(0.01),
    }
    build = functools.partial(build_rnn, recurrent_initializer=keras.initializers.Orthogonal(gain))
    return train(build, make_first_bit(), optimizers[optimizer], 30, seeds=SEEDS, progress=False).accuracy[-1]


def _grown():
    """Largest singular value of the recurrent kernel after 8 epochs; 0.5 at the start."""
    bits, half = make_first_bit(), keras.initializers.Orthogonal(0.5)
    build = functools.partial(build_rnn, recurrent_initializer=half)
    shuffled = bits.x_train, np.random.default_rng(0).permutation(bits.y_train)
    cases = {
        "Adam": (bits, keras.optimizers.Adam(0.01)),
        "Adam, labels shuffled": (shuffled, keras.optimizers.Adam(0.01)),
        "SGD": (bits, keras.optimizers.SGD(0.1)),
    }
    grown = {}
    for name, (data, optimizer) in cases.items():
        models = _trained(train(build, data, optimizer, 8, seeds=SEEDS, progress=False))
        kernels = [model.get_layer("recurrent").cell.recurrent_kernel.numpy() for model in models]
        grown[name] = np.linalg.norm(kernels, 2, axis=(1, 2))
    return grown


def _by_seed():
    """The 90 % over the 10 % quantile of the gradient that is left at lag 24."""
    cases = {"random kernel": "glorot_uniform", "orthogonal kernel": "orthogonal"}
    return {name: [np.divide(*np.quantile(_kept(kernel=kernel), [0.9, 0.1]))] for name, kernel in cases.items()}


def _lstm(forget_bias):
    """Training accuracy of an LSTM on the first-bit task after 10 epochs of SGD."""
    build = functools.partial(_gated, forget_bias=forget_bias)
    return train(build, make_first_bit(), keras.optimizers.SGD(0.1), 10, seeds=SEEDS, progress=False).accuracy[-1]


def _clipping():
    deep = _deep(keras.initializers.RandomNormal(stddev=2.0), global_clipnorm=1.0)
    return {"recurrent tanh net": _remembered(3.0, "SGD, clipped"), "deep ReLU net": deep.accuracy[-1]}


def _cosines():
    """Cosine between the gradient and what Keras makes of it by clipping; a recurrent net with singular values 3."""
    bits, cases = make_first_bit(), {"clipvalue": [], "clipnorm": [], "global_clipnorm": []}
    for seed in SEEDS:
        model = build_rnn(recurrent_initializer=keras.initializers.Orthogonal(3.0), seed=seed)
        gradients = _gradients(model, model.trainable_variables, bits)
        raw = np.concatenate([np.ravel(gradient) for gradient in gradients])
        for name, cosines in cases.items():
            steps = [keras.Variable(np.zeros(gradient.shape)) for gradient in gradients]
            keras.optimizers.SGD(1.0, **{name: 0.1}).apply(gradients, steps)
            clipped = -np.concatenate([np.ravel(step) for step in steps])
            cosines.append(raw @ clipped / np.linalg.norm(raw) / np.linalg.norm(clipped))
    return cases


@functools.cache
def _benchmark():
    """Rows of the half of the zoo that was held out while the thresholds were chosen."""
    return [row for row in tables.read("diagnosis_benchmark.csv") if row["half"] == "held out"]


_RULES = ("AutoTrainer", "SageMaker", "DeepDiagnosis", "TheDeepChecker", "update rule")


def _found(*columns):
    """Share of the sick runs for which a rule gives the right verdict."""
    sick = [row for row in _benchmark() if row["label"] in ("vanishing", "exploding", "dead")]
    return {name: [np.mean([row[name] in row["right"].split() for row in sick])] for name in columns}


def _flagged(*columns):
    """Share of the healthy runs for which a rule gives another verdict than healthy."""
    healthy = [row for row in _benchmark() if row["label"] == "healthy"]
    return {name: [np.mean([row[name] != "healthy" for row in healthy])] for name in columns}


def _share(column, value):
    told = [row[column] for row in _benchmark() if row[column]]
    return {"": [np.mean([entry == value for entry in told])]}


CLAIMS = (
    Claim("01-plateau", "Ten sigmoid layers stay at ln 2 = 0.693.", "course", "last loss, 100 epochs", 0.68, 0.71,
          lambda: {f"Adam({rate})": _bet(10, rate).loss[-1] for rate in (0.001, 0.1)}),
    Claim("01-shallow", "Two sigmoid layers solve the moons.", "course", "training accuracy, Adam(0.1), 100 epochs",
          0.95, 1, lambda: {"": _bet(2, 0.1).accuracy[-1]}),
    Claim("01-leave", "With Adam(0.01) most nets of ten sigmoid layers leave the plateau.", "course",
          "share of the seeds with a loss below 0.65, 100 epochs", 0.5, 1,
          lambda: {"": [np.mean(_bet(10, 0.01).loss[-1] < 0.65)]}),
    Claim("01-unsolved", "With Adam(0.01) ten sigmoid layers do not solve the moons.", "course",
          "training accuracy, 100 epochs", 0, 0.95, lambda: {"": _bet(10, 0.01).accuracy[-1]}),
    Claim("01-line", "The best straight line has a loss of 0.27 on the moons.", "course", "logistic regression", 0.265,
          0.275, lambda: {"": [_straight_line()[0]]}),
    Claim("01-line-right", "The best straight line puts 87.5 % of the moons on their side.", "course",
          "accuracy, logistic regression", 0.87, 0.88, lambda: {"": [_straight_line()[1]]}),
    Claim("01-shortcut", "dL/dw1 = dL/dw2 w2 σ'(z1) a0.", "texts on the web",
          "relative error against differences", 0, 1e-4, lambda: _shortcut(repaired=False)),
    Claim("01-repaired", "dL/dw1 = dL/dw2 w2 σ'(z1) a0 / a1.", "course", "relative error against differences", 0, 1e-4,
          lambda: _shortcut(repaired=True)),
    Claim("01-saturation", "The sigmoid's slope at z = 10 is 0.", "texts on the web", "autodiff", 0, 1e-9,
          lambda: _slope_at("sigmoid", 10)),
    Claim("01-ladder", "Ten sigmoid layers lose about six powers of ten of the gradient.", "course",
          "gradient ratio before training", 1e-7, 5e-6, lambda: {"": _ratios()}),
    Claim("01-scatter", "One seed proves little: the gradient ratio scatters by a factor of 2 to 12 from seed to seed.",
          "course", "the 90 % over the 10 % quantile of the gradient ratio", 2, 12,
          lambda: {"": [np.divide(*np.quantile(_ratios(), [0.9, 0.1]))]}),
    Claim("01-factor", "The sigmoid's slope in ten layers with Glorot's weights is 0.236.", "course",
          "root mean square over layers, units and samples", 0.23, 0.245, _rms_slopes),
    Claim("01-computed", "0.236^9 is the delta ratio of ten sigmoid layers, within a factor of 5.", "course",
          "delta ratio over 0.236^9", 0.2, 5, lambda: {"": np.array(_delta_ratios()) / 0.236**9}),
    Claim("01-forward", "Going forward, the differences between the samples shrink by the same factor.", "course",
          "ninth root of the activations' spread over the samples, layer 10 over layer 1", 0.2, 0.27,
          _spread_per_layer),
    Claim("01-nothing", "A step of 0.001 in each weight of layer 1 alone changes the loss by about 1e-9 or less.",
          "course", "fall of the loss, ten sigmoid layers", 0, 3e-9, lambda: {"": -_first_layer_alone()[1]}),
    Claim("01-formula", "A step Δw changes the loss by -Σ g Δw.", "course",
          "measured over predicted, first layer alone", 0.99, 1.01, _measured_over_predicted),
    Claim("02-percent", "The percent change of the first layer tells the sick net from the healthy one.",
          "texts on the web", "median change in 100 epochs, healthy over sick", 100, np.inf, _healthy_over_sick),
    Claim("02-recipe", "(old - new) / η after 100 epochs is the size of the gradient, within a factor of 10.",
          "texts on the web", "norm of the recipe's result over that of the gradient at the start", 0.1, 10,
          _recipe_over_truth),
    Claim("02-one-step", "(old - new) / η is the gradient.", "course", "relative error against autodiff", 0, 0.01,
          _derived_error),
    Claim("02-adam-step", "Adam's first step is η g / (|g| + 3.16e-6).", "Keras's formula",
          "largest deviation in units of η, hidden layer 7", 0, 1e-3, _adam_step_error),
    Claim("02-float32", "With ten sigmoid layers most first-layer weights do not move at all in an SGD step.", "course",
          "share of weights unchanged", 0.5, 1, _unmoved),
    Claim("02-plateau", "On the plateau the gradient ratio still shows the ladder.", "course",
          "first over last hidden layer, 300 full-batch steps of SGD(1.0)", 0, 1e-4, _plateau),
    Claim("02-level", "On the plateau the samples' differences times delta are level, within a factor of 5.", "course",
          "spread of a layer's input times its delta, second over last hidden layer", 0.2, 5, _level),
    Claim("02-update-ratio", "The update ratio of the last hidden layer is larger in a healthy net than in a sick one.",
          "a rule of thumb", "first epoch, healthy over sick", 1, np.inf, _update_ratio),
    Claim("02-deep-relu", "In thirty Glorot ReLU layers the first layer's gradient is small beside the last layer's.",
          "course", "first over last hidden layer, before training", 0, 1e-2, _deep_relu),
    Claim("02-finished", "A net that has finished learning has no ladder.", "course",
          "gradient ratio after 100 epochs, 10 ReLU layers", 1e-2, np.inf,
          lambda: {"": [report.gradient_ratio for report in _inspected(_trained(_tutorial("relu", "Adam")))]}),
    Claim("03-three", "Three sigmoid layers leave the plateau, but do not reach a straight line in 100 epochs.",
          "course", "last loss, Adam, 100 epochs", 0.27, 0.65, lambda: {"": _train(hidden_layers=3).loss[-1]}),
    Claim("03-slope", "Every sigmoid layer multiplies the gradient by about 0.2.", "theory: 0.236 for wide layers",
          "eighth root of the gradient ratio at 12 over 4 layers", 0.15, 0.3,
          lambda: {"": _factor_per_layer()}),
    Claim("03-optimizer", "Eight sigmoid layers stay on the plateau.", "course", "last loss, 300 full-batch steps",
          0.68, 0.7, lambda: {name: runs.loss[-1] for name, runs in _eight_layers().items()}),
    Claim("03-moves", "The first of eight sigmoid layers moves far in 100 steps.", "course",
          "mean distance of its weights from where they began", 0.1, np.inf, _first_layer_moved),
    Claim("03-epsilon", "With Adam(0.01) twelve sigmoid layers leave the plateau.", "course",
          "last loss, 300 full-batch steps", 0, 0.65, _twelve_layers),
    Claim("03-width", "Wider layers help the gradient tenfold.", "a question from class",
          "gradient ratio, 100 units over 10 units", 10, np.inf,
          lambda: {"": np.array(_ratios(units=100)) / _ratios(units=10)}),
    Claim("03-price", "Sigmoid layers do not solve the spirals in 500 steps.", "course", "training accuracy", 0, 0.95,
          lambda: {"2 layers, Adam(0.01)": _spirals(hidden_layers=2),
                   "4 layers, Adam(0.01)": _spirals(hidden_layers=4),
                   "2 layers, Adam(0.1)": _spirals(learning_rate=0.1, hidden_layers=2)}),
    Claim("03-two-relu", "Two ReLU layers solve the spirals in 500 steps for most seeds.", "course",
          "share of the seeds above 95 % training accuracy", 0.5, 1, lambda: {"": _spirals_solved(hidden_layers=2)}),
    Claim("03-depth-wanted", "Four ReLU layers solve the spirals in 500 steps.", "course", "training accuracy", 0.95, 1,
          lambda: {"": _spirals(hidden_layers=4, activation="relu")}),
    Claim("03-one-relu", "One ReLU layer does not solve the spirals for most seeds.", "course",
          "share of the seeds above 95 % training accuracy", 0, 0.5,
          lambda: {f"{units} units": _spirals_solved(hidden_layers=1, units=units) for units in (10, 92)}),
    Claim("04-relu", "Ten ReLU layers solve the moons.", "course", "accuracy, Adam, 100 epochs", 0.95, 1,
          lambda: {"": _tutorial("relu", "Adam").accuracy[-1]}),
    Claim("04-zero", "ReLU has a non-zero gradient at zero.", "texts on the web", "autodiff", 1e-9, np.inf,
          lambda: _slope_at("relu", 0)),
    Claim("04-tanh", "Ten tanh layers vanish.", "texts on the web", "gradient ratio before training", 0, 1e-2,
          lambda: {"": _ratios(activation="tanh")}),
    Claim("04-tanh-learns", "Ten tanh layers solve the moons.", "course", "accuracy, Adam, 100 epochs", 0.95, 1,
          lambda: {"": _train(activation="tanh").accuracy[-1]}),
    Claim("04-never", "ReLU never vanishes: thirty layers keep a ten-thousandth of delta.", "texts on the web",
          "delta ratio before training", 1e-4, np.inf, _never_vanishes),
    Claim("04-dead", "More than a quarter of the ReLU units are dead after SGD.", "course",
          "share of dead units after 100 full-batch steps of SGD", 0.25, 1,
          lambda: {"learning rate 1": _dead(1.0), "learning rate 0.1": _dead(0.1)}),
    Claim("04-leaky", "A leaky ReLU net has no dead units.", "course", "share of dead units before training", 0, 0,
          lambda: {"": [report.dead[:-1].mean() for report in _reports(activation="leaky_relu")]}),
    Claim("04-default", "Thirty plain layers with He's weights solve the moons in nearly every seed.", "course",
          "share of 32 seeds with an accuracy above 0.95, Adam, 100 epochs", 0.95, 1, _thirty_with_he),
    Claim("05-predicted", "The ladder can be predicted before training, within 15 %.", "theory, wide layers",
          "delta ratio, 6 layers of 100 units, RMS over seeds: predicted over measured", 0.85, 1.15,
          _predicted_over_measured),
    Claim("05-band", "Theory knows how far a net of ten units strays: most nets lie in its 80 % band.", "theory",
          "share of the seeds inside, delta ratio of 10 layers", 0.6, 0.95, _share_in_band),
    Claim("05-above-one", "In ten sigmoid layers weights above 1 make the gradient explode.", "texts on the web",
          "delta ratio, 10 sigmoid layers, weights of standard deviation 1.26", 1, np.inf,
          lambda: {"": _delta_ratios(kernel_initializer=scaled(4))}),
    Claim("05-quarter", "A sigmoid layer passes on at most a quarter, for its slope is at most 0.25.",
          "texts on the web", "eighth root of the gradient ratio at 12 over 4 layers", 0, 0.25, lambda: {
              "Glorot": _factor_per_layer(),
              "He": _factor_per_layer(kernel_initializer="he_normal"),
              "sigma_w = 4": _factor_per_layer(kernel_initializer=scaled(4))}),
    Claim("05-small", "Small weights help: initialize them small.", "texts on the web",
          "delta ratio, 10 tanh layers, standard deviation 0.05", 0.1, np.inf,
          lambda: {"": _delta_ratios(activation="tanh", kernel_initializer=scaled(0.05 * 10**0.5))}),
    Claim("05-scale", "At its critical scale the sigmoid keeps more than a hundredth of delta.", "theory",
          "delta ratio, 10 layers, sigma_w = 10.15", 0.01, 20,
          lambda: {"": _delta_ratios(kernel_initializer=scaled(10.149))}),
    Claim("05-beyond", "Far beyond its critical scale the sigmoid's gradient explodes.", "theory",
          "delta ratio, 10 layers, sigma_w = 40", 10, np.inf,
          lambda: {f"{units} units": _delta_ratios(units=units, kernel_initializer=scaled(40)) for units in (10, 100)}),
    Claim("05-shared", "Layers that share one initializer object get the same weights in Keras 3.", "Keras",
          "share of equal weights", 1, 1, _shared_initializer),
    Claim("05-critical", "Below the critical scale, at sigma_w = 4, ten sigmoid layers leave the plateau, too.",
          "course", "last loss, Adam, 100 epochs", 0, 0.65,
          lambda: {"": _train(kernel_initializer=scaled(4)).loss[-1]}),
    Claim("05-bn", "With batch normalization most seeds of ten sigmoid layers are solved.", "Ioffe & Szegedy 2015",
          "share of the seeds above 95 % training accuracy", 0.5, 1, lambda: {"": _solved(batch_normalization=True)}),
    Claim("05-moving", "A batch-normalized net that is solved in training mode is solved in test mode.", "course",
          "share of the seeds above 95 % in test mode, training points, 10 sigmoid layers, 100 epochs", 0.7, 1,
          lambda: {f"momentum {momentum}": _in_test_mode(momentum) for momentum in (0.99, 0.9)}),
    Claim("05-bn-one", "Batch normalization keeps gradients at 1, within a factor of 2.", "texts on the web",
          "delta ratio before training, 10 layers", 0.5, 2,
          lambda: {name: _delta_ratios(activation=name, batch_normalization=True) for name in ("sigmoid", "relu")}),
    Claim("05-skip-one", "A skip connection keeps gradients at 1, within a factor of 2.", "texts on the web",
          "delta ratio before training, 10 ReLU blocks, He", 0.5, 2,
          lambda: {"": _delta_ratios(activation="relu", kernel_initializer="he_normal", residual=True)}),
    Claim("05-skip", "With skip connections ten sigmoid layers leave the plateau.", "He et al. 2015",
          "last loss, Adam, 100 epochs", 0, 0.65, lambda: {"": _train(residual=True).loss[-1]}),
    Claim("05-he", "Most seeds of thirty layers are solved.", "course",
          "share of the seeds above 95 % training accuracy", 0.5, 1, lambda: {
              "sigmoid, He": _solved(hidden_layers=30, kernel_initializer="he_normal"),
              "ReLU, Glorot": _solved(hidden_layers=30, activation="relu"),
              "ReLU, He": _solved(hidden_layers=30, activation="relu", kernel_initializer="he_normal")}),
    Claim("05-never", "The unstable gradient problem can never be solved.", "texts on the web",
          "share of the seeds that fail, 30 layers, ReLU, residual, batch normalization", 0.5, 1,
          lambda: {"": [1 - _solved(hidden_layers=30, activation="relu", residual=True, batch_normalization=True)[0]]}),
    Claim("05-loss", "The loss does not change the ladder, within a factor of 3.", "a question from class",
          "gradient ratio, squared error over cross-entropy", 1 / 3, 3, _loss_and_ladder),
    Claim("05-dropout", "Dropout mitigates vanishing gradients: tenfold or more.", "texts on the web",
          "gradient ratio with dropout 0.2 over without", 10, np.inf, _with_dropout),
    Claim("06-above", "Weights larger than 1 make the gradient explode.", "texts on the web",
          "delta ratio of ten layers before training, weights N(0, 1.5²)", 10, np.inf, lambda: _by_weights(1.5)),
    Claim("06-below", "Weights smaller than 1 make the gradient vanish.", "texts on the web",
          "delta ratio of ten layers before training, weights N(0, 0.5²)", 0, 0.1, lambda: _by_weights(0.5)),
    Claim("06-nan", "Most nets of ten ReLU layers with weights N(0, 2²) give nan in the first epoch of SGD.", "course",
          "share of the seeds with nan in the first epoch", 0.75, 1, _nan_at_once),
    Claim("06-bound", "With tanh, the gradient at lag k is at most s^k times that at lag 0, s the top singular value.",
          "Pascanu et al. 2013", "largest gradient over this bound, before training", 0, 1.0001, _over_the_bound),
    Claim("06-singular", "A largest singular value above 1 makes a recurrent net's gradient explode.",
          "a common misreading", "gradient at lag 24 over lag 0, before training", 10, np.inf,
          lambda: {f"s = {gain:g}": _kept(gain=gain) for gain in (1.1, 3.0)}),
    Claim("06-forgets", "A recurrent net with singular values of 0.5 does not learn to remember a bit for 24 steps.",
          "course", "training accuracy, 30 epochs", 0, 0.8,
          lambda: {name: _remembered(0.5, name) for name in ("SGD", "SGD, clipped", "Adam")}),
    Claim("06-remembers", "With an orthogonal recurrent kernel most nets learn to remember a bit (SGD).", "course",
          "share of the seeds above an accuracy of 0.95, 30 epochs of SGD", 0.75, 1,
          lambda: {"": [np.mean(_remembered(1.0, "SGD") > 0.95)]}),
    Claim("06-explodes", "With singular values of 3 most nets do not learn to remember a bit (SGD).", "course",
          "share of the seeds above an accuracy of 0.95, 30 epochs of SGD", 0, 0.5,
          lambda: {"": [np.mean(_remembered(3.0, "SGD") > 0.95)]}),
    Claim("06-random", "It depends on the seed, tenfold or more, how much of the gradient survives 24 steps.", "course",
          "the 90 % over the 10 % quantile of the gradient at lag 24 over lag 0", 10, np.inf, _by_seed),
    Claim("06-grows", "A recurrent kernel with singular values of 0.5 grows past 0.7 in 8 epochs.", "course",
          "largest singular value", 0.7, np.inf, _grown),
    Claim("06-clipping", "Clipping the global norm to 1 cures an exploding gradient.", "texts on the web",
          "training accuracy under SGD(0.1)", 0.95, 1, _clipping),
    Claim("06-scale", "He's weights cure the deep ReLU net without clipping.", "course",
          "training accuracy under SGD(0.1)", 0.95, 1, lambda: {"": _deep("he_normal").accuracy[-1]}),
    Claim("06-direction", "Clipping keeps the direction of the gradient.", "texts on the web",
          "cosine of gradient and clipped gradient", 0.9999, 1.0001, _cosines),
    Claim("06-orthogonal", "Through an orthogonal kernel and tanh a tenth of the gradient or more survives 24 steps.",
          "course", "gradient at lag 24 over lag 0, before training", 0.1, 1, lambda: {"": _kept()}),
    Claim("06-lstm", "Through a gated cell a tenth of the gradient or more survives 24 steps.", "texts on the web",
          "gradient at lag 24 over lag 0, before training", 0.1, np.inf,
          lambda: {"LSTM, forget bias 1": _kept(forget_bias=1.0),
                   "LSTM, forget bias 3": _kept(forget_bias=3.0), "GRU": _kept(cell="gru")}),
    Claim("06-gate", "An LSTM remembers a bit for 24 steps after 10 epochs of SGD.", "texts on the web",
          "training accuracy", 0.95, 1, lambda: {f"forget bias {bias:g}": _lstm(bias) for bias in (1.0, 3.0)}),
    Claim("07-found", "diagnose finds the sick networks, with the right verdict.", "course",
          "share of the sick runs", 0.97, 1, lambda: {"": _found("verdict")["verdict"]}),
    Claim("07-flagged", "diagnose calls few healthy networks sick.", "course", "share of the healthy runs", 0, 0.03,
          lambda: {"": _flagged("verdict")["verdict"]}),
    Claim("07-converged", "diagnose calls no network sick that has converged.", "course",
          "share of the converged runs that it calls healthy", 1, 1, lambda: _share("converged", "healthy")),
    Claim("07-cured", "At least three of four lines that diagnose proposes cure.", "course",
          "share of the treated runs that then fit", 0.75, 1, lambda: _share("cured", "yes")),
    Claim("07-rules-found", "The rules of older tools find fewer of the sick: at most 85 %.", "course",
          "share of the sick runs", 0, 0.85, lambda: _found(*_RULES)),
    Claim("07-rules-flagged", "The rules of older tools call more than 1 % of the healthy networks sick.", "course",
          "share of the healthy runs", 0.01, 1, lambda: _flagged(*_RULES)),
    Claim("07-healthy", "Healthy is not solved: of eight sigmoid layers under Adam(0.01) fewer than half are solved.",
          "course", "share of the seeds above 95 % training accuracy, 300 full-batch steps", 0, 0.5, lambda: {
              "": _solved(optimizer=keras.optimizers.Adam(0.01), epochs=300, batch_size=200, hidden_layers=8)}),
)  # fmt: skip

# The values of these claims come from trained nets.
_TRAINED = {
    "01-plateau", "01-shallow", "01-leave", "01-unsolved",
    "02-percent", "02-recipe", "02-one-step", "02-adam-step", "02-float32", "02-plateau",
    "02-level", "02-update-ratio",
    "02-finished", "03-three", "03-optimizer", "03-moves", "03-epsilon", "03-price", "03-two-relu", "03-depth-wanted",
    "03-one-relu", "04-relu", "04-tanh-learns", "04-default",
    "04-dead", "05-bn", "05-critical", "05-moving", "05-skip", "05-he", "05-never",
    "06-nan", "06-forgets", "06-remembers", "06-explodes",
    "06-clipping", "06-scale", "06-grows", "06-gate", "07-healthy",
}  # fmt: skip
