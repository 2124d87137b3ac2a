"""Training many seeds of one network at once, in one compiled program.

All seeds' weights lie in one matrix of shape (seeds, parameters). One step gathers a batch per seed, runs the model on
all seeds side by side (`tf.vectorized_map` of Keras's `stateless_call`), and lets the Keras optimizer update the
matrix, which is right because its update treats every number alone. An epoch of such steps is one compiled program,
kept for the next call on the same architecture. Many seeds are cut into groups, one a core, that run it side by side.
"""

import contextlib
import copy
import dataclasses
import functools
import json
import operator
import os
import threading
import warnings
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from vgp_lib.data import Data, integer
from vgp_lib.gradients import check_batch, kernel_layers, match_targets

# These look at whole weight matrices, so that seeds cannot share one: they train one seed after the other.
_WHOLE_MATRIX = tuple(
    getattr(keras.optimizers, name) for name in ("Adafactor", "Lamb", "Muon") if hasattr(keras.optimizers, name)
)
_CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """What `train` recorded; the seeds lie along the second axis, in the order of `seeds`."""

    seeds: tuple
    learning_rate: float
    layer_names: list
    loss: np.ndarray
    accuracy: np.ndarray
    kernel_gradient_norms: np.ndarray
    update_ratios: np.ndarray
    first_layer_weights: np.ndarray
    _build: object = dataclasses.field(repr=False)
    _weights: list = dataclasses.field(repr=False)
    _parts: list = dataclasses.field(repr=False)

    @property
    def diverged(self):
        """Seeds whose loss became nan or infinite, with the first epoch (from 1) in which it did: dict."""
        bad = ~np.isfinite(self.loss)
        return {seed: int(bad[:, i].argmax()) + 1 for i, seed in enumerate(self.seeds) if bad[:, i].any()}

    def model(self, seed) -> keras.Model:
        """Build the trained model of one seed; uncompiled."""
        if seed not in self.seeds:
            raise ValueError(f"seed is {seed!r}; these runs have the seeds {self.seeds}")
        model, index = self._build(), self.seeds.index(seed)
        if _parts(model) != self._parts:
            raise ValueError(
                "build makes another network now than it made for train; if it reads a variable of a loop, bind it, as "
                "in functools.partial(vgp.build_mlp, activation=activation)"
            )
        for variable, values in zip(_variables(model), self._weights, strict=True):
            variable.assign(values[index])
        return model

    def __repr__(self):
        text = f"Runs of {len(self.seeds)} seeds, {len(self.loss)} epochs, {len(self.layer_names)} layers"
        if len(self.loss):
            finite = self.loss[-1][np.isfinite(self.loss[-1])]
            low, middle, high = np.quantile(finite, [0.1, 0.5, 0.9]) if len(finite) else [np.nan] * 3
            text += f"; last loss {middle:.2g}, 10-90 % of the seeds: {low:.2g} to {high:.2g}"
        if self.diverged:
            text += f"; nan or infinite loss (seed: first epoch): {self.diverged}"
        return text


