"""Training many seeds of one network at once, in one program.

All seeds' weights lie in one matrix of shape (seeds, parameters). One step gathers a batch per seed, runs the model on
all seeds side by side (`tf.vectorized_map`), and lets the Keras optimizer update the matrix, which is valid because
the updates of the optimizers that `train` takes are elementwise. An epoch of such steps is one program, compiled where
much is to be done, and kept for the next call on the same architecture. Many seeds are cut into groups, one a core.
"""

import functools
import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from vgp_lib.data import Data
from vgp_lib.engine import _arguments, _keras

# Their updates treat every number alone, read in Keras 3.15; only so can seeds share one matrix.
_ELEMENTWISE = ("SGD", "Adam", "AdamW", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Ftrl", "Lion")
# To compile with XLA takes a second or two. It pays from about so many updates of single weights on: measured for nets
# of 10 to 100 units, 10 to 30 layers, 32 to 256 seeds, 100 to 1,000 epochs.
_MANY_UPDATES = 3e8
_CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


@dataclass(frozen=True, eq=False)
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
    _build: object
    _weights: list
    _architecture: tuple

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
        if _architecture(model) != self._architecture:
            message = "build makes another network now than it made for train; if it reads a variable of a loop, "
            raise ValueError(message + "bind it, as in functools.partial(vgp.build_mlp, activation=activation)")
        variables = model.trainable_variables + model.non_trainable_variables
        for variable, values in zip(variables, self._weights, strict=True):
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
    build, data, optimizer, epochs=100, batch_size=32, seeds=32, loss="binary_crossentropy", progress=True, shuffle=True
) -> Runs:
    """Train one network from many seeds at once, each with its own initial weights and its own order of the samples.

    Each seed starts with the weights that `build_mlp` or `build_rnn` draw for it and follows what `model.fit` would do,
    within float32 rounding, whatever other seeds are asked for; nan stays in its seed. One exception: where a token
    repeats in a batch, Keras's adaptive optimizers square an Embedding's gradient in parts, `train` as a whole.

    Args:
        build: function without arguments that builds a `keras.Model` with one input and one output; called for the
            structure and the initializers. Its random initializers must not carry seeds of their own.
        data: what `load_moons` gives, of which the training part is used, or a pair (x, y).
        optimizer: one of Keras's own whose updates are elementwise, from SGD to Lion, or its name; not touched.
        epochs: at least 0; with 0, `Runs.model` gives the initial networks.
        batch_size: samples a step; the last batch of an epoch may be smaller, as in `fit`.
        seeds: how many seeds, 0, 1, 2, …; or the seeds themselves, a sequence of integers.
        loss: a Keras name or object, or a function of (y_true, y_pred); averaged over the samples.
        progress: show a bar once the work has taken two seconds; or what shows it, called as `tqdm.tqdm` is.
        shuffle: draw a new order of the samples for every epoch and seed.

    Returns `Runs` with float64 arrays:
        loss, accuracy: (epochs, seeds), means over the epoch's samples, each before its own step, as in `fit`.
        kernel_gradient_norms: (epochs, seeds, layers), L2 norm of the mean of the epoch's batch gradients, before
            clipping; each is that at the weights of its step, a point that moves along the epoch.
        update_ratios: (epochs, seeds, layers), mean |ΔW| of the epoch's steps over the mean |W| before the epoch.
        first_layer_weights: (epochs + 1, seeds, *kernel shape).
        learning_rate: of the optimizer; of the first step, if it follows a schedule.

    Raises `ValueError` or `TypeError`, before any training, if an argument is out of range or `train` could not follow
    `fit`: other optimizers, loss scaling, averaged weights, clipped accumulated gradients, exclusion from weight decay,
    constraints, types but float32, stateful layers, other cells, masks at the output, unknown initializers.
    """
    optimizer, epochs = _arguments.optimizer(optimizer), _arguments.integer("epochs", epochs)
    model, x, y, seeds = _check(build, data, optimizer, seeds)
    batch_size = min(_arguments.integer("batch_size", batch_size, at_least=1), len(x))
    layers, prediction = _keras.kernel_layers(model, x), model(x)
    _arguments.check_reduction(loss)
    function, y = _arguments.loss_and_targets(loss, y, prediction)
    variables = model.trainable_variables + model.non_trainable_variables
    position = {id(variable): index for index, variable in enumerate(variables)}
    kernels = np.array([position[id(_keras.kernel_owner(layer).kernel)] for layer in layers])
    values, schedule = _initial_values(model, seeds), _keras.schedule_of(optimizer)
    rate = float(np.asarray(schedule(0) if schedule else optimizer.learning_rate))
    records = [np.full((epochs, len(seeds), *rest), np.nan) for rest in [(), (), (len(layers),), (len(layers),)]]
    first = np.repeat(values[kernels[0]][None].astype("float64"), epochs + 1, axis=0)
    runs = Runs(seeds, rate, [layer.name for layer in layers], *records, first, build, values, _architecture(model))
    if epochs:
        loss, size = keras.losses.get(loss), len(_groups(len(seeds))[0])
        coupled = function(y, prediction).shape.rank == 0 or any(map(_keras.couples, [loss, *_keras.all_layers(model)]))
        with_xla = sum(map(np.size, values)) * epochs * len(x) / batch_size >= _MANY_UPDATES and _xla_works()
        key = _key(runs._architecture, optimizer, loss, size, with_xla)
        kept = _programs(key) if key else []
        if not kept:
            kept.append(_Program(model, optimizer, function, kernels, coupled, size, with_xla))
        silent = {} if progress else {"disable": True}  # given only then, so that TQDM_DISABLE works, as in CI
        bars = progress if callable(progress) else tqdm
        with bars(total=epochs, unit="epoch", delay=2, leave=False, **silent) as bar:
            kept[0].run(runs, tf.constant(x), y, batch_size, shuffle, bar)
    return runs


