"""A training on a copy: the steps that `fit` would take, on as many samples as there is time and memory for."""

import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from vgp_lib.engine import _arguments, _keras
from vgp_lib.engine._backpropagation import Backpropagation

STEPS, FEW_STEPS, _LEAST_STEPS = 300, 50, 2  # as many full-batch steps as a training of the course
SAMPLES, _FEW_SAMPLES = 256, 16
_WORK, _CALLS = 8e9, 60  # a small net has fewer multiplications in all its steps, and layers (times time steps): 1 s
_SECONDS = 0.5  # for one look at the layers of any other net, and at least for its steps
_AS_LONG = 1.0  # as the tracing took may all steps take: a slow machine is slow at both, and takes as many steps
_HOPELESS = 10  # seconds of a first step, traced, after which no more are timed
_BYTES = 1e8  # for the outputs of all layers; what is made of them takes several times as much
LEARNED = 0.85  # a net has learned from x if its loss is below this share of what its shuffled answers would cost


def first_look(model, x, y, loss):
    """Return evenly spaced samples, their `Backpropagation`, and whether the net is small.

    Of a small net they are 256, if there are so many; of any other as many as memory and time allow, by a look at the
    first 16 of them.
    """
    flat = x.ndim == 2 and all(isinstance(layer, keras.layers.Dense) for layer in _keras.layers_with_kernel(model))
    if flat and model.count_params() * SAMPLES * STEPS <= _WORK:
        x, y = _evenly(SAMPLES, x, y)
        return x, y, Backpropagation(model, x, y, loss, slopes=False), True
    few = _evenly(_FEW_SAMPLES, x, y)
    started = time.perf_counter()
    run = Backpropagation(model, *few, loss, slopes=False)
    seconds = (time.perf_counter() - started) / len(few[0])
    small, size = _size(run, min(len(x), SAMPLES))
    affordable = SAMPLES if small else int(min(_BYTES / size, _SECONDS / seconds))
    if affordable <= len(few[0]) or len(x) <= len(few[0]):
        return *few, run, small
    x, y = _evenly(min(affordable, SAMPLES), x, y)
    return x, y, Backpropagation(model, x, y, loss, slopes=False), small


def _size(run, count):
    """Tell whether a net is small, and how many bytes the outputs of its layers take per sample."""
    work = calls = size = 0
    for probe in run.probes:
        for z in probe.outputs:
            positions = int(np.prod(z.shape[1:-1]))
            # A weight is used once per position or time step; a convolution takes about four times as long for it.
            dense = len(z.shape) == 2 or isinstance(probe.layer, (keras.layers.Dense, keras.layers.RNN))
            work += probe.layer.count_params() * positions * (1 if dense else 4)
            calls += positions if isinstance(probe.layer, keras.layers.RNN) else 1
            size += z.dtype.size * int(np.prod(z.shape[1:]))
    return work * count * STEPS <= _WORK and calls <= _CALLS and size * count <= _BYTES, size


def _evenly(count, *arrays):
    chosen = np.linspace(0, len(arrays[0]) - 1, min(len(arrays[0]), count)).astype(int)
    return [array[chosen] for array in arrays]


