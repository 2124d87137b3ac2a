"""The zoo of the diagnosis benchmark: real Keras runs, labelled by their outcome and by a measured mechanism.

Outcome. Every run is trained for twice its budget. Its score is the share of the constant answer's loss, ln 2, that it
has removed: f = 1 - loss / ln 2, over the last twentieth of the budget. Its shallow twin is a net of two hidden tanh
layers on the same data (unscaled inputs: on the scaled ones), same optimizer, budget and batch size, at the best of the
optimizer's learning rates.
    fits    f is at least 30 % of the twin's: the run is healthy.
    fails   f is below 10 % of the twin's after the budget and after twice the budget: the run is sick or "other".
    half    in between.             slow    below 10 % after the budget, above it after twice the budget.
Mechanism of a failing run, from float64 gradients of every sample in NumPy (`measure`), at initialization and at three
checkpoints on the way (early, budget, twice the budget); "reach" of a hidden layer is its delta over the output's:
    exploding   loss, weights or gradients become nan or infinite; or a layer's reach is above 100, at initialization or
                in the median of the checkpoints.
    dead        a hidden layer gives 0 for all samples in all units, after the budget and after twice the budget.
    vanishing   the weakest layer's reach is below 0.01 in the median of the checkpoints.
    other       none of these: the gradient is not why it fails.
A run may show two of them: an explosion or a vanishing at initialization that ends in dead layers, or activations so
small that float32 takes them for 0 (and smooth ones that float64 does). Then either verdict is right. half, slow and
other are neither sick nor healthy; they are counted and reported, not scored.
"""

import functools
import math
import typing

import keras
import numpy as np
import tensorflow as tf
from scipy.special import erf

import vgp_lib as vgp

BUDGETS = {200: (20, 300), 25: (5, 60)}  # batch size: (early, budget) in epochs; a budget has 300 or 480 steps
SEEDS = 3  # a run each: the first is diagnosed before training, the second early, the third at the end of the budget
FAILS, FITS = 0.1, 0.3

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


def build(config, seed):
    model = vgp.build_mlp(
        config["depth"],
        config["units"],
        config["activation"],
        INITIALIZERS.get(config["initializer"], lambda: config["initializer"])(),
        batch_normalization=config["shape"] == "batch normalization",
        residual=config["shape"] == "residual",
        seed=seed,
    )
    if config["bias"]:
        for layer in model.layers:
            if layer.name.startswith("hidden") and getattr(layer, "bias", None) is not None:
                layer.bias.assign(np.full(layer.bias.shape, config["bias"], "float32"))
    return model


def make_optimizer(config):
    if isinstance(config["optimizer"], keras.optimizers.Optimizer):  # a remedy
        return config["optimizer"]
    return OPTIMIZERS[config["optimizer"]][0](config["learning_rate"])


def configurations():
    """The development half, on which the thresholds were chosen, and the held-out half: drawn alike, separately."""
    return draw(0, "development", seed=0) + draw(32, "held out", seed=1)