def _check(build, data, optimizer, seeds):
    """Return model, x, y and seeds; raise `ValueError` or `TypeError` if `train` could not follow `fit` with them."""
    listed = seeds if np.iterable(seeds) else range(_arguments.integer("seeds", seeds, at_least=1))
    chosen = tuple(_arguments.integer("one of seeds", seed) for seed in listed)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds is {seeds!r}; give a number of seeds, or different integers of at least 0")
    if not callable(build) or isinstance(build, keras.Model):
        raise TypeError(f"build is a {type(build).__name__}; give a function without arguments that builds a model")
    if not isinstance(data, Data) and (not isinstance(data, (tuple, list)) or len(data) != 2):
        raise TypeError(f"data is a {type(data).__name__}; give what load_moons gives, or a pair (x, y)")
    model, kind = build(), type(optimizer)
    _keras.layers_with_kernel(model)  # refuses what is no model, is not built or has several inputs
    layers, clips = _keras.all_layers(model), any(getattr(optimizer, name) for name in _CLIPPING)
    known = kind in [getattr(keras.optimizers, name) for name in _ELEMENTWISE]
    rule = _keras.schedule_of(optimizer)
    unknown = rule and not isinstance(rule, keras.optimizers.schedules.LearningRateSchedule)
    types = {layer.name: {layer.compute_dtype, layer.variable_dtype} - {"float32"} for layer in layers}
    others = [name for name, found in types.items() if "float" in str(found)]
    spectral = [layer.name for layer in layers if isinstance(layer, keras.layers.SpectralNormalization)]
    stateful = [layer.name for layer in layers if getattr(layer, "stateful", False)]
    cells = [layer.name for layer in layers if _keras.is_other_recurrent(layer)]
    limited = [variable.path for variable in model.trainable_variables if variable.constraint]
    reasons = [
        (not known, f"optimizer is {kind.__name__}; give one with elementwise updates: {', '.join(_ELEMENTWISE)}"),
        (optimizer.loss_scale_factor, "optimizer has a loss_scale_factor, which is for float16; leave it out"),
        (optimizer.use_ema, "optimizer averages the weights, train does not; leave use_ema out"),
        (clips and optimizer.gradient_accumulation_steps, "optimizer clips and accumulates gradients; choose one"),
        (_keras.excludes_from_weight_decay(optimizer), "optimizer excludes variables from weight decay; give it none"),
        (unknown, "optimizer takes its learning rate from a function; give a number, or a Keras schedule"),
        (others, f"Layers {others} do not compute in float32, as train does; give them dtype='float32'"),
        (spectral, f"Layers {spectral} are SpectralNormalization, which train cannot follow; take them out"),
        (stateful, f"Layers {stateful} are stateful: their batches depend on each other; set stateful=False"),
        (cells, f"Layers {cells} have cells that train cannot follow; use SimpleRNN, LSTM or GRU, stacked as layers"),
        (limited, f"The weights {limited} have constraints, which train does not apply; leave them out"),
        (not model.trainable_variables, f"The model {model.name!r} has nothing to train; leave a layer trainable"),
    ]
    for reason, message in reasons:
        if reason:
            raise ValueError(message)
    return model, *_arguments.batch(*data[:2]), chosen