def train(
    build,
    data,
    optimizer,
    epochs=100,
    batch_size=32,
    seeds=32,
    loss="binary_crossentropy",
    progress=True,
    shuffle=True,
) -> Runs:
    """Train one network from many seeds at once, each with its own initial weights and its own order of the samples.

    Each seed follows what `model.fit` would do, within float32 rounding; and it gives the same run whatever other seeds
    are asked for. nan stays in the seed in which it arose, see `Runs.diverged`. Adafactor, Lamb and Muon look at whole
    weight matrices, and an optimizer of your own may: with these the seeds train one after the other. One exception:
    where a token repeats in a batch, Keras's adaptive optimizers square an Embedding's gradient in parts, and `train`
    squares it as a whole.

    Args:
        build: function without arguments that builds a `keras.Model` with one input and one output; called for the
            structure and the initializers. Its random initializers must not carry seeds of their own.
        data: what `load_moons` gives, of which the training part is used, or a pair (x, y).
        optimizer: a Keras optimizer, or its name; it serves as a recipe and is not touched.
        epochs: at least 0; with 0, `Runs.model` gives the initial networks.
        batch_size: samples a step; the last batch of an epoch may be smaller, as in `fit`.
        seeds: how many seeds, 0, 1, 2, …; or the seeds themselves, a sequence of integers.
        loss: a Keras name or object, or a function of (y_true, y_pred); averaged over the samples.
        progress: show a bar once the work has taken two seconds; or what shows it, called as `tqdm.tqdm` is.
        shuffle: draw a new order of the samples for every epoch and seed.

    Returns `Runs` with float64 arrays:
        loss, accuracy: (epochs, seeds), means over the epoch's samples, each before its own step, as in `fit`.
        kernel_gradient_norms: (epochs, seeds, layers), L2 norm of the epoch's mean gradient, before clipping.
        update_ratios: (epochs, seeds, layers), mean |ΔW| of the epoch's steps over the mean |W| before the epoch.
        first_layer_weights: (epochs + 1, seeds, *kernel shape).
        learning_rate: of the optimizer; of the first step, if it follows a schedule.

    Raises `ValueError` or `TypeError`, before any training, if an argument is out of range, or if the model cannot be
    trained from many seeds: a stateful layer, an initializer with its own seed, a weight without a known initializer,
    a mask that reaches the output; or if the optimizer excludes variables from weight decay.
    """
    if not callable(build) or isinstance(build, keras.Model):
        raise TypeError(f"build is a {type(build).__name__}; give a function without arguments that builds a model")
    if not isinstance(data, Data) and (not isinstance(data, (tuple, list)) or len(data) != 2):
        raise TypeError(f"data is a {type(data).__name__}; give what load_moons gives, or a pair (x, y)")
    optimizer = get_optimizer(optimizer)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError("optimizer is a LossScaleOptimizer, which trains in float16; give the optimizer that it wraps")
    if getattr(optimizer, "_exclude_from_weight_decay_pattern", None) or getattr(
        optimizer, "_exclude_from_weight_decay", None
    ):
        raise ValueError("optimizer excludes variables from weight decay, which train cannot; leave weight_decay out")
    model = build()
    seeds = _check_seeds(seeds)
    epochs, batch_size = integer("epochs", epochs, at_least=0), integer("batch_size", batch_size, at_least=1)
    layers = kernel_layers(model)
    initial = _initial_values(model, seeds)
    x, y = check_batch(*data[:2])
    answer = model(x)
    if getattr(answer, "_keras_mask", None) is not None:
        message = "fit weighs the loss by it, train does not; end the model with a layer that answers once per sample"
        raise ValueError(f"The mask of a layer reaches the output of {model.name!r}: {message}")
    function, y = match_targets(loss, y, answer)
    scalar = function(y, answer).shape.rank == 0  # such a loss cannot leave out the samples that fill a batch
    batch_size = min(batch_size, len(x))

    groups = _groups(len(seeds), together=_is_elementwise(optimizer))
    program = _program(_Key(model, optimizer, loss, function, len(groups[0][0]), scalar))
    records, weights = [], []
    silent = {} if progress else {"disable": True}  # given only then, so that TQDM_DISABLE works, as in CI
    bars = progress if callable(progress) else tqdm
    with bars(total=epochs * len(groups), unit="epoch", delay=2, leave=False, **silent) as bar:
        for side_by_side in groups:
            starts = [[values[group] for values in initial] for group in side_by_side]
            orders = [_orders([seeds[index] for index in group], len(x), epochs, shuffle) for group in side_by_side]
            with program.lock:
                results = program.run(starts, tf.constant(x), y, orders, batch_size, optimizer, bar)
            records.extend(results[0])
            weights.extend(results[1])
    wanted = slice(len(seeds))  # the last group may be filled up
    record = {name: np.concatenate([part[name] for part in records], axis=1)[:, wanted] for name in records[0]}
    finals = [np.concatenate(parts)[wanted] for parts in zip(*weights, strict=True)]
    rate = float(np.asarray(optimizer.learning_rate))
    names = [layer.name for layer in layers]
    return Runs(seeds, rate, names, **record, _build=build, _weights=finals, _parts=_parts(model))


