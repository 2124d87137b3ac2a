"""The zoo of the diagnosis benchmark: real Keras runs, and labels that an independent float64 backpropagation gives."""

import functools
import math

import keras
import numpy as np
from scipy.special import erf

import vgp_lib as vgp

BUDGETS = {200: (20, 300), 32: (5, 60)}  # batch size: (epochs to the plateau, epochs of the budget); 300 and 420 steps
SEEDS = 3  # a run each; one is diagnosed before training, one early, one at the end of the budget

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "softsign")
DEPTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 30, 40)
UNITS = (3, 5, 10, 20, 30, 100)
INITIALIZERS = {
    "glorot_uniform": lambda: "glorot_uniform",
    "glorot_normal": lambda: "glorot_normal",
    "he_normal": lambda: "he_normal",
    "he_uniform": lambda: "he_uniform",
    "lecun_normal": lambda: "lecun_normal",
    "lecun_uniform": lambda: "lecun_uniform",
    "orthogonal": lambda: "orthogonal",
    "normal .01": lambda: keras.initializers.RandomNormal(stddev=0.01),
    "normal .05": lambda: keras.initializers.RandomNormal(stddev=0.05),
    "normal .5": lambda: keras.initializers.RandomNormal(stddev=0.5),
    "normal 1": lambda: keras.initializers.RandomNormal(stddev=1.0),
    "normal 2": lambda: keras.initializers.RandomNormal(stddev=2.0),
    "uniform .3": lambda: keras.initializers.RandomUniform(-0.3, 0.3),
    "truncated 1": lambda: keras.initializers.TruncatedNormal(stddev=1.0),
    "variance 6": lambda: keras.initializers.VarianceScaling(6.0),
    "zeros": lambda: "zeros",
}
OPTIMIZERS = {  # name: (how to make one, learning rates from timid to bold)
    "SGD": (keras.optimizers.SGD, (0.03, 0.1, 0.3, 1.0)),
    "momentum": (functools.partial(keras.optimizers.SGD, momentum=0.9), (0.01, 0.1, 0.3, 1.0)),
    "RMSprop": (keras.optimizers.RMSprop, (0.001, 0.003, 0.01, 0.1)),
    "Adam": (keras.optimizers.Adam, (0.001, 0.003, 0.01, 0.1)),
    "Nadam": (keras.optimizers.Nadam, (0.001, 0.003, 0.01)),
    "AdamW": (keras.optimizers.AdamW, (0.001, 0.003, 0.01)),
    "Adagrad": (keras.optimizers.Adagrad, (0.03, 0.1, 0.3)),
    "Lion": (keras.optimizers.Lion, (0.0003, 0.001, 0.003)),
}


@functools.cache
def data(name):
    """200 points in the plane and their class; zero mean and unit variance, but for the unscaled ones."""
    random = np.random.default_rng(7)
    if name in ("moons", "unscaled"):
        x, y = vgp.load_moons()[:2]
    elif name == "circles":
        y = np.repeat([0.0, 1.0], 100)
        angle, radius = random.uniform(0, 2 * np.pi, 200), np.where(y == 1, 0.4, 1.0)
        x = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]) + random.normal(0, 0.05, (200, 2))
    elif name == "spirals":
        x, y = vgp.make_spirals(samples=250, turns=0.75)[:2]
    else:  # two Gaussian clouds; "overlap": even the best answer errs in one case of ten
        y = np.repeat([0.0, 1.0], 100)
        distance = {"blobs": 2.5, "overlap": 1.28}[name]
        x = random.normal(0, 1, (200, 2)) + np.where(y == 1, distance, -distance)[:, None] * np.array([0.6, 0.8])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    if name == "unscaled":
        x = x * [30.0, 3.0] + [100.0, -5.0]
    return x.astype("float32"), y.astype("float32")


DATA = ("moons", "circles", "blobs", "overlap", "spirals", "unscaled")