class _Program:
    """One architecture, one optimizer and one loss, to be traced, and perhaps compiled, for a number of seeds."""

    def __init__(self, model, optimizer, function, kernels, coupled, seeds, with_xla):
        self.model, _ = _keras.twin(model)  # what somebody does to the model later must not reach the program
        for layer in _keras.all_layers(self.model):
            if isinstance(layer, keras.layers.RNN):  # neither vectorized_map nor XLA can differentiate a loop over time
                _keras.override(layer, unroll=True)
        self.function, self.kernels, self.coupled, self.seeds = function, kernels, coupled, seeds
        self.trained, self.others = model.trainable_variables, model.non_trainable_variables
        self.shapes = [tuple(variable.shape) for variable in self.trained]
        self.sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.starts = np.cumsum([0, *self.sizes])
        self.columns = np.flatnonzero(kernels < len(self.sizes))  # those not frozen
        self.clipping = {name: getattr(optimizer, name) for name in _CLIPPING}
        changes = {name: None for name in _CLIPPING}  # Keras would clip all seeds as one net
        changes |= {} if _keras.schedule_of(optimizer) else {"learning_rate": 0.0}  # every run brings its own
        self.optimizer = _keras.copy_optimizer(optimizer, **changes)
        self.weights = keras.Variable(np.zeros((seeds, sum(self.sizes))), dtype="float32")
        self.optimizer.build([self.weights])
        self.variables = [variable.value for variable in (self.weights, *self.optimizer.variables)]
        self.epoch = tf.function(self._epoch, autograph=False, jit_compile=with_xla)

    def run(self, runs, x, y, batch_size, shuffle, bar):
        """Train the seeds of `runs` in groups side by side, each in a thread; fill its records and its weights."""
        groups, batches, stop = _groups(len(runs.seeds)), _batches(len(x), batch_size, self.coupled), threading.Event()
        state = [tf.constant(values[groups[0]]) for values in runs._weights[len(self.sizes) :]]
        compiled = []
        with _keras.quiet_tracing():  # trace here, where Keras's and NumPy's settings are those of the caller
            for places, real in batches:
                order = tf.TensorSpec((len(places), self.seeds, places.shape[1]), "int32")
                compiled.append(self.epoch.get_concrete_function(x, y, order, real, state))
        with ThreadPoolExecutor(len(groups)) as pool:
            tasks = zip(groups, [bar, *[None] * (len(groups) - 1)], strict=True)
            futures = [pool.submit(self._train, runs, *task, x, y, batches, compiled, shuffle, stop) for task in tasks]
            try:
                for future in as_completed(futures):
                    future.result()
            finally:
                stop.set()  # one group failed, or somebody pressed interrupt: end the others

    def _train(self, runs, group, bar, x, y, batches, compiled, shuffle, stop):
        """Train one group of seeds, epoch by epoch, and fill its part of `runs`."""
        values, samples, first = [values[group] for values in runs._weights], len(x), self.kernels[0]
        flat = np.concatenate([part.reshape(self.seeds, -1) for part in values[: len(self.sizes)]], axis=1)
        state = [tf.constant(part) for part in values[len(self.sizes) :]]
        rate = self.optimizer.learning_rate  # its variable, if it follows no schedule
        start = [flat, *(runs.learning_rate if ours is rate else ours.numpy() for ours in self.optimizer.variables)]
        variables = [tf.Variable(part, dtype=ours.dtype) for part, ours in zip(start, self.variables, strict=True)]
        compiled = [_keras.bound(function, self.variables, variables) for function in compiled]
        generators = [np.random.default_rng([runs.seeds[index], 1]) for index in group]
        for epoch in range(len(runs.loss)):
            if stop.is_set():
                return
            order = np.stack([each.permutation(samples) if shuffle else np.arange(samples) for each in generators])
            totals = []
            for function, (places, real) in zip(compiled, batches, strict=True):
                part = tf.constant(order[:, places].transpose(1, 0, 2), "int32")
                sums, state, after = function(x, y, part, real, state)
                totals.append([len(places), *(np.asarray(each, "float64") for each in sums)])
            steps, loss, correct, gradient, distance = map(sum, zip(*totals, strict=True))
            runs.loss[epoch, group], runs.accuracy[epoch, group] = loss / samples, correct / samples
            with np.errstate(all="ignore"):  # nan and inf are recorded as they are
                parts = np.stack([np.square(gradient / steps), distance / steps, np.abs(flat.astype("float64"))])
                squares, moved, size = np.add.reduceat(parts, self.starts[:-1], axis=2)[..., self.kernels[self.columns]]
                norms, ratios = np.sqrt(squares), moved / size
            where = np.ix_(group, self.columns)
            runs.kernel_gradient_norms[epoch][where], runs.update_ratios[epoch][where] = norms, ratios
            flat = after.numpy()
            if first < len(self.sizes):  # else it is frozen
                kernel = flat[:, self.starts[first] : self.starts[first + 1]]
                runs.first_layer_weights[epoch + 1, group] = kernel.reshape(values[first].shape)
            if bar is not None:
                bar.update()
        for whole, part in zip(runs._weights, [*np.split(flat, self.starts[1:-1], axis=1), *state], strict=True):
            whole[group] = np.reshape(part, (self.seeds, *whole.shape[1:]))

    def _epoch(self, x, y, order, real, state):
        """Train on the batches order[step] (steps, seeds, samples); `real` is 0 for samples that only fill a batch."""

        def train_step(step, sums, state):
            before, weights = tf.convert_to_tensor(self.weights.value), tf.repeat(real[step][None], self.seeds, axis=0)
            batch = before, state, tf.gather(x, order[step]), tf.gather(y, order[step]), weights
            value, gradient, hits, state = tf.vectorized_map(self._backpropagate, batch)
            self.optimizer.apply([self._clip(gradient)], [self.weights])
            new = value * tf.reduce_sum(real[step]), hits, gradient, tf.abs(self.weights.value - before)
            return step + 1, [total + part for total, part in zip(sums, new, strict=True)], state

        per_seed, per_weight = tf.zeros(self.seeds), tf.zeros((self.seeds, sum(self.sizes)))
        start = 0, [per_seed, per_seed, per_weight, per_weight], state
        # Sums of loss, correct answers, gradients and |ΔW|; and the non-trainable variables.
        _, sums, state = tf.while_loop(lambda step, *_: step < order.shape[0], train_step, start)
        return sums, state, tf.convert_to_tensor(self.weights.value)

    def _backpropagate(self, arguments):
        """One seed, one batch: loss, gradient (parameters,), correct answers, new non-trainable variables."""
        vector, state, x, y, real = arguments
        with tf.GradientTape() as tape:
            tape.watch(vector)
            weights = map(tf.reshape, tf.split(vector, self.sizes), self.shapes)
            # Like stateless_call, which cannot call a model whose call takes no argument `training`.
            values = list(zip([*self.trained, *self.others], [*weights, *state], strict=True))
            with keras.StatelessScope(state_mapping=values, collect_losses=True) as scope:
                prediction, penalties = self.model(x, training=True), self.model.losses
            value = self.function(y, prediction)
            if value.shape.rank:
                losses = tf.reduce_mean(tf.reshape(value, (x.shape[0], -1)), axis=1)
                value = tf.reduce_sum(losses * real) / tf.reduce_sum(real)
            value = tf.add_n([value, *penalties])
        sparse = y.shape.rank < prediction.shape.rank or y.shape[-1] == 1
        kind = "binary" if prediction.shape[-1] == 1 else "sparse_categorical" if sparse else "categorical"
        hits = getattr(keras.metrics, f"{kind}_accuracy")(y, prediction)  # those that fit takes for "accuracy"
        hits = tf.reduce_mean(tf.reshape(hits, (x.shape[0], -1)), axis=1)
        state = [scope.get_current_value(variable) for variable in self.others]
        return value, tape.gradient(value, vector), tf.reduce_sum(hits * real), state

    def _clip(self, gradient):
        """Clip seed by seed, as Keras does for one net; equation of Pascanu et al. 2013, section 3.2, for the norms."""
        if limit := self.clipping["clipvalue"]:
            return tf.clip_by_value(gradient, -limit, limit)
        if limit := self.clipping["clipnorm"]:
            parts = tf.split(gradient, self.sizes, axis=1)
            return tf.concat([tf.clip_by_norm(part, limit, axes=[1]) for part in parts], axis=1)
        if limit := self.clipping["global_clipnorm"]:
            norm = tf.norm(gradient, axis=1, keepdims=True)
            return tf.clip_by_norm(gradient, limit, axes=[1]) + (norm - norm)  # nan where the norm is inf, as in Keras
        return gradient


