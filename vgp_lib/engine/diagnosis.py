"""The verdict: is the gradient of a network sick, where, why, and what to change."""

import contextlib
import html
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from vgp_lib.engine import _arguments, _keras
from vgp_lib.engine._backpropagation import Backpropagation, broken_layer, l2_norm
from vgp_lib.layers import first_recurrent, lag_gradients, report
from vgp_lib.updates import power_of_ten

_STEPS, _SAMPLES = 300, 256  # the rehearsal: as many full-batch steps as a training of the course, on so many samples
_WORK, _LEAST = 8e9, 50  # multiplications: about a second; a larger net rehearses fewer steps, at least 50
# The three thresholds, chosen on the development half of evidence/diagnosis.py.
_LEARNED = 0.85  # a net has learned from x if its loss is below this share of what its shuffled answers would cost
_FAINT = 1e-2  # vanishing: less than this share of the output layer's delta reaches some layer
_LOUD = 1e2  # exploding: more than so many times the output layer's delta arrives at some layer
_LARGE = 5.0  # in root mean square; initializers are made for inputs and targets of about 1

# Activations whose slope stays near 1 on one side.
_OPEN = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu")


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found: four strings (layer is None if no layer stands out); prints as a small table."""

    verdict: str
    layer: str | None
    because: str
    try_next: str

    def __repr__(self):
        where = f" at {self.layer}" if self.layer else ""
        return f"{self.verdict.upper()}{where}\n  because   {self.because}\n  try next  {self.try_next}"

    def _repr_html_(self):
        color = {"healthy": "#0072B2"}.get(self.verdict, "#D55E00")
        where = f" at {html.escape(self.layer)}" if self.layer else ""
        return (
            f'<div style="border-left: 4px solid {color}; padding-left: 1em; text-align: left">'
            f"<b>{self.verdict.upper()}</b>{where}<br>{html.escape(self.because)}<br>"
            f"Try next: <code>{html.escape(self.try_next)}</code></div>"
        )


def diagnose(model, x, y, *, optimizer=None, loss=None) -> Diagnosis:
    """Tell whether the gradient of a network is healthy, vanishing, exploding or dead under a given optimizer.

    Looks at every layer with a kernel (per-sample delta, dead units; see `inspect_layers`), then rehearses up to 300
    full-batch training steps on a copy, with a copy of the optimizer and its state, and looks again. A net that has
    learned from x, now or in the rehearsal, is healthy, however small its gradients are. One that has not is
      exploding, if the rehearsal meets nan or infinity, or a layer gets over 100 times the output layer's delta;
      dead, if all units of a hidden layer give 0 for all samples, so that no gradient passes;
      vanishing, if a hidden layer gets less than a hundredth of the output layer's delta;
      otherwise healthy: it may lack steps, units or a larger learning rate, but not a gradient.

    Model and optimizer are left exactly as they were, for all of this happens on copies; the same call gives the same
    verdict. It takes below 3 s for the nets of the course; a large net rehearses fewer steps, a large data set is
    represented by 256 evenly spaced samples. What computes in 16 bits is rehearsed in 32, without loss scaling.

    Args:
        model: a built `keras.Model` with one input and one output, compiled or not; before, during or after training.
        x, y: training data, shapes as in `inspect_layers`.
        optimizer: a Keras optimizer or its name; None takes the one that the model was compiled with.
        loss: a Keras name or object, or a function of (y_true, y_pred); None: as compiled, or "binary_crossentropy".

    Returns a `Diagnosis` with the strings `verdict`, `layer`, `because` and `try_next` (the line of code to change).
    Raises `ValueError` or `TypeError` if the model is not built or has no trainable kernel, if there is no optimizer,
    or if x, y and loss do not fit.
    """
    if not any(_keras.kernel_owner(layer).kernel.trainable for layer in _keras.layers_with_kernel(model)):
        raise ValueError(f"The model {model.name!r} has no trainable kernel; set trainable = True on a layer with one")
    if optimizer is None and getattr(model, "optimizer", None) is None:
        message = "whether a gradient suffices depends on the optimizer; give one, such as optimizer="
        raise ValueError(f"The model {model.name!r} is not compiled: {message}keras.optimizers.SGD(0.1)")
    optimizer = _arguments.optimizer(model.optimizer if optimizer is None else optimizer)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if loss is None:
        loss = getattr(model, "loss", None) or "binary_crossentropy"
    _arguments.check_reduction(loss)
    x, y = _arguments.batch(x, y)
    layer = broken_layer(model)
    if layer:
        because = f"Weights of {layer.name} are nan or infinite already: a step has thrown them out of range."
        return Diagnosis("exploding", layer.name, because, _line(optimizer, 0.1, clip=True))
    evidence = _Evidence(model, x, y, optimizer, loss)
    return _explain(evidence, *_decide(evidence), optimizer)


class _Evidence:
    """What the verdict rests on."""

    def __init__(self, model, x, y, optimizer, loss):
        chosen = np.linspace(0, len(x) - 1, min(len(x), _SAMPLES)).astype(int)
        x, y = x[chosen], y[chosen]
        run = Backpropagation(model, x, y, loss)
        self.layers = [run.originals[id(probe.layer)] for probe in run.probes]
        self.before = report(run)
        steps = _count_steps(run)
        self.losses, self.shuffled, self.constant, self.after = _rehearse(model, x, y, optimizer, loss, steps)
        self.recurrent = first_recurrent(run)
        self.forgets = 1.0  # delta of its first time step over the largest delta of any step
        if self.recurrent is not None and len(run.deltas[self.recurrent]) == 1:  # called twice, time has no one order
            lags = lag_gradients(run, self.recurrent)
            self.forgets = float(lags[-1] / lags.max()) if lags.max() > 0 else 0.0
        parts = _keras.all_layers(model)
        self.normalizes = any(isinstance(layer, keras.layers.BatchNormalization) for layer in parts)
        tokens = x.dtype.kind != "f" or any(isinstance(layer, keras.layers.Embedding) for layer in parts)
        self.input_size = 0.0 if tokens else l2_norm(x) / x.size**0.5
        name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
        regression = any(word in name for word in ("error", "mse", "mae", "huber", "log_cosh"))
        self.target_size = l2_norm(y) / y.size**0.5 if regression else 0.0

    @property
    def learned(self):
        """Whether the answers depend on the input; the mean over the last tenth, since a single step may jump."""
        last = np.mean(self.losses[-len(self.losses) // 10 :])
        return self.shuffled - last > (1 - _LEARNED) * abs(self.shuffled)  # some losses, as cosine_similarity, are < 0

    def reach(self, report):
        """Delta of every hidden layer as a multiple of the output layer's."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return report.delta_rms[:-1] / report.delta_rms[-1]

    def sick_before(self, verdict):
        """Whether the untrained net shows this already."""
        reach = self.reach(self.before)
        shown = {
            "dead": self.before.dead[:-1] == 1,
            "exploding": reach > _LOUD,
            "vanishing": [*(reach < _FAINT), self.forgets < _FAINT],
        }
        return any(shown[verdict])