def draw(first, half, seed, programs=32, each=4):
    """Draw architectures with an optimizer (one compiled program each), and for each some starts, rates and data."""
    random = np.random.default_rng(seed)
    pick = lambda values, p=None: values[random.choice(len(values), p=p)]  # noqa: E731
    found = []
    for program in range(programs):
        shape = pick(("plain", "batch normalization", "residual"), [0.76, 0.12, 0.12])
        # Every activation comes in turn; deep sigmoid nets are what the course is about, so they come twice.
        activation = (*ACTIVATIONS, "sigmoid", "relu")[program % 12]
        depth = int(pick(DEPTHS, [2 / 23] * 8 + [1.5 / 23] * 3 + [1.5 / 23, 1 / 23]))
        units = int(
            pick(
                UNITS[:5] if depth > 16 else UNITS,
                [0.1, 0.15, 0.45, 0.2, 0.1][:5] if depth > 16 else [0.1, 0.1, 0.45, 0.15, 0.1, 0.1],
            )
        )
        name = pick(tuple(OPTIMIZERS), [0.2, 0.15, 0.12, 0.28, 0.06, 0.06, 0.07, 0.06])
        batch_size = int(pick((200, 25), [0.75, 0.25]))
        for _ in range(each):
            common = ("glorot_uniform", "he_normal")
            initializer = pick(common) if random.random() < 0.45 else pick(tuple(INITIALIZERS))
            found.append(
                {
                    "half": half, "program": first + program, "depth": depth, "units": units,
                    "activation": activation, "shape": shape,
                    "optimizer": name, "batch_size": batch_size, "initializer": initializer,
                    "learning_rate": float(pick(OPTIMIZERS[name][1])),
                    "data": pick(DATA, [0.3, 0.2, 0.1, 0.12, 0.14, 0.14]),
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
        batch (L + 1,): norm of the batch gradient, mean (L + 1,): mean |g| of it, zeros (L + 1,): share of its entries
        that are exactly 0;
        dead (L,): share of units that give 0 for all samples; blind: share of samples with first delta exactly 0;
        low (L,): share of activations <= 0; inactive (L,): share of units above 0 for under 1 % of the samples;
        largest, p95 (L,): maximum and 95th percentile of |activation|; finite.
    """
    h, kernel, logit, saved = _forward(config, weights, np.asarray(x, "float64"))
    loss = np.mean(np.logaddexp(0, logit) - y * logit)
    columns, blind = _backward(config, h, kernel, (_sigmoid(logit) - y)[:, None], saved)
    acts = [step.activation for step in saved]
    return {
        "loss": loss, "kernel": columns[0], "delta": columns[1], "mean": columns[2], "zeros": columns[3],
        "batch": columns[4],
        "dead": np.array([(a == 0).all(axis=0).mean() for a in acts]), "blind": blind,
        "low": np.array([(a <= 0).mean() for a in acts]),
        "inactive": np.array([((a > 0).mean(axis=0) < 0.01).mean() for a in acts]),
        "largest": np.array([np.abs(a).max() for a in acts]),
        "p95": np.array([np.quantile(np.abs(a), 0.95) for a in acts]),
        "finite": bool(np.isfinite(loss) and np.isfinite(columns[:2]).all()),
    }  # fmt: skip


class _Step(typing.NamedTuple):
    """What the way back needs of a hidden layer; scale, γ over the deviation, and hat only under normalization."""

    inputs: np.ndarray
    kernel: np.ndarray
    before: np.ndarray  # the activation
    activation: np.ndarray
    scale: object = None
    hat: object = None


def _forward(config, weights, h):
    """Return the last layer's inputs and kernel, the logits, and a `_Step` for every hidden layer."""
    phi, layers, saved = PHI[config["activation"]][0], iter([np.asarray(w, "float64") for w in weights]), []
    for index in range(config["depth"]):
        kernel, second = next(layers), next(layers)  # bias, or batch normalization's γ
        z, scale, hat = h @ kernel, None, None
        if config["shape"] == "batch normalization":
            deviation = np.sqrt(z.var(axis=0) + 1e-3)
            scale, hat = second / deviation, (z - z.mean(axis=0)) / deviation
            u = second * hat + next(layers)
        else:
            u = z + second
        a = phi(u)
        saved.append(_Step(h, kernel, u, a, scale, hat))
        h = h + a if config["shape"] == "residual" and index > 0 else a
    kernel, bias = next(layers), next(layers)
    return h, kernel, (h @ kernel + bias)[:, 0], saved


def _backward(config, h, kernel, delta, saved):
    """Return kernel, delta, mean, zeros and batch of `measure` as rows, one entry per layer, and its blind."""
    slope, rows, upstream = PHI[config["activation"]][1], [_gradient(h, delta)], delta @ kernel.T
    for index, step in reversed(list(enumerate(saved))):
        delta = upstream * slope(step.before)
        if step.hat is not None:
            delta = step.scale * (delta - delta.mean(axis=0) - step.hat * (delta * step.hat).mean(axis=0))
        rows.append(_gradient(step.inputs, delta))
        back = delta @ step.kernel.T
        upstream = upstream + back if config["shape"] == "residual" and index > 0 else back
    return np.array(rows[::-1]).T, np.mean((delta == 0).all(axis=1))


def _gradient(inputs, delta):
    """Numbers of one layer; delta is that of each sample's own loss."""
    batch = inputs.T @ delta / len(inputs)
    rms = np.sqrt(np.mean(np.square(inputs).sum(axis=1) * np.square(delta).sum(axis=1)))
    size = np.sqrt(np.mean(np.square(delta).sum(axis=1)))
    return rms, size, np.abs(batch).mean(), (batch == 0).mean(), np.linalg.norm(batch)


class Trainer:
    """One architecture and optimizer, traced once, for any start, learning rate, data and order of the samples."""

    def __init__(self, config):
        self.config, self.model, self.optimizer = config, build(config, 0), make_optimizer(config)
        self.optimizer.build(self.model.trainable_variables)
        self.variables = [*self.model.trainable_variables, *self.model.non_trainable_variables]
        self.fresh = [variable.numpy() for variable in self.optimizer.variables]

    @functools.cached_property
    def _epochs(self):
        def step(index, losses, x, y, orders):
            batch, targets = tf.gather(x, orders[index]), tf.gather(y, orders[index])
            weights = self.model.trainable_variables
            with tf.GradientTape() as tape:
                answer = self.model(batch, training=True)
                loss = tf.reduce_mean(keras.losses.binary_crossentropy(targets, answer))
            self.optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
            return index + 1, losses.write(index, loss), x, y, orders

        @tf.function(autograph=False)
        def epochs(x, y, orders):
            steps = tf.shape(orders)[0]
            start = 0, tf.TensorArray("float32", steps), x, y, orders
            return tf.while_loop(lambda index, *_: index < steps, step, start)[1].stack()

        signature = tf.TensorSpec((200, 2)), tf.TensorSpec((200, 1)), tf.TensorSpec((None, None), tf.int32)
        return epochs.get_concrete_function(*signature)

    def start(self, config, seed):
        """Draw new weights, forget what the optimizer remembers."""
        fresh = build(config, seed)
        values = [*fresh.trainable_variables, *fresh.non_trainable_variables]
        self.restore(([value.numpy() for value in values], self.fresh))
        if not isinstance(config["optimizer"], keras.optimizers.Optimizer):
            self.optimizer.learning_rate.assign(config["learning_rate"])
        self.random = np.random.default_rng(seed)

    def train(self, config, epochs):
        """Train on; return the mean loss of every epoch."""
        x, y = data(config["data"])
        size = config["batch_size"]
        if size == 200:
            orders = np.tile(np.arange(200), (epochs, 1))
        else:
            orders = np.concatenate([self.random.permutation(200).reshape(-1, size) for _ in range(epochs)])
        losses = self._epochs(tf.constant(x), tf.constant(y[:, None]), tf.constant(orders, "int32"))
        return losses.numpy().reshape(epochs, -1).mean(axis=1)

    def state(self):
        pair = self.variables, self.optimizer.variables
        return tuple([variable.numpy() for variable in variables] for variables in pair)

    def restore(self, state):
        for variables, values in zip((self.variables, self.optimizer.variables), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def run(self, config, seed):
        """Train for twice the budget; return the losses and the states at 0, early, the budget and twice the budget."""
        early, budget = BUDGETS[config["batch_size"]]
        self.start(config, seed)
        losses, states = [], [self.state()]
        for epochs in (early, budget - early, budget):
            losses.append(self.train(config, epochs))
            states.append(self.state())
        return np.concatenate(losses).astype("float64"), states


def score(losses, end):
    """The share of ln 2 that a run has removed, over the last twentieth before the end; -inf if it is not finite."""
    last = losses[end - end // 20 : end]
    return 1 - last.mean() / math.log(2) if np.isfinite(last).all() else -np.inf


def label(config, losses, twin, measured):
    """Return the outcome or mechanism, and the set of verdicts that are right."""
    budget = BUDGETS[config["batch_size"]][1]
    first, second = score(losses, budget) / twin, score(losses, 2 * budget) / twin
    if first >= FITS:
        return "healthy", {"healthy"}
    if first >= FAILS:
        return "half", set()
    if second >= FAILS:
        return "slow", set()
    start, *rest = measured
    if not np.isfinite(losses).all() or not all(m["finite"] for m in measured):
        dead = rest[-1]["finite"] and rest[-1]["dead"].max() == 1
        return "exploding", {"exploding", "dead"} if dead else {"exploding"}
    low, high = np.median([(reach(m).min(), reach(m).max()) for m in rest], axis=0)
    found = []
    if all(m["dead"].max() == 1 for m in rest[1:]):
        found.append("dead")
    if high > 100 or reach(start).max() > 100:
        found.append("exploding")
    if low < 0.01 and "dead" not in found:
        found.append("vanishing")
    right = set(found)
    tiny = np.finfo("float32").tiny  # below it lies what is 0 in the network itself
    if all(m["largest"].min() < tiny for m in rest[1:]) and "vanishing" in found:
        right.add("dead")
    if "dead" in found and (config["activation"] != "relu" or reach(start).min() < 0.01):
        right.add("vanishing")  # a smooth activation is 0 by rounding only; or the gradient vanished before the death
    return (found[0] if found else "other"), right


def reach(measured):
    """Every hidden layer's delta over that of the output layer; 0 where both are 0."""
    delta = measured["delta"]
    return delta[:-1] / max(delta[-1], np.finfo("float64").tiny)