class _Program:
    """One architecture, one optimizer and one loss, traced and compiled for a number of seeds."""

    def __init__(self, model, optimizer, function, seeds, scalar):
        self.model, self.function, self.seeds = model, function, seeds
        self.recurrent = [layer for layer in _all_layers(model) if isinstance(layer, keras.layers.RNN)]
        trainable = model.trainable_variables
        self.constraints = [variable.constraint for variable in trainable]
        self.shapes = [tuple(variable.shape) for variable in trainable]
        self.sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.starts = np.cumsum([0, *self.sizes[:-1]])
        owners = [layer.cell if isinstance(layer, keras.layers.RNN) else layer for layer in kernel_layers(model)]
        position = {id(variable): index for index, variable in enumerate(trainable)}
        frozen = {id(variable): index for index, variable in enumerate(model.non_trainable_variables)}
        self.frozen_first = frozen.get(id(owners[0].kernel))
        self.kernels = [position.get(id(owner.kernel), -1) for owner in owners]
        self.couples_samples = scalar or any(
            isinstance(part, (keras.layers.BatchNormalization, keras.layers.Lambda))
            or getattr(part, "activity_regularizer", None)
            or not isinstance(part, keras.Layer)  # an operation such as keras.ops.mean
            or not type(part).__module__.startswith("keras.")
            for part in [*_all_layers(model), *getattr(model, "operations", [])]
        )
        self.together = _is_elementwise(optimizer)
        shapes = [(seeds, sum(self.sizes))] if self.together else self.shapes
        self.weights = [keras.Variable(np.zeros(shape, "float32")) for shape in shapes]
        config = optimizer.get_config()
        self.clipping = {name: config[name] for name in _CLIPPING}
        if isinstance(config["learning_rate"], dict):  # a schedule, perhaps of a class that a notebook has defined
            config["learning_rate"] = optimizer._learning_rate
        self.optimizer = type(optimizer).from_config(config)
        if self.together:  # Keras clips where the step is made, after it has accumulated gradients
            self.optimizer._clip_gradients = lambda gradients: [self._clip(gradients[0])]
        else:
            for ours, theirs in zip(self.weights, trainable, strict=True):
                ours._path = theirs.path  # Muon chooses by path
        self.optimizer.build(self.weights)
        self.fresh_state = [np.asarray(variable).copy() for variable in self.optimizer.variables]
        self.epoch = tf.function(self._epoch, autograph=False, jit_compile=_xla_works())
        self.lock = threading.Lock()  # for calls of train from several threads: its variables start every group

    @contextlib.contextmanager
    def _unrolled(self):
        """Unroll time steps while tracing: neither vectorized_map nor XLA can differentiate a loop over them."""
        before = [layer.unroll for layer in self.recurrent]
        try:
            for layer in self.recurrent:
                layer.unroll = True
            yield
        finally:
            for layer, unroll in zip(self.recurrent, before, strict=True):
                layer.unroll = unroll

    def _matrix(self):
        """All weights as one tensor of shape (seeds, parameters)."""
        if self.together:
            return tf.convert_to_tensor(self.weights[0].value)
        return tf.concat([tf.reshape(variable.value, (1, -1)) for variable in self.weights], axis=1)

    @property
    def _variables(self):
        return [variable.value for variable in [*self.weights, *self.optimizer.variables]]

    def _assign(self, values):
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)

    def _split(self, vector):
        """Cut one seed's weights (parameters,) into the model's variables."""
        parts = tf.split(vector, self.sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def _backpropagate(self, arguments):
        """One seed, one batch: loss, gradient (parameters,), correct answers, new non-trainable variables."""
        vector, state, x, y, real = arguments
        with tf.GradientTape() as tape:
            tape.watch(vector)
            call = self.model.stateless_call(self._split(vector), state, x, training=True, return_losses=True)
            answer, state, penalties = call
            value = self.function(y, answer)
            if value.shape.rank:
                losses = tf.reduce_mean(tf.reshape(value, (x.shape[0], -1)), axis=1)
                value = tf.reduce_sum(losses * real) / tf.reduce_sum(real)
            value = tf.add_n([value, *penalties])
        if answer.shape[-1] == 1:
            correct = tf.cast(answer > 0.5, y.dtype) == y
        else:
            sparse = y.shape.rank < answer.shape.rank or y.shape[-1] == 1
            label = tf.reshape(y, answer.shape[:-1]) if sparse else tf.argmax(y, axis=-1)
            correct = tf.argmax(answer, axis=-1) == tf.cast(label, "int64")
        hits = tf.reduce_mean(tf.reshape(tf.cast(correct, "float32"), (x.shape[0], -1)), axis=1)
        return value, tape.gradient(value, vector), tf.reduce_sum(hits * real), state

    def _epoch(self, x, y, order, real, state):
        """Train on the batches order[step] (steps, seeds, samples); `real` is 0 for samples that only fill a batch.

        Returns the sums of loss, correct answers, gradients and |ΔW|, the non-trainable variables and the weights.
        """

        def train_step(step, sums, state):
            before, weights = self._matrix(), tf.repeat(real[step][None], self.seeds, axis=0)
            batch = before, state, tf.gather(x, order[step]), tf.gather(y, order[step]), weights
            value, gradient, hits, state = tf.vectorized_map(self._backpropagate, batch)
            self.optimizer.apply([gradient] if self.together else self._split(gradient[0]), self.weights)
            self._constrain()
            new = value * tf.reduce_sum(real[step]), hits, gradient, tf.abs(self._matrix() - before)
            return step + 1, [total + part for total, part in zip(sums, new, strict=True)], state

        per_seed, per_weight = tf.zeros(self.seeds), tf.zeros((self.seeds, sum(self.sizes)))
        start = 0, [per_seed, per_seed, per_weight, per_weight], state
        _, sums, state = tf.while_loop(lambda step, *_: step < order.shape[0], train_step, start)
        return sums, state, self._matrix()

    def _constrain(self):
        """Apply the variables' own constraints, such as MaxNorm, seed by seed."""
        if not any(self.constraints):
            return

        def constrain(vector):
            pairs = zip(self._split(vector), self.constraints, strict=True)
            return tf.concat([tf.reshape(rule(part) if rule else part, [-1]) for part, rule in pairs], axis=0)

        matrix = tf.vectorized_map(constrain, self._matrix())
        for variable, values in zip(self.weights, [matrix] if self.together else self._split(matrix[0]), strict=True):
            variable.assign(values)

    def _clip(self, gradient):
        """Clip seed by seed, as Keras does for one net; equation of Pascanu et al. 2013, section 3.2, for the norms."""
        if self.clipping["clipvalue"] is not None:
            return tf.clip_by_value(gradient, -self.clipping["clipvalue"], self.clipping["clipvalue"])
        if self.clipping["clipnorm"] is not None:
            parts = tf.split(gradient, self.sizes, axis=1)
            return tf.concat([_limit_norm(part, self.clipping["clipnorm"]) for part in parts], axis=1)
        if self.clipping["global_clipnorm"] is not None:
            norm = tf.norm(gradient, axis=1, keepdims=True)
            return _limit_norm(gradient, self.clipping["global_clipnorm"]) + (
                norm - norm
            )  # nan where the norm is inf, as in Keras
        return gradient

    def run(self, starts, x, y, orders, batch_size, optimizer, bar):
        """Train groups of seeds side by side, each in a thread; return records and final values, group by group."""
        groups = [self._group(start, optimizer) for start in starts]
        anyhow = np.zeros((self.seeds, len(x)), int)
        for group in groups:  # trace here, where Keras's and NumPy's settings are those of the caller
            for part, real in _batches(anyhow, batch_size, split=self.couples_samples):
                self._bind(group, x, y, part, real)
        stop = threading.Event()
        with ThreadPoolExecutor(len(groups)) as pool:
            futures = [
                pool.submit(self._train, group, x, y, order, batch_size, bar if group is groups[0] else None, stop)
                for group, order in zip(groups, orders, strict=True)
            ]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                stop.set()  # one group failed, or somebody pressed interrupt: end the others
            records = [future.result() for future in futures]
        finals = []
        for group, record in zip(groups, records, strict=True):
            if len(record["loss"]):  # without a step there is no average yet
                self._assign(group.variables)
                self.optimizer.finalize_variable_values(self.weights)
                group.variables = [tf.Variable(variable) for variable in self._variables]
            parts = np.split(self._flat(group), self.starts[1:], axis=1)
            weights = [part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]
            finals.append([*weights, *(np.asarray(values) for values in group.state)])
        return records, finals

    def _train(self, group, x, y, orders, batch_size, bar, stop):
        """Train one group of seeds, epoch by epoch, and record."""
        before = self._flat(group)
        records = {name: [] for name in ("loss", "accuracy", "kernel_gradient_norms", "update_ratios")}
        first = [self._first_kernel(before, group)]
        for order in orders:
            if stop.is_set():
                break
            totals = []
            for part, real in _batches(order, batch_size, split=self.couples_samples):
                sums, group.state, after = self._bind(group, x, y, part, real)(x, y, part, real, group.state)
                totals.append([np.asarray(values, "float64") for values in sums])
            loss, correct, gradient, distance = (sum(parts) for parts in zip(*totals, strict=True))
            steps = -(-order.shape[1] // batch_size)
            records["loss"].append(loss / order.shape[1])
            records["accuracy"].append(correct / order.shape[1])
            records["kernel_gradient_norms"].append(np.sqrt(self._per_kernel(np.square(gradient / steps))))
            with np.errstate(divide="ignore", invalid="ignore"):
                moved = self._per_kernel(distance / steps) / self._per_kernel(np.abs(before.astype("float64")))
            records["update_ratios"].append(moved)
            before = np.asarray(after)
            first.append(self._first_kernel(before, group))
            if bar:
                bar.update()
        empty = {name: np.zeros((0, self.seeds, len(self.kernels))) for name in records}
        empty["loss"] = empty["accuracy"] = np.zeros((0, self.seeds))
        record = {name: np.array(rows) if rows else empty[name] for name, rows in records.items()}
        return record | {"first_layer_weights": np.array(first, "float64")}

    def _group(self, start, optimizer):
        """Give a group of seeds its own variables: initial weights, and the optimizer's state before its first step."""
        trained = len(self.sizes)
        flat = np.concatenate([values.reshape(self.seeds, -1) for values in start[:trained]], axis=1)
        self._assign([*([flat] if self.together else [values[0] for values in start[:trained]]), *self.fresh_state])
        if not isinstance(optimizer.get_config()["learning_rate"], dict):
            self.optimizer.learning_rate = float(np.asarray(optimizer.learning_rate))
        variables = [tf.Variable(variable) for variable in self._variables]
        return _Group(variables, [tf.constant(values) for values in start[trained:]])

    def _bind(self, group, *arguments):
        """Return the compiled epoch, bound to a group's variables in place of the program's own."""
        shape = tuple(arguments[2].shape)
        if shape not in group.bound:
            with self._unrolled():
                bound = copy.copy(self.epoch.get_concrete_function(*arguments, group.state))
            pairs = zip(self._variables, group.variables, strict=True)
            handles = {id(ours.handle): theirs.handle for ours, theirs in pairs}
            bound.set_external_captures([handles.get(id(handle), handle) for handle in bound.captured_inputs])
            group.bound[shape] = bound
        return group.bound[shape]

    def _flat(self, group):
        """All weights of a group as an array of shape (seeds, parameters)."""
        weights = group.variables[: len(self.weights)]
        return np.concatenate([np.reshape(variable, (self.seeds, -1)) for variable in weights], axis=1)

    def _per_kernel(self, matrix):
        """Sum over the weights of every kernel; nan for a frozen one: shape (seeds, layers)."""
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.add.reduceat(matrix, self.starts, axis=1)
        return np.concatenate([sums, np.full((len(sums), 1), np.nan)], axis=1)[:, self.kernels]

    def _first_kernel(self, flat, group):
        index = self.kernels[0]
        if index < 0:
            return np.asarray(group.state[self.frozen_first])
        part = flat[:, self.starts[index] : self.starts[index] + self.sizes[index]]
        return part.reshape(-1, *self.shapes[index]).copy()  # a view would keep the whole matrix


@dataclasses.dataclass
class _Group:
    """Seeds that train side by side in one compiled program: what changes as they train."""

    variables: list
    state: list
    bound: dict = dataclasses.field(default_factory=dict)


def _is_elementwise(optimizer):
    """Tell whether an update treats every number alone, so that seeds can share one matrix; known of Keras's own."""
    return type(optimizer).__module__.startswith("keras.") and not isinstance(optimizer, _WHOLE_MATRIX)


def _groups(seeds, together):
    """Cut the indices of the seeds into groups of one size; those in one list train side by side.

    XLA runs a step of small nets on one core, so there is a group a core, of at least 8 seeds.
    """
    count = min(os.cpu_count() or 1, max(1, seeds // 8)) if together else seeds
    size = -(-seeds // count)
    groups = [np.minimum(np.arange(start, start + size), seeds - 1) for start in range(0, seeds, size)]
    return [groups] if together else [[group] for group in groups]


def _limit_norm(gradient, limit):
    norm = tf.norm(gradient, axis=1, keepdims=True)
    return gradient * limit / tf.maximum(norm, limit)


def _batches(order, batch_size, split):
    """Cut the samples' order (seeds, samples) into batches (steps, seeds, batch_size), and weigh their samples.

    A smaller last batch is filled up with samples of weight 0; or, where samples of a batch act on each other, as in
    batch normalization, kept apart.
    """
    seeds, samples = order.shape
    full, rest = divmod(samples, batch_size)
    if rest and split:
        parts = (order[:, : full * batch_size], batch_size), (order[:, full * batch_size :], rest)
        return [batch for part, size in parts if part.size for batch in _batches(part, size, split=False)]
    steps = -(-samples // batch_size)
    filled = np.concatenate([order, order[:, : steps * batch_size - samples]], axis=1)
    real = (np.arange(steps * batch_size) < samples).reshape(steps, batch_size).astype("float32")
    batches = filled.reshape(seeds, steps, batch_size).transpose(1, 0, 2)
    return [(tf.constant(batches, "int32"), tf.constant(real))]


def _orders(seeds, samples, epochs, shuffle):
    generators = [np.random.default_rng([seed, 1]) for seed in seeds]
    for _ in range(epochs):
        if shuffle:
            yield np.stack([generator.permutation(samples) for generator in generators])
        else:
            yield np.broadcast_to(np.arange(samples), (len(seeds), samples))


def get_optimizer(identifier):
    """Return a Keras optimizer, given by itself or by its name."""
    mend = "give a Keras optimizer such as keras.optimizers.SGD(0.1), or its name"
    if not isinstance(identifier, (str, keras.optimizers.Optimizer)):
        raise TypeError(f"optimizer is {identifier!r}; {mend}")
    try:
        return keras.optimizers.get(identifier)
    except ValueError:
        raise ValueError(f"optimizer is {identifier!r}, which Keras does not know; {mend}") from None


def _check_seeds(seeds):
    chosen = tuple(range(seeds)) if isinstance(seeds, (int, np.integer)) and not isinstance(seeds, bool) else seeds
    try:
        if any(isinstance(seed, (bool, np.bool)) for seed in chosen):
            raise TypeError
        chosen = tuple(operator.index(seed) for seed in chosen)
    except TypeError:
        raise TypeError(f"seeds is {seeds!r}; give a number of seeds, or a sequence of integers") from None
    if not chosen or min(chosen) < 0 or len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds is {seeds!r}; give at least one seed, none of them negative or twice")
    return chosen


def _all_layers(model):
    return list(model._flatten_layers())  # Keras has no public way to list nested layers


def _parts(model):
    """Describe a model roughly, by kind, activation and weights of its layers: enough to notice another one."""
    return [
        (type(layer), getattr(getattr(layer, "activation", None), "__name__", None), [w.shape for w in layer.weights])
        for layer in _all_layers(model)
    ]


def _variables(model):
    return [*model.trainable_variables, *model.non_trainable_variables]


def _initial_values(model, seeds):
    """Draw every variable's initial values for every seed: arrays (seeds, *shape), in the order of `_variables`."""
    if not model.trainable_variables:
        raise ValueError(f"The model {model.name!r} has nothing to train; leave a layer trainable")
    initializers = {}
    for layer in _all_layers(model):
        if getattr(layer, "stateful", False):
            raise ValueError(f"Layer {layer.name!r} is stateful: its batches depend on each other; set stateful=False")
        for variable in layer.trainable_variables:
            names = [variable.name, variable.name.removesuffix("_kernel")]
            for name in [*names, "depthwise"] if variable.name == "kernel" else names:
                if hasattr(layer, f"{name}_initializer"):
                    initializers[id(variable)] = layer, getattr(layer, f"{name}_initializer")
    values, numbers, recipes = [], {}, {}
    for variable in model.trainable_variables:
        if id(variable) not in initializers:
            raise ValueError(
                f"train cannot find the initializer of the weight {variable.path!r}, to draw it for every seed; let "
                f"its layer keep it as the attribute {variable.name}_initializer"
            )
        layer, initializer = initializers[id(variable)]
        initializer = keras.initializers.get(initializer) if isinstance(initializer, (str, dict)) else initializer
        config = initializer.get_config() if isinstance(initializer, keras.initializers.Initializer) else {}
        if config.get("seed") is not None:
            raise ValueError(
                f"The {variable.name} initializer of layer {layer.name!r} carries the seed {config['seed']} and would "
                "give all seeds the same weights; leave the seed out (build_mlp: seed=None), train sets one for each"
            )
        if "seed" not in config and not _is_constant(initializer, variable):
            raise ValueError(
                f"The {variable.name} initializer of layer {layer.name!r} draws at random but takes no seed; give it "
                "an argument seed and return that in get_config, as Keras's own do"
            )
        if "seed" not in config:  # a constant, or a rule of the layer's own, such as LSTM's forget bias
            values.append(np.repeat(np.asarray(variable)[None], len(seeds), axis=0))
            continue
        # An initializer that layers share gives them the same weights, as it does in Keras.
        number = numbers.setdefault(id(initializer), len(numbers))
        recipes[len(values)] = type(initializer), json.dumps({**config, "seed": 0}), tuple(variable.shape), number
        values.append(None)
    for position, drawn in zip(recipes, _draw(tuple(recipes.values()), seeds), strict=True):
        variable = model.trainable_variables[position]
        layer, _ = initializers[id(variable)]
        if getattr(layer, "unit_forget_bias", False) and variable.name == "bias":
            drawn[:, layer.units : 2 * layer.units] = 1
        values[position] = drawn
    for number, variable in enumerate(model.non_trainable_variables):
        repeated = np.repeat(np.asarray(variable)[None], len(seeds), axis=0)
        if "seed_generator" in variable.path:
            repeated[:, 0] = [np.random.SeedSequence([seed, number, 1]).generate_state(1)[0] for seed in seeds]
        values.append(repeated)
    return values


def _draw(recipes, seeds):
    """Draw initial values for every recipe (class, configuration, shape) and number: arrays (seeds, *shape)."""
    states = [[np.random.SeedSequence([seed, number]).generate_state(1)[0] for seed in seeds] for *_, number in recipes]
    kinds = [recipe[:-1] for recipe in recipes]
    if not recipes or not all(kind.__module__.startswith("keras.") for kind, _, _ in kinds):
        return [
            np.stack([kind.from_config(json.loads(config) | {"seed": int(state)})(shape) for state in column])
            for (kind, config, shape), column in zip(kinds, states, strict=True)
        ]
    # Layers of one kind share a traced draw: as many rows of seeds as the most common kind needs, for all of them. That
    # would waste memory on large kernels, so those nets trace every draw.
    if max(np.prod(shape) for _, _, shape in kinds) > 10_000:
        kinds = [(kind, config, shape, index) for index, (kind, config, shape) in enumerate(kinds)]
    columns = {kind: [column for k, column in zip(kinds, states, strict=True) if k == kind] for kind in kinds}
    rows = max(map(len, columns.values()))
    padded = [np.concatenate([*column, *column[-1:] * (rows - len(column))]) for column in columns.values()]
    drawn = _drawing(tuple(columns))(tf.constant(np.transpose(padded), "int64"))
    parts = {kind: iter(np.split(values.numpy(), rows)) for kind, values in zip(columns, drawn, strict=True)}
    return [next(parts[kind]) for kind in kinds]


@functools.lru_cache(maxsize=64)
def _drawing(kinds):
    """Trace Keras's initializers once, for any number of seeds; seed by seed, drawing takes longer than an epoch."""
    initializers = [kind.from_config(json.loads(config)) for kind, config, *_ in kinds]

    def draw(states):
        for initializer, state in zip(initializers, tf.unstack(states), strict=True):
            initializer.seed = _TracedSeed(state)
        return tuple(make(kind[2]) for make, kind in zip(initializers, kinds, strict=True))

    def draw_all(states):
        return tf.map_fn(draw, states, fn_output_signature=("float32",) * len(kinds))

    return tf.function(draw_all, input_signature=[tf.TensorSpec((None, len(kinds)), "int64")], autograph=False)


class _TracedSeed(keras.random.SeedGenerator):
    """Hand a traced seed to Keras, which takes Python integers and seed generators only."""

    def __init__(self, seed):
        self.value = seed

    def next(self, ordered=True):
        return tf.stack([self.value, 0])


def _is_constant(initializer, variable):
    """Tell whether an initializer gives the same values twice."""
    one, two = (np.asarray(initializer(tuple(variable.shape), dtype=variable.dtype)) for _ in range(2))
    return np.array_equal(one, two)


class _Key:
    """What a compiled program depends on, and the objects to make one; not initial weights, not the learning rate."""

    def __init__(self, model, optimizer, loss, function, seeds, scalar):
        self.make = functools.partial(_Program, model, optimizer, function, seeds, scalar)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is unsafe to save a lambda: nothing is saved here
            recipe = _strip(keras.optimizers.serialize(optimizer), {})
            architecture = _architecture(model)
        rate = recipe["config"]["learning_rate"]
        if not isinstance(rate, dict):
            recipe["config"]["learning_rate"] = None
        elif _is_foreign(rate):
            recipe["config"]["learning_rate"] = id(optimizer._learning_rate)
        # Muon chooses by the variables' paths.
        paths = [v.path for v in model.trainable_variables] if not _is_elementwise(optimizer) else []
        recipe = json.dumps([recipe, paths], sort_keys=True, default=repr)
        home = getattr(loss, "__module__", "keras.")  # what others wrote may have changed since, as with layers
        loss = loss if home.startswith("keras.") else object()
        self.identity = (architecture, type(optimizer), recipe, loss, seeds)

    def __eq__(self, other):
        return self.identity == other.identity

    def __hash__(self):
        return hash(self.identity)


@functools.lru_cache(maxsize=16)
def _program(key):
    return key.make()


def _architecture(model):
    """Describe a model by its configuration without names and initializers; or by itself, where that is not enough.

    It is not enough for what others than Keras wrote, since a class or function of the same name may have been edited
    since; nor for a layer that was adapted to data.
    """
    layers = _all_layers(model)
    foreign = any(not type(layer).__module__.startswith("keras.") for layer in layers)
    if foreign or any(isinstance(layer, keras.layers.Normalization) for layer in layers):
        return id(model)
    try:
        config = _strip(keras.saving.serialize_keras_object(model), {layer.name: i for i, layer in enumerate(layers)})
        policies = [layer.dtype_policy.name for layer in layers]
        return id(model) if _is_foreign(config) else json.dumps([config, policies], sort_keys=True)
    except (TypeError, ValueError, NotImplementedError):
        return id(model)


def _is_foreign(config):
    if isinstance(config, dict):
        module = config.get("module", "keras")
        lambdas = config.get("class_name") == "__lambda__" or set(config) == {"value"}  # their code, not their globals
        return lambdas or not (module or "").startswith("keras") or any(_is_foreign(value) for value in config.values())
    return isinstance(config, list) and any(_is_foreign(value) for value in config)


def _strip(config, numbers):
    """Leave out names, seeds and initializers, which a compiled program does not depend on; number the layers."""
    if isinstance(config, dict):
        kept = {key: value for key, value in config.items() if key not in ("name", "seed", "compile_config")}
        return {
            key: _number(value, numbers)
            if key in ("keras_history", "input_layers", "output_layers")
            else _strip(value, numbers)
            for key, value in kept.items()
            if not key.endswith("_initializer")
        }
    return [_strip(value, numbers) for value in config] if isinstance(config, (list, tuple)) else config


def _number(value, numbers):
    if isinstance(value, (list, tuple)):
        return [_number(part, numbers) for part in value]
    return numbers.get(value, value) if isinstance(value, str) else value


@functools.cache
def _xla_works():
    """Tell whether TensorFlow can compile here; some platforms, such as Windows, ship without the compiler."""
    try:
        tf.function(lambda: tf.zeros(()) + 1, autograph=False, jit_compile=True)()
    except (tf.errors.OpError, ValueError):
        return False
    return True