def _count_steps(run):
    """Return how many steps take about a second, by the multiplications of a forward pass, counted roughly."""
    work = 0
    for probe in run.probes:
        for z in probe.outputs:
            # A weight is used once per position or time step; a convolution takes about four times as long for it.
            dense = len(z.shape) == 2 or isinstance(probe.layer, (keras.layers.Dense, keras.layers.RNN))
            work += probe.layer.count_params() * int(np.prod(z.shape[:-1])) * (1 if dense else 4)
    return int(np.clip(_WORK / work, _LEAST, _STEPS))


def _rehearse(model, x, y, optimizer, loss, steps):
    """Train a copy; return its loss before every step and what it is like then: nan, False and None if nan arose.

    That is: the loss of its answers if other samples get them, whether all its answers are equal, and its report.
    """
    variables, run = _keras.as_function(model)
    inputs = tf.convert_to_tensor(x)
    function, targets = _arguments.loss_and_targets(loss, y, run(variables, inputs)[0])
    copies = [keras.Variable(v.numpy(), dtype=v.dtype, name=v.name, trainable=v.trainable) for v in variables]
    for ours, theirs in zip(copies, variables, strict=True):
        ours.constraint = theirs.constraint
    weights = copies[: len(model.trainable_variables)]
    copied = _keras.copy_optimizer(optimizer)
    copied.build(weights)
    if _keras.has_trained(optimizer, model):
        for ours, theirs in zip(copied.variables, optimizer.variables, strict=True):
            ours.assign(theirs)
    losses = _train(run, copies, weights, copied, inputs, targets, function, steps)
    values = [variable.numpy() for variable in copies]
    if not all(np.isfinite(value).all() for value in values):
        return losses, np.nan, False, None
    answer, _, _ = run(values, inputs)
    random = np.random.default_rng(0)
    others = [tf.gather(answer, random.permutation(len(x))) for _ in range(5)]
    shuffled = float(np.mean([tf.reduce_mean(function(targets, other)) for other in others]))
    constant = bool(np.ptp(answer, axis=0).max() == 0)
    after = Backpropagation(model, x, y, loss, list(zip(variables, values, strict=True)))
    return losses, shuffled, constant, report(after)