def build(config):
    model = vgp.build_mlp(
        config["depth"],
        config["units"],
        config["activation"],
        INITIALIZERS[config["initializer"]](),
        batch_normalization=config["shape"] == "batch normalization",
        residual=config["shape"] == "residual",
    )
    if config["bias"]:
        for layer in model.layers:
            if layer.name.startswith("hidden") and getattr(layer, "bias", None) is not None:
                layer.bias_initializer = keras.initializers.Constant(config["bias"])
                layer.bias.assign(np.full(layer.bias.shape, config["bias"], "float32"))
    return model


def optimizer(config):
    make, _ = OPTIMIZERS[config["optimizer"]]
    return make(config["learning_rate"])


def configurations(programs=64, each=4, seed=0):
    """Draw architectures with an optimizer (one compiled program each), and for each some starts, rates and data."""
    random = np.random.default_rng(seed)
    pick = lambda values, p=None: values[random.choice(len(values), p=p)]  # noqa: E731
    found = []
    for program in range(programs):
        shape = pick(("plain", "batch normalization", "residual"), [0.76, 0.12, 0.12])
        # Every activation comes in turn; deep sigmoid nets are what the course is about, so they come twice.
        activation = (*ACTIVATIONS, "sigmoid", "relu")[program % 12]
        depth = int(pick(DEPTHS, [2 / 23] * 8 + [1.5 / 23] * 3 + [1.5 / 23, 1 / 23]))
        units = int(pick(UNITS[:5] if depth > 16 else UNITS, [0.1, 0.15, 0.45, 0.2, 0.1][:5] if depth > 16 else [0.1, 0.1, 0.45, 0.15, 0.1, 0.1]))
        name = pick(tuple(OPTIMIZERS), [0.2, 0.15, 0.12, 0.28, 0.06, 0.06, 0.07, 0.06])
        batch_size = int(pick((200, 32), [0.75, 0.25]))
        for _ in range(each):
            common = ("glorot_uniform", "he_normal")
            initializer = pick(common) if random.random() < 0.45 else pick(tuple(INITIALIZERS))
            found.append(
                {
                    "program": program, "depth": depth, "units": units, "activation": activation, "shape": shape,
                    "optimizer": name, "batch_size": batch_size, "initializer": initializer,
                    "learning_rate": float(pick(OPTIMIZERS[name][1])), "data": pick(DATA, [0.3, 0.2, 0.1, 0.12, 0.14, 0.14]),
                    "bias": float(pick((0.0, -1.0, -8.0), [0.9, 0.05, 0.05])),
                }
            )  # fmt: skip
    return found


# ------------------------------------------------------------------- an independent measurement, in float64 and NumPy


def _sigmoid(z):
    return np.where(z >= 0, 1 / (1 + np.exp(-np.abs(z))), np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))))


_ALPHA, _SCALE = 1.6732632423543772, 1.0507009873554805
_GAUSS = lambda z: np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)  # noqa: E731
PHI = {  # activation: (φ, φ')
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.2 * z), lambda z: np.where(z > 0, 1.0, 0.2)),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), lambda z: np.exp(np.minimum(z, 0))),
    "selu": (
        lambda z: _SCALE * np.where(z > 0, z, _ALPHA * np.expm1(np.minimum(z, 0))),
        lambda z: _SCALE * np.where(z > 0, 1.0, _ALPHA * np.exp(np.minimum(z, 0))),
    ),
    "gelu": (
        lambda z: z * (1 + erf(z / math.sqrt(2))) / 2,
        lambda z: (1 + erf(z / math.sqrt(2))) / 2 + z * _GAUSS(z),
    ),
    "silu": (lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) + z * _sigmoid(z) * _sigmoid(-z)),
    "softplus": (lambda z: np.logaddexp(0, z), _sigmoid),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2),
}