def _groups(seeds):
    """Cut the seeds' indices into groups of one size, the last one filled up: one a core, for XLA uses only one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    size = -(-seeds // min(cores, max(1, seeds // 8)))
    return [np.minimum(np.arange(start, start + size), seeds - 1) for start in range(0, seeds, size)]


def _batches(samples, batch_size, split):
    """Cut an epoch into batches: pairs of places in the order of the samples (steps, batch_size), and of weights."""
    # A smaller last batch is filled up with samples of weight 0; or kept apart, where samples act on each other.
    rest, batches = samples % batch_size, []
    for part in np.split(np.arange(samples), [samples - rest] if split and rest else []):
        shape = -(-len(part) // batch_size), min(batch_size, len(part))
        real = np.arange(np.prod(shape)).reshape(shape) < len(part)
        batches.append((np.resize(part, shape), tf.constant(real.astype("float32"))))
    return batches


def _initial_values(model, seeds):
    """Draw every variable's initial values for every seed: arrays (seeds, *shape), trainable variables first."""
    layers, numbers, trained = _keras.all_layers(model), {}, model.trainable_variables
    variables = trained + model.non_trainable_variables
    values = [np.repeat(np.asarray(variable)[None], len(seeds), axis=0) for variable in variables]
    owners = {id(variable): layer for layer in layers for variable in layer.trainable_variables}  # the innermost
    drawings, chosen = {}, {}  # of a Keras initializer and a shape; by variable: which of them, and its states
    forgetful = []
    for index, variable in enumerate(trained):
        layer, shape = owners[id(variable)], tuple(variable.shape)
        if initializer := _initializer(layer, variable):
            # As build_mlp and build_rnn do. An initializer that layers share gives them the same, as in Keras.
            number, _ = numbers.setdefault(id(initializer), (len(numbers), initializer))
            states = [int(np.random.SeedSequence(seed).generate_state(number + 1)[number]) for seed in seeds]
            kind, config = type(initializer), initializer.get_config() | {"seed": 0}
            if _keras.is_keras(kind):
                drawing = kind, tuple(config.items()), shape
                chosen[index] = drawings.setdefault(drawing, len(drawings)), tf.constant(states, "int64")
            else:
                values[index] = np.stack([kind.from_config(config | {"seed": state})(shape) for state in states])
            if getattr(layer, "unit_forget_bias", False) and variable.name == "bias":
                forgetful.append((index, layer.units))
    for index, (number, states) in chosen.items():
        values[index] = _drawing(tuple(drawings))(states)[number].numpy()
    for index, units in forgetful:
        values[index][:, units : 2 * units] = 1
    parts = [part for layer in layers for part in vars(layer).values()]
    parts += [part for whole in parts if isinstance(whole, list) for part in whole]
    generators = {id(part.state) for part in parts if isinstance(part, keras.random.SeedGenerator)}  # of dropout
    for number, variable in enumerate(model.non_trainable_variables):
        if id(variable) in generators:
            states = [np.random.SeedSequence([seed, number, 1]).generate_state(1)[0] for seed in seeds]
            values[len(trained) + number][:, 0] = states
    return values


