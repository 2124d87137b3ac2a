"""Score `vgp.diagnose` and the rules of other tools on faulty Keras programs of strangers (folder programs).

Twin. Every program has a sound twin, the changes that make it learn (`TWINS`, with what the fault is). Where its data
are random, learnable ones of the same range take their place in both trainings (column `data`).
Outcome. Program and twin are trained as the author did, with as many steps (at most 3,000, at most 120 s; 61274792, of
1,000 time steps, has its labels from 10 s), from 10 seeds, or 3 where a training takes over 5 s. Score: the share of
the targets' variance, or of the accuracy above that of the most frequent class, that the answers explain on the
training data. What reaches 0.8 of its twin is sound.
Mechanism of the others, from float64 gradients of each sample (`Float64`), at the start, early, halfway and at the end,
with the zoo's thresholds: all units of a layer 0 (dead), nan or a delta over 100 times the output layer's (exploding),
under 0.01 times (vanishing). None of these: another fault, and "healthy" is right. If a program of which something else
is at fault by its twin shows one of these, either verdict is right; "healthy" has to name the other fault.
Scored of every program and twin: the verdict; the sense (another fault is named by the pattern of `TWINS`, in the
answer, or in the refusal where Keras's own fit refuses as well); whether a twin is flagged; whether the proposed line
brings seeds 0 to 2 to 0.8 of the twin's score, trained as long as the twin; the seconds. Shares are means over programs
of means over seeds. diagnose gets the seeds that it answers within a minute, one at least.

Labels and scores are in data/real_programs.csv, a row for a program, kind (faulty or twin) and seed.
"""

import copy
import dataclasses
import functools
import json
import multiprocessing
import os
import pathlib
import re
import time
import warnings

import keras
import numpy as np
import tensorflow as tf

import vgp_lib as vgp
from evidence import tables
from vgp_lib.engine import _remedies

FOLDER = pathlib.Path(__file__).parent / "programs"
TABLE, WORKERS, SEEDS, CURES, WELL = "real_programs.csv", 2, 10, 3, 0.8
STEPS, SECONDS, LONG, PATIENCE = 3000, 120, 5, 60  # of a training; of one that few seeds get; of a program's diagnoses
RULES = ("AutoTrainer", "SageMaker", "DeepDiagnosis", "TheDeepChecker", "DEFault-tool")
ADAM, HE = {"name": "Adam", "learning_rate": 0.01}, {"activation": "relu", "kernel_initializer": "he_normal"}
ANSWER = (
    "verdict", "layer", "because", "try_next", "error", "seconds", "verdict_right", "sense_right", "flagged", "cured",
)  # fmt: skip
TANH = {"activation": "tanh", "kernel_initializer": "glorot_uniform"}