def measure(config, weights, x, y):
    """Backpropagate in float64, sample by sample.

    Returns a dict; with N samples and L hidden layers, input side first, output last:
        loss; kernel (L + 1,) and delta (L + 1,): RMS over samples of the norm of dL/dW and dL/dz;
        mean (L + 1,): mean |g| of the batch gradient, zeros (L + 1,): share of its entries that are exactly 0;
        dead (L,): share of units that give 0 for all samples; blind: share of samples with first delta exactly 0;
        low (L,): share of activations <= 0; active: smallest p95 of |activation| of a layer; finite.
    """
    phi, slope = PHI[config["activation"]]
    h, saved = np.asarray(x, "float64"), []
    layers = [np.asarray(w, "float64") for w in weights]
    normalize, residual = config["shape"] == "batch normalization", config["shape"] == "residual"
    position, hidden = 0, config["depth"]
    for index in range(hidden):
        kernel, second = layers[position : position + 2]
        z = h @ kernel
        if normalize:
            gamma, beta = second, layers[position + 2]
            position += 3
            deviation = np.sqrt(z.var(axis=0) + 1e-3)
            hat = (z - z.mean(axis=0)) / deviation
            u = gamma * hat + beta
        else:
            position += 2
            u, gamma, deviation, hat = z + second, None, None, None
        a = phi(u)
        saved.append((h, kernel, u, a, gamma, deviation, hat))
        h = h + a if residual and index > 0 else a
    kernel, bias = layers[position : position + 2]
    logit = (h @ kernel + bias)[:, 0]
    loss = np.mean(np.logaddexp(0, logit) - y * logit)
    n = len(x)
    delta = (_sigmoid(logit) - y)[:, None]  # of one sample's own loss

    def numbers(inputs, delta):
        batch = inputs.T @ delta / n
        rms = np.sqrt(np.mean(np.square(inputs).sum(axis=1) * np.square(delta).sum(axis=1)))
        return rms, np.sqrt(np.mean(np.square(delta).sum(axis=1))), np.abs(batch).mean(), (batch == 0).mean()

    rows = [numbers(h, delta)]
    upstream = delta @ kernel.T
    for index in reversed(range(hidden)):
        inputs, kernel, u, a, gamma, deviation, hat = saved[index]
        d = upstream * slope(u)
        if normalize:
            d = gamma / deviation * (d - d.mean(axis=0) - hat * (d * hat).mean(axis=0))
        rows.append(numbers(inputs, d))
        back = d @ kernel.T
        upstream = upstream + back if residual and index > 0 else back
    blind = np.mean((d == 0).all(axis=1))
    columns = np.array(rows[::-1]).T
    acts = [a for _, _, _, a, *_ in saved]
    return {
        "loss": loss, "kernel": columns[0], "delta": columns[1], "mean": columns[2], "zeros": columns[3],
        "dead": np.array([(a == 0).all(axis=0).mean() for a in acts]), "blind": blind,
        "low": np.array([(a <= 0).mean() for a in acts]),
        "active": np.array([(a > 0).mean(axis=0).min() for a in acts]),
        "p95": np.array([np.quantile(np.abs(a), 0.95) for a in acts]),
        "spread": np.array([a.std(axis=0).max() for a in acts]),
        "finite": bool(np.isfinite(loss) and np.isfinite(columns[:2]).all()),
    }  # fmt: skip


def run_configuration(config):
    """Train a configuration's seeds; return losses (epochs, seeds), accuracies, weights[checkpoint][seed]."""
    early, budget = BUDGETS[config["batch_size"]]
    x, y = data(config["data"])
    make = functools.partial(build, config)
    weights, runs = {}, None
    for epochs in (0, early, budget, 2 * budget):
        runs = vgp.train(make, (x, y), optimizer(config), epochs, config["batch_size"], SEEDS, progress=False)
        trainable = [values for values in runs._weights]
        weights[epochs] = [[values[seed] for values in trainable] for seed in range(SEEDS)]
    return runs, weights