def _train(run, variables, weights, optimizer, x, y, function, steps):
    """Change the variables by full-batch steps; return the loss before each."""

    def step(index, losses):
        now = [tf.convert_to_tensor(variable.value) for variable in variables]
        with tf.GradientTape() as tape:
            tape.watch(now[: len(weights)])
            answer, after, penalties = run(now, x)
            loss = tf.cast(tf.reduce_mean(function(y, answer)), "float32")
            total = tf.add_n([loss, *(tf.cast(penalty, "float32") for penalty in penalties)])
        optimizer.apply(tape.gradient(total, now[: len(weights)], unconnected_gradients="zero"), weights)
        for variable, value in zip(variables[len(weights) :], after[len(weights) :], strict=True):
            variable.assign(value)
        return index + 1, losses.write(index, loss)

    @tf.function(autograph=False)
    def rehearse(steps):
        return tf.while_loop(lambda index, _: index < steps, step, (0, tf.TensorArray("float32", steps)))[1].stack()

    with _keras.quiet_tracing():
        return rehearse(tf.constant(steps)).numpy()


def _decide(evidence):
    """Return the verdict and the index of the layer that it names (or None)."""
    after = evidence.after
    if after is None or not np.isfinite([*evidence.losses, *after.delta_rms]).all():
        return "exploding", int(np.nan_to_num(evidence.before.delta_rms, nan=np.inf).argmax())
    if evidence.learned or len(after.names) == 1:
        return "healthy", None
    for found in (evidence.before, after):  # what was there first is the cause
        ratios, dead = evidence.reach(found), found.dead[:-1] == 1
        if dead.any():
            return "dead", int(dead.argmax())
        if np.isnan(ratios).any():  # 0 / 0: not even the output layer gets a gradient
            return "vanishing", len(ratios)
        if ratios.max() > _LOUD:
            return "exploding", int(ratios.argmax())
        if ratios.min() < _FAINT:
            return "vanishing", int(ratios.argmin())
    if evidence.forgets < _FAINT:
        return "vanishing", evidence.recurrent
    return "healthy", None


def _explain(evidence, verdict, index, optimizer):
    """Put the verdict, the numbers that decided it and the remedy into words."""
    course = _describe_course(evidence, optimizer)
    if verdict == "healthy" and evidence.learned and evidence.constant:
        because = "The gradient is healthy, but the net gives every sample the same answer, as a softmax over one unit "
        return Diagnosis(verdict, None, f"{because}does; {course}.", 'keras.layers.Dense(1, activation="sigmoid")')
    if verdict == "healthy" and evidence.learned:
        return Diagnosis(verdict, None, f"The net answers to its input: {course}.", "nothing to change")
    if verdict == "healthy":
        because = f"Every layer gets a gradient, but {course}: too few steps, too small a step or too small a net."
        return Diagnosis(verdict, None, because, _line(optimizer, 10))
    because = f"{_describe_cause(evidence, verdict, index)}; {course}."
    return Diagnosis(verdict, evidence.before.names[index], because, _remedy(evidence, verdict, index, optimizer))


def _describe_course(evidence, optimizer):
    losses, finite = evidence.losses, np.isfinite(evidence.losses)
    few = "" if len(losses) == _STEPS else f" (for want of time not {_STEPS}: train longer before you believe this)"
    course = f"in a rehearsal of {len(losses)} steps{few} of {_name(optimizer)} the loss "
    if not finite.all():
        return f"{course}becomes nan or infinite at step {int(finite.argmin()) + 1}"
    course += f"goes from {losses[0]:.2g} to {losses[-1]:.2g}"
    shuffled = f" (with its answers shuffled among the samples: {evidence.shuffled:.2g})"
    return course if evidence.after is None else course + shuffled


def _describe_cause(evidence, verdict, index):
    names, before = evidence.before.names, evidence.before
    layer = names[index]
    if verdict == "dead":
        when = "Before training" if before.dead[index] == 1 else "After the rehearsal"
        return f"{when} all units of {layer} give 0 for all samples, no gradient passes it"
    if evidence.after is None or not np.isfinite(evidence.losses).all():
        size = power_of_ten(before.delta_rms[index])
        return f"The steps run out of range; before them {layer} had the largest delta, {size}"
    if index == len(names) - 1:
        return f"Not even {layer} gets a gradient: its answers are saturated"
    at_first, at_last = (evidence.reach(found)[index] for found in (before, evidence.after))
    share = (max if verdict == "exploding" else min)(at_first, at_last)
    if verdict == "vanishing" and share >= _FAINT:  # in time, not in depth
        size = power_of_ten(evidence.forgets)
        return f"The first time step of {layer} gets about {size} times what the last ones get"
    when = "Before training" if share == at_first else "After the rehearsal"
    return f"{when} the delta of {layer} is about {power_of_ten(share)} times that of {names[-1]}"