@dataclasses.dataclass(frozen=True)
class Program:
    """One program: model, optimizer and loss as configurations, x and y as `fit` gets them."""

    number: int
    kind: str
    config: dict
    optimizer: dict
    loss: object
    batch_size: int
    epochs: int
    samples: int
    built: bool
    x: np.ndarray
    y: np.ndarray

    @property
    def steps(self):
        return min(STEPS, -(-self.samples // self.batch_size) * self.epochs)

    def make_optimizer(self):
        settings = dict(self.optimizer)
        return getattr(keras.optimizers, settings.pop("name"))(**settings)

    def model(self, seed, build=False):
        """The compiled model with the seed's weights; unbuilt if its author had it so."""
        keras.utils.set_random_seed(seed)
        kind = keras.Sequential if self.kind == "Sequential" else keras.Model
        model = kind.from_config(copy.deepcopy(self.config))
        loss = keras.losses.deserialize(self.loss) if isinstance(self.loss, dict) else self.loss
        model.compile(self.make_optimizer(), loss)
        if build and not model.built:
            model.build((None, *self.x.shape[1:]))
        return model


def programs():
    """All programs, by number."""
    return {int(path.stem): _load(path) for path in sorted(FOLDER.glob("*.json"))}


def _load(path):
    facts = json.loads(path.read_text(encoding="utf-8"))
    if path.with_suffix(".npz").is_file():
        with np.load(path.with_suffix(".npz")) as file:
            x, y = file["x"], file["y"]
    else:
        x, y = standin(facts)
    settings = {name: value for name, value in facts["optimizer"].items() if value is not None}
    settings["learning_rate"] = float(f"{settings['learning_rate']:.6g}")
    kept = {name: facts[name] for name in ("kind", "config", "loss", "batch_size", "epochs", "samples", "built")}
    x, y = x.astype(facts["x_dtype"]), y.astype(facts["y_dtype"])
    return Program(number=facts["id"], optimizer=settings, x=x, y=y, **kept)


def standin(facts):
    """scikit-learn's digits in the shape of MNIST or CIFAR: from 0 to 1, or 0 to 255 in whole numbers."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16
    shape, targets = facts["x_shape"][1:], facts["y_shape"][1:]
    if targets and targets[0] < 10:
        images, digits = images[digits < targets[0]], digits[digits < targets[0]]
    chosen = np.arange(facts["stored"]) % len(images)
    if shape == [128]:
        x = np.repeat(images.reshape(-1, 64), 2, axis=1)
    elif 784 in (shape[0], shape[0] * shape[0]):
        x = np.pad(np.kron(images, np.ones((3, 3))), [(0, 0), (2, 2), (2, 2)]).reshape(-1, *shape)
    else:
        x = np.repeat(np.kron(images, np.ones((4, 4)))[..., None], 3, axis=3)
    x = x * 255 if facts["x_dtype"] == "uint8" else x
    return x[chosen], (np.eye(targets[0])[digits] if targets else digits > 4)[chosen]


# ------------------------------------------------------------------------------------------------------------- twins


@dataclasses.dataclass(frozen=True)
class Twin:
    """What is changed, and a pattern of answers that name the fault; own: the fault is not one of the gradient."""

    names: str
    own: bool = True
    last: dict | None = None  # of the last layer with weights
    hidden: dict | None = None  # of all others
    optimizer: dict | None = None
    loss: object = None
    epochs: int | None = None
    x: object = None
    y: object = None
    learnable: object = None  # y from x, in place of targets that are random


UNIT = r"softmax|Dense\(1\b"  # a softmax over one unit gives 1
RANGE = r"[Tt]argets|outside|cannot|Dense\(\d+\)"  # targets that the output cannot reach
SHORT = r"too few|more (steps|epochs)|at least as long|epochs|learning.rate|optimizer = "  # too few or too small steps
CROSS = r"crossentropy|Dense\(\d+, activation=.softmax"  # the loss does not belong to the output

TWINS = {
    31880720: Twin(UNIT, last={"activation": "sigmoid"}),
    # Besides, 20 steps through sigmoids with tiny weights.
    34311586: Twin(UNIT, last={"activation": "sigmoid"}, hidden=TANH | {"units": 8}, optimizer=ADAM, epochs=500),
    # A squared error behind a softmax: it learns all the same.
    34673164: Twin(
        f"{CROSS}|{SHORT}|relu", loss="categorical_crossentropy", optimizer={"name": "SGD", "learning_rate": 0.01}
    ),
    41823068: Twin(CROSS + "|softmax", last={"activation": "softmax"}),  # sigmoids under a loss for a softmax
    # The same, and weights that are too small for six layers.
    41999686: Twin(f"{CROSS}|softmax|{SHORT}", last={"activation": "softmax"}, hidden=HE),
    44758894: Twin(f"{RANGE}|sigmoid|linear|{SHORT}", last={"activation": "linear"}, optimizer=ADAM),  # ReLU gives 0/1
    # Targets from -0.9 to 0.7 under a loss for probabilities.
    46869312: Twin(f"{RANGE}|{CROSS}|mean_squared_error", last={"activation": "linear"}, loss="mean_squared_error"),
    # Besides, 128 time steps of one number each.
    47241622: Twin(UNIT, last={"activation": "sigmoid"}, x=lambda x: x.reshape(-1, 16, 8)),
    # Two linear layers, weights of N(0, 1), steps of 3: written without the sigmoids of its textbook.
    48385830: Twin(SHORT, own=False, last={"activation": "sigmoid"}, hidden={"activation": "sigmoid"}),
    # A net of linear layers is a straight line.
    48486598: Twin(r"[Ll]inear|straight|relu|tanh", hidden={"activation": "relu", "units": 16}, optimizer=ADAM),
    # Sigmoids with tiny weights; a sine wave on x from 0 to 1.
    49583466: Twin(SHORT, own=False, hidden=TANH, optimizer=ADAM, epochs=20, x=lambda x: 10 * (x - 0.5)),
    50306988: Twin(SHORT, hidden={"units": 8}, optimizer=ADAM),  # two units, small steps
    # A sigmoid on targets far below 0 and above 1; random besides.
    50555434: Twin(
        RANGE, last={"activation": "linear"}, hidden=HE, optimizer=ADAM,
        learnable=lambda x: 14 * x[:, :6] - 3 * x[:, 6:12],
    ),
    51930566: Twin(f"{CROSS}|softmax|{SHORT}", last={"activation": "softmax"}, optimizer=ADAM),
    # Ten steps, through one ReLU unit that may be dead.
    56452176: Twin(
        f"{SHORT}|relu|dead", hidden={"activation": "linear"}, last={"activation": "linear"}, epochs=500, own=False
    ),
    # A softmax and a Poisson loss for targets from -589 to 588.
    56774954: Twin(
        rf"{RANGE}|poisson|negative|mean_squared_error|\by = ",
        last={"activation": "linear"}, loss="mean_squared_error", y=lambda y: y / y.std(), optimizer=ADAM,
    ),
    57397440: Twin(UNIT, last={"activation": "sigmoid"}),
    # Sigmoids, steps of 1e-4.
    58043002: Twin(SHORT + "|relu", own=False, hidden={"activation": "relu"}, optimizer=ADAM),
    58333926: Twin(f"{CROSS}|softmax|{SHORT}", last={"activation": "softmax"}, loss="categorical_crossentropy"),
    # A ReLU gives the probabilities; ten steps, two units.
    58572274: Twin(
        RANGE + "|sigmoid", last={"activation": "sigmoid"}, hidden=TANH | {"units": 8}, optimizer=ADAM, epochs=500
    ),
    # A ReLU on targets from -404 to 425; steps far too small for them.
    59758722: Twin(
        rf"{RANGE}|\by = ", last={"activation": "linear"}, y=lambda y: y / y.std(),
        optimizer={"name": "RMSprop", "learning_rate": 0.01},
    ),
    60355380: Twin(UNIT, last={"activation": "sigmoid"}),
    # Numbers from -0.15 to 0.15 go into an embedding: they are all token 0.
    61274792: Twin(
        r"[Tt]oken|whole|integer|Embedding|same answer|constant",
        x=lambda x: np.clip(((x[:, :20] + 0.15) * 3333).astype(int), 0, 999),
    ),
    # "logcosh" is no name of a loss, and two units answer one label.
    61763616: Twin(
        r"log_?cosh|loss|units|shape|Dense\(|one.hot", hidden={"activation": "relu"}, last={"activation": "softmax"},
        loss="sparse_categorical_crossentropy",
    ),
    64395424: Twin(RANGE + "|sigmoid|from_logits", last={"activation": "sigmoid"}, optimizer=ADAM),  # probabilities
    65777704: Twin(SHORT, own=False, hidden=HE),  # five sigmoid layers
    # One unit under a loss over classes: 0 whatever it answers.
    66602662: Twin(
        r"sparse|categorical|one unit|Dense\(5", last={"units": 5, "activation": "softmax"}, hidden={"rate": 0.0},
        loss="sparse_categorical_crossentropy", optimizer=ADAM,
    ),
    # One unit for three classes.
    68321264: Twin(
        r"shape|units|softmax|Dense\(3|categorical", last={"units": 3, "activation": "softmax"},
        loss="categorical_crossentropy", x=lambda x: x / np.float32(255),
    ),
    # A sigmoid on targets from 0 to 4.
    68458462: Twin(RANGE, last={"activation": "linear"}, hidden={"units": 16}, optimizer=ADAM, epochs=1000),
    # ReLUs give the probability; one unit before it.
    69787272: Twin(
        RANGE + "|sigmoid", last={"activation": "sigmoid"}, hidden=HE | {"units": 16}, optimizer=ADAM, epochs=200
    ),
    # The labels are texts, the loss is one over classes.
    70650848: Twin(
        r"[Tt]ext|string|object|dtype|astype|number|crossentropy", last={"activation": "sigmoid"},
        loss="binary_crossentropy", y=lambda y: (y == "2").astype("float32"),
    ),
}  # fmt: skip


def twin(number):
    """The sound twin of a program."""
    program, change = programs()[number], TWINS[number]
    config = copy.deepcopy(program.config)
    weighted = [i for i, layer in enumerate(config["layers"]) if {"units", "filters"} & set(layer["config"])]
    edit(config, weighted[-1], change.last or {})
    for i, layer in enumerate(config["layers"]):
        if i in weighted[:-1]:
            edit(config, i, {k: v for k, v in (change.hidden or {}).items() if k in layer["config"]})
        elif layer["class_name"] == "Dropout" and "rate" in (change.hidden or {}):
            layer["config"]["rate"] = change.hidden["rate"]
    x, y = (change.x or np.asarray)(program.x), (change.y or np.asarray)(program.y)
    if change.x:
        for layer in config["layers"][:1]:
            layer["config"] |= {"batch_shape": [None, *x.shape[1:]]} if layer["class_name"] == "InputLayer" else {}
        config.pop("build_input_shape", None)
    for layer in config["layers"]:
        layer.pop("build_config", None)
    changed = {name: getattr(change, name) for name in ("optimizer", "loss", "epochs") if getattr(change, name)}
    return learnable(dataclasses.replace(program, config=config, x=x, y=y, **changed))


def edit(config, index, changes):
    """Change a layer; an activation goes to the activation layers behind it, if there are any."""
    if config["layers"][index]["class_name"] == "LSTM":
        return
    config["layers"][index]["config"] |= changes
    for layer in config["layers"][index + 1 :]:
        if layer["class_name"] != "Activation" or "activation" not in changes:
            return
        layer["config"]["activation"] = changes["activation"]
        config["layers"][index]["config"]["activation"] = "linear"


def learnable(program):
    make = TWINS[program.number].learnable
    return dataclasses.replace(program, y=make(program.x).astype(program.y.dtype)) if make else program


# ---------------------------------------------------------------------------------------------- training and scoring


def score(answers, y):
    """The share of the variance, or of the accuracy above the most frequent class, that answers explain, from -1."""
    answers, y = np.asarray(answers, "float64").reshape(len(y), -1), np.asarray(y).reshape(len(y), -1)
    if not np.isfinite(answers).all():
        return -1.0
    if set(np.unique(y)) <= {0, 1} or (y.dtype.kind in "iu" and y.shape[1] == 1):
        truth = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(int)
        told = answers.argmax(axis=1) if answers.shape[1] > 1 else (answers[:, 0] > 0.5).astype(int)
        most = np.bincount(truth).max() / len(truth)
        return float(((told == truth).mean() - most) / (1 - most))
    return float(max(-1, 1 - np.square(answers - y).sum() / np.square(y - y.mean(axis=0)).sum()))


class Trainer:
    """A program that is compiled once and trained from any seed."""

    def __init__(self, program):
        self.program, self.model = program, program.model(0, build=True)
        self.weights, self.optimizer = self.model.trainable_variables, self.model.optimizer
        self.optimizer.build(self.weights)
        self.fresh = [variable.numpy() for variable in self.optimizer.variables]
        y = program.y.astype("float32") if program.y.dtype.kind == "f" else program.y
        x = program.x.astype("float32") if program.x.dtype.kind == "f" else program.x
        self.x, self.y = tf.constant(x), tf.constant(y)

    def start(self, seed):
        fresh = self.program.model(seed, build=True)
        for ours, theirs in zip(_variables(self.model), _variables(fresh), strict=True):
            ours.assign(theirs)
        for ours, value in zip(self.optimizer.variables, self.fresh, strict=True):
            ours.assign(value)
        self.random, self.order = np.random.default_rng(seed), np.zeros(0, int)
        self.seconds, self.steps = 0.0, 0

    @functools.cached_property
    def _run(self):
        def step(index, orders):
            with tf.GradientTape() as tape:
                answer = self.model(tf.gather(self.x, orders[index]), training=True)
                loss = self.model.compute_loss(y=tf.gather(self.y, orders[index]), y_pred=answer)
            values = [weight.value for weight in self.weights]
            self.optimizer.apply(tape.gradient(loss, values, unconnected_gradients="zero"), self.weights)
            return index + 1, orders

        @tf.function(autograph=False)
        def run(orders):
            return tf.while_loop(lambda index, orders: index < tf.shape(orders)[0], step, (0, orders))[0]

        size = min(self.program.batch_size, len(self.x))
        made = run.get_concrete_function(tf.TensorSpec((None, size), tf.int32))
        made(tf.zeros((0, size), tf.int32))  # the graph is made ready outside of the seconds that are counted
        return made

    def train(self, steps):
        """Train on in pieces, until time is up; an epoch goes through all stored samples."""
        size, run, piece = min(self.program.batch_size, len(self.x)), self._run, 2
        while steps > 0 and self.seconds < SECONDS:
            piece = min(piece, steps)
            while len(self.order) < piece * size:
                self.order = np.append(self.order, self.random.permutation(len(self.x)))
            now, self.order = self.order[: piece * size], self.order[piece * size :]
            started = time.perf_counter()
            run(tf.constant(now.reshape(piece, size), "int32"))
            spent = time.perf_counter() - started
            self.seconds, self.steps, steps = self.seconds + spent, self.steps + piece, steps - piece
            piece = min(4 * piece, max(1, int(piece * 2 / spent)))

    def score(self):
        parts = [self.model(self.x[i : i + 256], training=False) for i in range(0, len(self.x), 256)]
        return score(np.concatenate(parts), self.program.y)

    def values(self):
        return [weight.numpy() for weight in self.model.weights]


def _variables(model):
    return [variable for layer in model.layers for variable in layer.variables]


class Float64:
    """A program's net in float64 with every activation a layer of its own: what `evidence.zoo.measure` tells."""

    def __init__(self, program):
        chosen = np.linspace(0, len(program.x) - 1, 64 if program.x[0].size < 500 else 16)
        chosen = np.unique(chosen.astype(int))
        self.net, self.y = keras.Sequential(), program.y[chosen]
        shape = program.config["layers"][0]["config"].get("batch_shape", (None, *program.x.shape[1:]))[1:]
        for part in json.loads(json.dumps(program.config["layers"]).replace('"float32"', '"float64"')):
            activation = part["config"].get("activation")
            if "kernel_initializer" in part["config"] and "recurrent_initializer" not in part["config"]:
                part["config"]["activation"] = "linear"
                self.net.add(keras.layers.deserialize(part))
                name = f"{part['config']['name']} phi".replace(" ", "_")
                self.net.add(keras.layers.Activation(activation, dtype="float64", name=name))
            elif part["class_name"] != "InputLayer":
                self.net.add(keras.layers.deserialize(part))
        tokens = isinstance(self.net.layers[0], keras.layers.Embedding)
        self.net.build((None, *program.x.shape[1:]) if tokens or None in shape else (None, *shape))
        x = program.x[chosen].astype("int32" if tokens else "float64")
        self.x = tf.constant(x if tokens or None in shape else x.reshape(-1, *shape))
        loss = keras.losses.deserialize(program.loss) if isinstance(program.loss, dict) else program.loss
        self.net.compile(loss=loss)

    def measure(self, values):
        for variable, value in zip(self.net.weights, values, strict=True):
            variable.assign(value)
        h, z, acts, kernels = self.x, [], [], []
        with tf.GradientTape() as tape:
            for layer in self.net.layers:
                h = layer(h, training=isinstance(layer, keras.layers.BatchNormalization))
                if hasattr(layer, "kernel") or isinstance(layer, keras.layers.RNN):
                    z.append(h)
                    acts.append(h)
                    kernels.append(getattr(layer, "cell", layer).kernel.value)
                elif isinstance(layer, keras.layers.Activation):
                    acts[-1] = h
            loss = self.net.compute_loss(y=tf.constant(self.y), y_pred=h)
            total = tf.cast(loss, "float64") * len(self.x)
        found = tape.gradient(total, z + kernels, unconnected_gradients="zero")
        deltas, gradients = [np.asarray(d).reshape(len(self.x), -1) for d in found[: len(z)]], found[len(z) :]
        gradients = [np.asarray(g) / len(self.x) for g in gradients]
        flat = [np.asarray(a).reshape(-1, a.shape[-1]) for a in acts]
        return {
            "delta": np.array([np.sqrt(np.square(d).sum(axis=1).mean()) for d in deltas]),
            "batch": np.array([np.linalg.norm(g) for g in gradients]),
            "mean": np.array([np.abs(g).mean() for g in gradients]), "max": max(np.abs(g).max() for g in gradients),
            "zeros": np.mean(np.concatenate([g.ravel() for g in gradients]) == 0),
            "dead": np.array([(a == 0).all() for a in flat]), "low": np.array([(a[:] <= 0).mean() for a in flat[:-1]]),
            "inactive": np.array([((a > 0).mean(axis=0) < 0.01).mean() for a in flat[:-1]]),
            "relu": any("relu" in str(layer.get_config().get("activation")) for layer in self.net.layers),
            "p95": np.array([np.quantile(np.abs(a), 0.95) for a in flat[:-1]]),
            "finite": bool(np.isfinite([*map(np.sum, [*deltas, *gradients]), float(total)]).all()),
        }  # fmt: skip


def mechanism(states):
    """The verdicts that the gradients at the start, early, halfway and at the end allow; none: it is healthy."""
    if not all(state["finite"] for state in states):
        return {"exploding"}
    right = {"dead"} if states[-1]["dead"].any() and states[-2]["dead"].any() else set()
    if len(states[0]["delta"]) > 1 and all(state["delta"][-1] > 1e-12 for state in states):
        start, *rest = (state["delta"][:-1] / state["delta"][-1] for state in states)
        low, high = np.median([(reach.min(), reach.max()) for reach in rest], axis=0)
        right |= {"exploding"} if high > 100 or start.max() > 100 else set()
        right |= {"vanishing"} if low < 0.01 and not right else set()
    return right


def rules(now, later):
    """The published rules at the start; `later` is five steps on."""

    def first(exploding, dead, vanishing):
        return "exploding" if exploding else "dead" if dead else "vanishing" if vanishing else "healthy"

    batch, mean, broken = now["batch"], now["mean"], not now["finite"]
    ratio = batch[0] / batch[-1] if batch[-1] else 0.0
    small = (mean < 1e-6) | (later["mean"] < mean / 2)
    return {
        "AutoTrainer": first(broken or ratio > 70, now["zeros"] >= 0.7, not ratio >= 1e-3 and batch[0] < 1e-4),
        "SageMaker": first(broken, now["relu"] and (now["inactive"] >= 0.5).any(), (mean < 1e-7).any()),
        "DeepDiagnosis": first(broken, (now["low"] >= 0.7).any(), (mean < 1e-7).any()),
        "TheDeepChecker": first(broken or (mean > 1e6).any(), (now["p95"] < 1e-5).any(), small.any()),
        "DEFault-tool": first(broken or now["max"] > 70, now["zeros"] > 0.7, (mean < 1e-4).any()),
    }


# ------------------------------------------------------------------------------------------------------------ labels


def refusal(program):
    """What Keras's own `fit` says to the first batch, if it raises."""
    try:
        size, model = program.batch_size, program.model(0)
        model.run_eagerly = program.x[0].size < 500  # saves the compilation
        model.fit(program.x[:size], program.y[:size], batch_size=size, epochs=1, verbose=0)
    except Exception as error:
        return type(error).__name__
    return ""


def label(job):
    """Train program and twin; a row for every kind and seed."""
    number, quick = job
    program, started, rows = programs()[number], time.perf_counter(), []
    kinds = {"twin": twin(number), "faulty": learnable(program)}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, one in kinds.items():
            rows += train_all(one, {"program": number, "kind": kind, "fit": refusal(one)}, 1 if quick else SEEDS)
    reached = float(np.median([row["score"] for row in rows if row["kind"] == "twin"]))
    for row in rows:
        allowed = set(filter(None, row.pop("found").split()))
        sound = row["score"] >= WELL * reached
        row["twin"], row["data"] = round(reached, 3), "learnable" if TWINS[number].learnable else "own"
        row["label"] = "sound" if sound else "gradient fault" if allowed else "other fault"
        if sound or not allowed or TWINS[number].own:
            allowed = {"healthy"} if sound else allowed | {"healthy"}
        if row["kind"] == "twin":
            row["label"], allowed = "sound" if sound else "unsound", {"healthy"}
        row["right"] = " ".join(sorted(allowed))
    print(f"{number} labelled in {time.perf_counter() - started:.0f} s", flush=True)
    return rows


def train_all(program, common, seeds):
    empty = dict.fromkeys(RULES, "healthy") | {"steps": 0, "score": 0.0, "found": ""}
    if common["fit"]:
        return [common | {"seed": seed} | empty for seed in range(seeds)]
    trainer, probe, rows = Trainer(program), Float64(program), []
    early = max(5, program.steps // 10)
    for seed in range(seeds):
        if seed >= CURES and trainer.seconds > LONG:
            break
        trainer.start(seed)
        states, done = [probe.measure(trainer.values())], 0
        for end in (5, early, program.steps // 2, program.steps):
            trainer.train(max(0, end - done))
            done = max(done, end)
            if common["kind"] == "faulty" or end <= early:
                states.append(probe.measure(trainer.values()))
        start, fifth, *rest = states
        first, second = rules(start, fifth), rules(fifth, rest[0])
        told = {rule: first[rule] if first[rule] != "healthy" else second[rule] for rule in RULES}
        found = " ".join(sorted(mechanism([start, *rest]))) if common["kind"] == "faulty" else ""
        told |= {"steps": trainer.steps, "score": round(trainer.score(), 3), "found": found}
        rows.append(common | {"seed": seed} | told)
    return rows


# ----------------------------------------------------------------------------------------------------------- scoring


def answer(job):
    """What `diagnose` says of program and twin, by seed, and whether its line cures; a row a kind and seed."""
    number, labels, quick = job
    rows, kinds = [], {"faulty": programs()[number], "twin": twin(number)}
    for kind, program in kinds.items():
        spent, cures = 0.0, {}
        for stored in (row for row in labels if row["kind"] == kind):
            seed = int(stored["seed"])
            if spent > PATIENCE or (quick and seed):
                rows.append(stored | dict.fromkeys(ANSWER, ""))
                continue
            row = stored | diagnosis(program, seed)
            spent += row["seconds"]
            row |= judge(row, program.steps) | {"cured": ""}
            if kind == "faulty" and seed < CURES and row["label"] != "sound":
                row["cured"] = cure(program, row, cures)
            rows.append(row)
    print(f"{number} asked: {' '.join(row['verdict'] or row['error'][:10] or '-' for row in rows)}", flush=True)
    return rows


def diagnosis(program, seed):
    model, row = program.model(seed), dict.fromkeys(ANSWER[:5], "")
    started = time.perf_counter()
    try:
        found = vgp.diagnose(model, program.x, program.y)
        row |= {name: getattr(found, name) or "" for name in ANSWER[:4]}
    except Exception as error:
        row["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return row | {"seconds": round(time.perf_counter() - started, 2)}


def judge(row, steps):
    """Verdict and sense, of a program whose author took so many steps; "" where there is nothing to be judged."""
    nothing, names = row["try_next"].startswith("nothing to change"), TWINS[row["program"]].names
    said = row["try_next"] if nothing else without_course(f"{row['because']} {row['try_next']} {row['error']}")
    named = re.search(names, said) is not None or (SHORT in names and more_steps(row["try_next"]) > steps)
    if row["error"]:
        refused = bool(row["fit"]) and named
        flagged = 1 if row["kind"] == "twin" else ""
        return {"verdict_right": int(refused), "sense_right": int(refused), "flagged": flagged}
    right = row["verdict"] in row["right"].split()
    other = row["label"] == "other fault" or (row["label"] == "gradient fault" and row["verdict"] == "healthy")
    changes = row["verdict"] != "healthy" or not row["try_next"].startswith(("nothing to change", "train on"))
    flagged = int(changes) if row["kind"] == "twin" else ""
    return {"verdict_right": int(right), "sense_right": int(named) if other else "", "flagged": flagged}


def more_steps(line):
    """For how many steps a line asks to train, 0 if it does not say."""
    found = re.search(r"train for (?:at least|more than) (\d+) steps", line)
    return int(found[1]) if found else 0


def without_course(text):
    """Leave out which steps were rehearsed: the name of the optimizer there is no advice."""
    return re.sub(r"in a rehearsal of .*?the loss", "", text)


def cure(program, row, cures):
    """Train with the proposed line; "yes" if it reaches 0.8 of the twin's score, "" if it cannot be applied."""
    line, key = row["try_next"], (row["try_next"], row["layer"])
    if line in ("", "nothing to change"):
        return "no"
    try:
        if key not in cures:
            changed = apply(learnable(program), line, row["layer"])
            cures[key] = changed and Trainer(changed)
        if not cures[key]:
            return ""
        trainer = cures[key]
        trainer.start(int(row["seed"]))
        with np.errstate(all="ignore"):
            trainer.train(max(trainer.program.steps, twin(program.number).steps))
            return "yes" if trainer.score() >= WELL * float(row["twin"]) else "no"
    except Exception as error:
        print(program.number, line, f"{type(error).__name__}: {error}"[:200], flush=True)
        return "no"


def apply(program, line, name):
    """The program with a proposed line; None for what is no such line."""
    if "; then " in line:  # the last layer first, then what else was found
        for part in line.split("; then "):
            program = apply(program, part, name if "the last layer" not in part else "") or program
        return program
    if "# the last layer" in line:
        name = ""
    code, _, comment = line.partition("  # ")
    also = [found for found in (re.search(r'loss="\w+"', comment), re.search(r"optimizer = .*", comment)) if found]
    parts = [*code.split("; "), *(found[0].replace("loss=", "loss = ") for found in also)]
    steps = more_steps(line)
    if steps:
        steps_an_epoch = -(-len(program.x) // program.batch_size)
        program = dataclasses.replace(program, epochs=max(program.epochs, -(-steps // steps_an_epoch)))
    parts = [
        part.strip() for part in parts if re.match(r"keras\.layers\.|(optimizer|loss|x|y)\b[^=(]*= ", part.strip())
    ]
    for part in parts:
        if part.startswith("keras.layers."):
            made = eval(part, {"keras": keras})
            program = replace(program, made if isinstance(made, tuple) else (made,), name, "hidden" in line)
        else:
            program = assign(program, part)
    return program if steps or parts else None


def assign(program, code):
    """The program after `optimizer = …`, `loss = …`, `x = …` or `y = …`."""
    x = program.x.astype("float64") if program.x.dtype.kind in "iub" else program.x
    names = {"keras": keras, "np": np, "x": x, "y": program.y, "optimizer": program.make_optimizer()}
    exec(code, names)
    changed, optimizer, loss = {}, names["optimizer"], names.get("loss")
    if code.startswith("optimizer"):
        config = {key: value for key, value in optimizer.get_config().items() if value is not None}
        changed["optimizer"] = config | {"name": type(optimizer).__name__}
    if loss is not None:
        changed["loss"] = loss if isinstance(loss, str) else keras.losses.serialize(loss)
    if code[:1] in "xy":
        changed[code[0]] = np.asarray(names[code[0]])
    return dataclasses.replace(program, **changed)


def replace(program, made, name, everywhere):
    """The program with other layers in place of one (or of every hidden one) with weights; others come behind it."""
    config, parts = copy.deepcopy(program.config), [keras.layers.serialize(layer) for layer in made]
    weighted = [i for i, layer in enumerate(config["layers"]) if {"units", "filters"} & set(layer["config"])]
    named = [i for i in weighted if config["layers"][i]["config"].get("name") == name] or weighted[-1:]
    if isinstance(made[0], keras.layers.Reshape):  # in place of an Embedding
        named = [i for i, layer in enumerate(config["layers"]) if layer["class_name"] == "Embedding"]
    for layer in config["layers"]:
        layer.pop("build_config", None)
    config.pop("build_input_shape", None)
    kind, new = parts[0]["class_name"], {k: v for k, v in parts[0]["config"].items() if k not in ("name", "trainable")}
    activation = [part["config"]["activation"] for part in parts if part["config"].get("activation")][-1:]
    if kind == "Reshape":
        config["layers"][named[0]] = parts[0]
    elif not {"units", "filters"} & set(new):
        config["layers"][named[0] + 1 : named[0] + 1] = parts
    elif everywhere:
        change = {"activation": activation[0], "kernel_initializer": new["kernel_initializer"]}
        hidden = [config["layers"][i]["config"].get("units", np.inf) for i in weighted[:-1]]
        # A narrow net gets more units, any other keeps its own.
        if hidden and max(hidden) < min(_remedies.NARROW, new.get("units", 0)):
            change["units"] = new["units"]
        for i in weighted[:-1]:
            edit(config, i, change)
    else:
        layer = config["layers"][named[0]]
        kept = layer["config"] if layer["class_name"] == kind else {"name": name}
        layer |= {"class_name": kind, "registered_name": None, "config": kept | new}
        edit(config, named[0], {"activation": activation[0]})
    return dataclasses.replace(program, config=config)


def measure(quick=False, relabel=False):
    """Ask `diagnose` about all programs and twins and print the table; label them anew if asked to."""
    os.environ["TQDM_DISABLE"] = "1"  # the workers print lines of their own
    started, numbers = time.perf_counter(), list(TWINS)
    numbers.sort(key=lambda number: -(FOLDER / f"{number}.json").stat().st_size)
    with multiprocessing.get_context("spawn").Pool(WORKERS, maxtasksperchild=4) as pool:
        if relabel:
            jobs = [(number, quick) for number in numbers]
            labels = [row for part in pool.imap_unordered(label, jobs) for row in part]
        else:
            names = ("program", "kind", "fit", "seed", *RULES, "steps", "score", "twin", "data", "label", "right")
            labels = [{name: row[name] for name in names} for row in tables.read(TABLE)]
            labels = [row | {"program": int(row["program"]), "seed": int(row["seed"])} for row in labels]
        jobs = [(number, [row for row in labels if row["program"] == number], quick) for number in numbers]
        rows = [row for part in pool.imap_unordered(answer, jobs) for row in part]
    rows.sort(key=lambda row: (row["program"], row["kind"], row["seed"]))
    if not quick:
        tables.write(TABLE, rows)
    report(rows)
    print(f"{sum(row['seconds'] != '' for row in rows)} diagnoses in {time.perf_counter() - started:.0f} s")


def mean_share(rows, right):
    """The mean over programs of the mean over seeds."""
    found = {}
    for row in rows:
        found.setdefault(row["program"], []).append(bool(right(row)))
    return float(np.mean([np.mean(seeds) for seeds in found.values()])) if found else float("nan")


def share(rows, right):
    count = sum(bool(right(row)) for row in rows)
    return f"{mean_share(rows, right):6.1%}  ({count} of {len(rows)}, {len({row['program'] for row in rows})} programs)"


def report(rows):
    rows = [row for row in rows if row["seconds"] != ""]
    faulty = [row for row in rows if row["kind"] == "faulty"]
    twins = [row for row in rows if row["kind"] == "twin" and row["label"] == "sound"]
    for name in ("gradient fault", "other fault", "sound"):
        part = [row for row in faulty if row["label"] == name]
        print(f"{name:16}verdict right {share(part, lambda row: row['verdict_right'])}")
    print(f"{'all faulty':16}verdict right {share(faulty, lambda row: row['verdict_right'])}")
    both = lambda row: row["verdict_right"] and row["sense_right"] in ("", 1)  # noqa: E731
    print(f"{'':16}and in sense  {share(faulty, both)}")
    other = [row for row in faulty if row["sense_right"] != ""]
    print(f"{'other fault':16}sense right   {share(other, lambda row: row['sense_right'])}")
    bad = [row for row in faulty if row["label"] != "sound"]
    nothing = [row for row in bad if row["try_next"].startswith("nothing")]
    print(f'{"all bad":16}"nothing to change" {share(bad, lambda row: row in nothing)}')
    longer = [row for row in nothing if row["sense_right"] == 1]
    print(f"{'':16}of these, to be trained for longer than the author did: {len(longer)} of {len(nothing)}")
    print(f"{'twins':16}flagged       {share(twins, lambda row: row['flagged'])}")
    raised = [row for row in rows if row["error"] and not row["fit"]]
    kept = [row for row in raised if re.search(TWINS[row["program"]].names, row["error"])]
    where = sorted({row["program"] for row in raised})
    print(f"{'errors':16}{len(raised)} where Keras trains, {len(kept)} of them name the fault: {where}")
    for name in ("gradient fault", "other fault"):
        part = [row for row in faulty if row["label"] == name and row["cured"]]
        print(f"{name:16}cured         {share(part, lambda row: row['cured'] == 'yes')}")
    odd = [row for row in bad if row["seed"] < CURES and not row["cured"]]
    print(f"{'':16}lines that could not be applied: {len(odd)}")
    sick = [row for row in faulty if row["label"] == "gradient fault"]
    for name in ("verdict", *RULES):
        found = share(sick, lambda row, name=name: row[name] in row["right"].split() and row[name] != "healthy")
        wrong = share(twins, lambda row, name=name: row[name] not in ("healthy", ""))
        print(f"{'diagnose' if name == 'verdict' else name:16}sick found {found}, twins called sick {wrong}")
    seconds = sorted(row["seconds"] for row in rows)
    at = [seconds[int(q * (len(seconds) - 1))] for q in (0.5, 0.95, 1)]
    print("seconds: median {}, 95 % {}, largest {}".format(*at))
    for number in sorted({row["program"] for row in faulty}):
        part = [row for row in faulty if row["program"] == number]
        texts = {f"{row['verdict'] or row['error'][:60]} / {row['try_next'][:70]}" for row in part}
        right = sum(bool(both(row)) for row in part)
        print(f"{number}  {right:2} of {len(part):2}  {part[0]['label']:15}{' | '.join(sorted(texts)[:3])}")