class Rehearsal:
    """A model with its optimizer and its loss, to be trained on copies of its variables; traced once."""

    def __init__(self, model, x, y, optimizer, loss, steps=None):
        self._variables, run = _keras.as_function(model)
        self._run = _keras.traced(run) if _keras.loops_over_time(model) else run
        self._x = tf.convert_to_tensor(x)
        answer = self._run(self._variables, self._x)[0]
        self.answer_shape, self.stride = tuple(answer.shape[1:]), 1  # every so many of the samples are taken
        self._loss, self._y = _arguments.loss_and_targets(loss, y, answer)
        self._copies = [
            keras.Variable(v.numpy(), dtype=v.dtype, name=v.name, trainable=v.trainable) for v in self._variables
        ]
        for ours, theirs in zip(self._copies, self._variables, strict=True):
            ours.constraint = theirs.constraint
        self._weights = self._copies[: len(model.trainable_variables)]
        self._optimizer = _keras.copy_optimizer(optimizer)
        self._optimizer.build(self._weights)
        _keras.update_plainly(self._optimizer)
        state = optimizer.variables if _keras.has_trained(optimizer, model) else self._optimizer.variables
        self._state = [variable.numpy() for variable in state]
        self._steps = self._trace()
        self.count = steps or self._affordable()

    def _trace(self):
        """Return a function of inputs, targets and a number that takes so many steps; it gives the loss before each."""
        copies, weights, optimizer = self._copies, self._weights, self._optimizer

        def steps(x, y, count):
            def step(index, losses):
                now = [tf.convert_to_tensor(variable.value) for variable in copies]
                with tf.GradientTape() as tape:
                    tape.watch(now[: len(weights)])
                    answer, after, penalties = self._run(now, x)
                    loss = tf.cast(tf.reduce_mean(self._loss(y, answer)), "float32")
                    total = tf.add_n([loss, *(tf.cast(penalty, "float32") for penalty in penalties)])
                optimizer.apply(tape.gradient(total, now[: len(weights)], unconnected_gradients="zero"), weights)
                for variable, value in zip(copies[len(weights) :], after[len(weights) :], strict=True):
                    variable.assign(value)
                return index + 1, losses.write(index, loss)

            return tf.while_loop(lambda index, _: index < count, step, (0, tf.TensorArray("float32", count)))[1].stack()

        graph = _keras.traced(steps, reduce_retracing=True)
        return lambda x, y, count: graph(x, y, tf.constant(count)).numpy()

    def _affordable(self):
        """Return how many steps there is time for; rather fewer samples than too few steps."""
        traced = seconds = self._time_of_a_step()
        allowed = max(_SECONDS, _AS_LONG * traced)
        if seconds < _HOPELESS:
            seconds = self._time_of_a_step()
            part = min(int(np.ceil(FEW_STEPS * seconds / allowed)), len(self._x) // _FEW_SAMPLES)
            if part > 1:
                self._x, self._y, self.stride = self._x[::part], self._y[::part], part
                self._time_of_a_step()  # another shape is traced anew
                seconds = self._time_of_a_step()
        return int(np.clip(allowed / seconds, _LEAST_STEPS, STEPS))

    def _time_of_a_step(self):
        started = time.perf_counter()
        self._steps(self._x, self._y, 1)
        return time.perf_counter() - started

    def train(self, rate=None, scale_x=False, scale_y=False):
        """Train from the model's weights on, if asked with another learning rate or standardized data."""
        pairs = [*zip(self._copies, [v.numpy() for v in self._variables], strict=True),
                 *zip(self._optimizer.variables, self._state, strict=True)]  # fmt: skip
        for variable, value in pairs:
            variable.assign(value)
        if rate is not None:
            self._optimizer.learning_rate = rate
        x = standardized(self._x) if scale_x else self._x
        y = standardized(self._y) if scale_y else self._y
        return self._judge(x, y, self._steps(x, y, self.count))

    def _judge(self, x, y, losses):
        values = [variable.numpy() for variable in self._copies]
        if not all(np.isfinite(value).all() for value in values):
            return Course(losses)
        answer, _, _ = self._run(values, x)
        random = np.random.default_rng(0)
        others = [tf.gather(answer, random.permutation(len(x))) for _ in range(5)]
        shuffled = float(np.mean([tf.reduce_mean(self._loss(y, other)) for other in others]))
        return Course(losses, shuffled, list(zip(self._variables, values, strict=True)))


def standardized(values):
    """What the proposed lines for x and y do: mean 0 and standard deviation 1 in every place."""
    values = np.asarray(values)
    kind = values.dtype if values.dtype.kind == "f" else np.float32
    return tf.constant(((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-7)).astype(kind))


@dataclass(frozen=True)
class Course:
    """How a rehearsal went: the losses before each step, and, unless weights became nan or infinite, its end."""

    losses: np.ndarray
    shuffled: float = np.nan  # the loss if other samples get the answers
    values: list | None = None  # pairs of a variable and its value

    @property
    def finite(self):
        return self.values is not None and bool(np.isfinite(self.losses).all())

    @property
    def last(self):
        """Mean over the last tenth, since a single step may jump."""
        return float(np.mean(self.losses[-max(len(self.losses) // 10, 1) :]))

    @property
    def gain(self):
        """Share of the loss of shuffled answers that was removed; some losses, as cosine_similarity, are < 0."""
        return (self.shuffled - self.last) / abs(self.shuffled) if self.finite and self.shuffled else -np.inf

    @property
    def learned(self):
        """Whether the answers depend on the input, and the loss has not risen by as much."""
        return self.gain > 1 - LEARNED and self.last - self.losses[0] < (1 - LEARNED) * abs(self.shuffled)

    @property
    def needed(self):
        """After how many steps nine tenths of the way from the first loss to the last were done; 0 for a short way."""
        if self.losses[0] - self.last <= (1 - LEARNED) * abs(self.shuffled):
            return 0
        return int(np.argmax(self.losses - self.last <= 0.1 * (self.losses[0] - self.last)))