def _initializer(layer, variable):
    """Return the random initializer of a weight, or None if it is constant; raise `ValueError` if it takes no seed."""
    names = variable.name, variable.name.removesuffix("_kernel"), "depthwise"
    kept = [getattr(layer, f"{name}_initializer", None) for name in names]
    initializer = keras.initializers.get(next((each for each in kept if each is not None), None))
    what = f"The {variable.name} initializer of layer {layer.name!r}"
    if initializer is None:
        raise ValueError(f"{what} is not known; let the layer keep it as the attribute {variable.name}_initializer")
    config = initializer.get_config() if isinstance(initializer, keras.initializers.Initializer) else {}
    if (seed := config.get("seed")) is not None:
        raise ValueError(f"{what} has the seed {seed}: all runs would start alike; leave it out (build_mlp: seed=None)")
    if "seed" not in config and not _keras.is_keras(initializer):
        one, two = (np.asarray(initializer(tuple(variable.shape), dtype=variable.dtype)) for _ in range(2))
        if not np.array_equal(one, two):
            raise ValueError(f"{what} draws at random; give it an argument seed, and return that in get_config")
    return initializer if "seed" in config else None


@functools.lru_cache(maxsize=64)
def _drawing(drawings):
    """Trace initializers, for any number of states: to draw one by one in Python takes a quarter of a warm call.

    All of a net together, and what is not needed thrown away: to trace each on its own takes twice as long.
    """
    initializers = [(kind.from_config(dict(config)), shape) for kind, config, shape in drawings]

    def draw(state):
        for initializer, _ in initializers:
            initializer.seed = _keras.TracedSeed(state)
        return [initializer(shape, dtype="float32") for initializer, shape in initializers]

    types = ["float32"] * len(initializers)
    drawing = tf.function(lambda states: tf.map_fn(draw, states, fn_output_signature=types), autograph=False)
    return drawing.get_concrete_function(tf.TensorSpec((None,), "int64"))