def _remedy(evidence, verdict, index, optimizer):
    """Name the line to change: the scale of the inputs, the step, or the kind of layer."""
    layer, sick_before, config = evidence.layers[index], evidence.sick_before(verdict), {}
    with contextlib.suppress(NotImplementedError):  # a custom layer may have none
        config = layer.get_config()
    open_sided = config.get("activation") in _OPEN
    if evidence.input_size > _LARGE and (open_sided or not sick_before):
        return "x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-7)"
    if evidence.target_size > _LARGE and verdict == "exploding" and not sick_before:
        return "y = (y - y.mean(axis=0)) / (y.std(axis=0) + 1e-7)"
    if not sick_before:  # the steps made it so
        return _line(optimizer, 0.1, clip=verdict == "exploding")
    if isinstance(layer, keras.layers.RNN):
        return _recurrent_remedy(layer, optimizer)
    if evidence.normalizes and verdict != "dead":
        return "h = keras.layers.Add()([h, block(h)])  # a skip connection around every block"
    return _layer_remedy(layer, config, verdict, open_sided)


def _recurrent_remedy(layer, optimizer):
    orthogonal = getattr(layer.cell.recurrent_initializer, "gain", None) == 1
    simple = isinstance(layer, keras.layers.SimpleRNN)
    if (orthogonal or not simple) and not isinstance(optimizer, keras.optimizers.Adam):
        return "optimizer = keras.optimizers.Adam(0.01)"
    if simple and orthogonal:
        return "keras.layers.AveragePooling1D(4)  # before the recurrent layer: fewer time steps"
    # In place of gates, too: at the start they let less through.
    return f'keras.layers.SimpleRNN({layer.units}, recurrent_initializer="orthogonal")'


def _layer_remedy(layer, config, verdict, open_sided):
    """Write the layer with ReLU and He's weights; if it has them already, batch normalization."""
    size, kinds = config.get("units", config.get("filters")), type(layer).__mro__
    kind = next((kind.__name__ for kind in kinds if _public(keras.layers, kind)), "Layer")  # or the nearest ancestor
    he_kinds = keras.initializers.HeNormal, keras.initializers.HeUniform
    he = isinstance(getattr(layer, "kernel_initializer", None), he_kinds)
    if kind == "Layer" or size is None or (he and open_sided and verdict != "dead"):
        return "keras.layers.BatchNormalization()"
    shape = f"{size}, {config['kernel_size']}" if "kernel_size" in config else f"{size}"
    kept = config["activation"] if open_sided else "relu"
    activation = "leaky_relu" if verdict == "dead" else kept
    if config.get("activation") == "linear":  # it has an activation layer of its own
        own = f'keras.layers.{kind}({shape}, kernel_initializer="he_normal")'
        return f'{own}, keras.layers.Activation("{activation}")'
    return f'keras.layers.{kind}({shape}, activation="{activation}", kernel_initializer="he_normal")'


def _public(module, kind):
    """Tell whether a class is one of keras.layers or keras.optimizers."""
    return getattr(module, kind.__name__, None) is kind


def _line(optimizer, factor=1.0, clip=False):
    """Write the line that changes the optimizer: its learning rate times a factor, and clipping, if it has none."""
    optimizer = _keras.copy_optimizer(optimizer)
    rate = float(f"{float(np.asarray(optimizer.learning_rate)) * factor:.3g}")
    clip = clip and not any(getattr(optimizer, name) for name in ("clipnorm", "clipvalue", "global_clipnorm"))
    if _public(keras.optimizers, type(optimizer)):
        return f"optimizer = {_name(optimizer, rate, {'global_clipnorm': 1.0} if clip else {})}"
    if _keras.schedule_of(optimizer) is not None:  # whose learning rate cannot be set
        return f"optimizer = keras.optimizers.Adam({rate}{', global_clipnorm=1.0' if clip else ''})"
    return f"optimizer.learning_rate = {rate}{'; optimizer.global_clipnorm = 1.0' if clip else ''}"


def _name(optimizer, rate=None, more=None):
    """Write the call that makes an optimizer: its learning rate, and every setting that is not Keras's default."""
    optimizer = _keras.copy_optimizer(optimizer)
    kind, config = type(optimizer), optimizer.get_config()
    rate = float(f"{float(np.asarray(optimizer.learning_rate)):.3g}") if rate is None else rate
    if not _public(keras.optimizers, kind):
        return f"{kind.__name__}({rate})"
    default = kind().get_config() | {name: config[name] for name in ("name", "learning_rate")}
    changed = {name: value for name, value in config.items() if value != default[name]} | (more or {})
    settings = "".join(f", {name}={value!r}" for name, value in changed.items())
    return f"keras.optimizers.{kind.__name__}({rate}{settings})"