@functools.lru_cache(maxsize=16)
def _programs(key):
    return []  # to hold the program of this key, once it is made


def _key(architecture, optimizer, loss, seeds, with_xla):
    """Describe what a program depends on, but for a constant learning rate; None if not all of it is Keras's own."""
    schedule = _keras.schedule_of(optimizer)
    if architecture[1] is None or _keras.is_foreign(loss) or _keras.is_foreign(schedule or loss):
        return None
    rule = optimizer.get_config() | {"name": None} | ({} if schedule else {"learning_rate": None})
    # The attributes of a loss, because its configuration may lack something, such as the delta of Huber.
    return architecture, type(optimizer), repr(rule), type(loss), repr(loss), repr(vars(loss)), seeds, with_xla


def _architecture(model):
    """Describe a model but for its weights' values: by their shapes, and by a text, or None if that is not enough."""
    layers = _keras.all_layers(model)
    shapes = tuple((tuple(variable.shape), variable.trainable) for variable in model.variables)
    # Somebody's class or function may have been edited since; what a layer has adapted to data is nowhere in a text.
    if any(_keras.is_foreign(layer) or hasattr(layer, "adapt") for layer in layers):
        return shapes, None
    text = json.dumps(model.get_config(), default=repr)
    for number, layer in enumerate(layers):  # Keras counts their names up, from model to model
        text = text.replace(f'["{layer.name}", ', f"[{number}, ")
    other = re.compile("name|seed|.*_initializer").fullmatch
    return shapes, str(json.loads(text, object_pairs_hook=lambda pairs: [pair for pair in pairs if not other(pair[0])]))


@functools.cache
def _xla_works():
    """Tell whether TensorFlow can compile here; some platforms, such as Windows, ship without the compiler."""
    try:
        tf.function(lambda: tf.zeros(()) + 1, autograph=False, jit_compile=True)()
    except (tf.errors.OpError, ValueError):
        return False
    return True
