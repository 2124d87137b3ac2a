"""The verdict: is the gradient of a network sick, where, why, and what to change."""

import contextlib
import html
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from vgp_lib.gradients import (
    check_batch,
    gradient_by_lag,
    inspect_layers,
    kernel_layers,
    l2_norm,
    match_targets,
    power_of_ten,
)
from vgp_lib.training import get_optimizer

_STEPS, _SAMPLES = 300, 256  # the rehearsal: as many full-batch steps as a training of the course, on so many samples
_WORK, _LEAST = 8e9, 50  # multiplications: about a second; a larger net rehearses fewer steps, at least 50
# The three thresholds, chosen on the development half of tests/benchmarks/bench_diagnosis.py.
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

    Model and optimizer are left exactly as they were; the same call gives the same verdict. It takes below 3 s for the
    nets of the course; a large net rehearses fewer steps, a large data set is represented by 256 evenly spaced samples.

    Args:
        model: a built `keras.Model` with one input and one output, compiled or not; before, during or after training.
        x, y: training data, shapes as in `inspect_layers`.
        optimizer: a Keras optimizer or its name; None takes the one that the model was compiled with.
        loss: a Keras name or object, or a function of (y_true, y_pred); None takes the compiled one, or else
            "binary_crossentropy".

    Returns a `Diagnosis` with the strings `verdict`, `layer`, `because` and `try_next` (the line of code to change).
    Raises `ValueError` or `TypeError` if the model is not built or has no trainable kernel, if there is no optimizer,
    or if x, y and loss do not fit.
    """
    cells = [layer.cell if isinstance(layer, keras.layers.RNN) else layer for layer in kernel_layers(model)]
    if not any(cell.kernel.trainable for cell in cells):
        raise ValueError(f"The model {model.name!r} has no trainable kernel; set trainable = True on a layer with one")
    optimizer, loss = _choose(model, optimizer, loss)
    x, y = check_batch(x, y)
    for layer in model._flatten_layers(include_self=False):
        if not all(np.isfinite(weight).all() for weight in layer.get_weights() if weight.dtype.kind == "f"):
            because = f"Weights of {layer.name} are nan or infinite already: a step has thrown them out of range."
            return Diagnosis("exploding", layer.name, because, f"optimizer = {_line(optimizer, 0.1, clip=True)}")
    return _explain(_examine(model, x, y, optimizer, loss), model, optimizer)


def _choose(model, optimizer, loss):
    if optimizer is None:
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None:
            message = "whether a gradient suffices depends on the optimizer; give one, such as optimizer="
            raise ValueError(f"The model {model.name!r} is not compiled: {message}keras.optimizers.SGD(0.1)")
    if loss is None:
        loss = getattr(model, "loss", None) or "binary_crossentropy"
    return get_optimizer(optimizer), loss


@dataclass
class _Evidence:
    """What the verdict rests on; after the rehearsal there is no report if nan arose."""

    before: object  # LayerReport
    after: object
    losses: np.ndarray  # of the rehearsal, before every step
    shuffled: float  # loss of the rehearsed net's answers, handed to other samples
    constant: bool  # whether the rehearsed net gives every sample the same answer
    input_size: float
    target_size: float  # of a regression, else 0
    recurrent: int | None  # index of the recurrent layer next to the input,
    forgets: float | None  # and what its first time step gets, as a share of the most that a step gets

    @property
    def learned(self):
        """Whether the answers depend on the input; the mean over the last tenth, since a single step may jump."""
        last = np.mean(self.losses[-len(self.losses) // 10 :])
        return self.shuffled - last > (1 - _LEARNED) * abs(self.shuffled)  # some losses, as cosine_similarity, are < 0


def _examine(model, x, y, optimizer, loss):
    chosen = np.linspace(0, len(x) - 1, min(len(x), _SAMPLES)).astype(int)
    x, y = x[chosen], y[chosen]
    inputs = tf.convert_to_tensor(x)
    function, targets = _resolve_loss(model, inputs, y, loss)
    before = inspect_layers(model, x, y, loss)
    losses, weights, state = _rehearse(model, optimizer, inputs, targets, function)
    after, shuffled, constant = None, np.nan, False
    if all(np.isfinite(values).all() for values in weights):
        random = np.random.default_rng(0)
        with _assigned(model, weights, state):
            after, answer = inspect_layers(model, x, y, loss), _answer(model, inputs)
        others = [tf.gather(answer, random.permutation(len(x))) for _ in range(5)]
        shuffled = float(np.mean([tf.reduce_mean(function(targets, other)) for other in others]))
        constant = bool(np.ptp(answer, axis=0).max() == 0)
    recurrent = {layer.name for layer in kernel_layers(model) if isinstance(layer, keras.layers.RNN)}
    index = next((i for i, name in enumerate(before.names) if name in recurrent), None)
    forgets = None
    if index is not None:
        with contextlib.suppress(ValueError):  # a layer that is called twice has no single order of time
            lags = gradient_by_lag(model, x, y, loss)
            forgets = float(lags[-1] / lags.max()) if lags.max() > 0 else 0.0
    tokens = x.dtype.kind != "f" or any(isinstance(layer, keras.layers.Embedding) for layer in model._flatten_layers())
    size = 0.0 if tokens else l2_norm(x) / x.size**0.5
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
    regression = any(word in name for word in ("error", "mse", "mae", "huber", "log_cosh"))
    target_size = l2_norm(y) / y.size**0.5 if regression else 0.0
    return _Evidence(before, after, losses, shuffled, constant, size, target_size, index, forgets)


def _resolve_loss(model, x, y, loss):
    answer = _answer(model, x)
    function, targets = match_targets(loss, y, answer)
    mend = "give a function of (y_true, y_pred) that returns one value per sample, or a Keras name such as 'mse'"
    try:
        tf.reduce_mean(function(targets, answer))
    except Exception as error:  # whatever a function of the caller's own may raise
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ValueError(f"The loss {loss!r} cannot be evaluated ({reason}); {mend}") from error
    return function, targets


def _call(model, weights, state, x):
    """Call the model in training mode with these values; return its answer, the state after it, and its penalties."""
    # Like stateless_call, which cannot call a model whose call takes no argument `training`.
    values = zip([*model.trainable_variables, *model.non_trainable_variables], [*weights, *state], strict=True)
    with keras.StatelessScope(state_mapping=list(values), collect_losses=True) as scope:
        answer = model(x, training=True)
        penalties = model.losses
    return answer, [scope.get_current_value(variable) for variable in model.non_trainable_variables], penalties


def _answer(model, x):
    values = ([v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables))
    return _call(model, *values, x)[0]


def _rehearse(model, optimizer, x, y, function):
    """Train a copy on the full batch; return its loss before every step, and the final weights and other variables."""
    weights = [_copy(variable) for variable in model.trainable_variables]
    state = [_copy(variable) for variable in model.non_trainable_variables]
    copy = type(optimizer).from_config(optimizer.get_config())
    copy.build(weights)
    own = [id(variable) for variable in model.trainable_variables]
    if optimizer.built and [id(variable) for variable in optimizer._trainable_variables] == own:
        for ours, theirs in zip(copy.variables, optimizer.variables, strict=True):
            ours.assign(theirs)

    def step(index, losses):
        now = [tf.convert_to_tensor(variable.value) for variable in weights]
        with tf.GradientTape() as tape:
            tape.watch(now)
            others = [tf.convert_to_tensor(variable.value) for variable in state]
            answer, others, penalties = _call(model, now, others, x)
            loss = tf.cast(tf.reduce_mean(function(y, answer)), "float32")
            total = tf.add_n([loss, *(tf.cast(penalty, "float32") for penalty in penalties)])
        copy.apply(tape.gradient(total, now, unconnected_gradients="zero"), weights)
        for variable, value in zip(state, others, strict=True):
            variable.assign(value)
        return index + 1, losses.write(index, loss)

    @tf.function(autograph=False)
    def rehearse(steps):
        return tf.while_loop(lambda index, _: index < steps, step, (0, tf.TensorArray("float32", steps)))[1].stack()

    work = len(x) * sum(_multiplications(layer, x) for layer in kernel_layers(model))
    losses = rehearse(tf.constant(int(np.clip(_WORK / work, _LEAST, _STEPS)))).numpy()
    return losses, [variable.numpy() for variable in weights], [variable.numpy() for variable in state]


def _multiplications(layer, x):
    """Count a layer's multiplications for one sample, roughly: once per weight and position, or time step.

    Those of a convolution count four times, for they take about four times as long as those of a matrix product.
    """
    positions = getattr(getattr(layer, "output", None), "shape", ())[1:-1]  # unknown in a subclassed model
    if isinstance(layer, keras.layers.RNN):
        positions = x.shape[1:2]
    uses = int(np.prod([4, *(size or 1 for size in positions)])) if len(positions) else 1
    return uses * sum(int(np.prod(w.shape)) for w in layer.weights)


def _copy(variable):
    copy = keras.Variable(variable.numpy(), dtype=variable.dtype, name=variable.name, trainable=variable.trainable)
    copy.constraint, copy._path = variable.constraint, variable.path  # Muon chooses by the path
    return copy


@contextlib.contextmanager
def _assigned(model, weights, state):
    """Lend the model other weights for a while."""
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    before = [variable.numpy() for variable in variables]
    try:
        for variable, value in zip(variables, [*weights, *state], strict=True):
            variable.assign(value)
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def _reach(report):
    """Delta of every hidden layer as a multiple of the output layer's."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return report.delta_rms[:-1] / report.delta_rms[-1]


def _decide(e):
    """Return the verdict and the index of the layer that it names (or None)."""
    if e.after is None or not np.isfinite([*e.losses, *e.after.delta_rms]).all():
        return "exploding", int(np.nan_to_num(e.before.delta_rms, nan=np.inf).argmax())
    if e.learned or len(e.after.names) == 1:
        return "healthy", None
    for report in (e.before, e.after):  # what was there first is the cause
        ratios, dead = _reach(report), report.dead[:-1] == 1
        if dead.any():
            return "dead", int(dead.argmax())
        if np.isnan(ratios).any():  # 0 / 0: not even the output layer gets a gradient
            return "vanishing", len(ratios)
        if ratios.max() > _LOUD:
            return "exploding", int(ratios.argmax())
        if ratios.min() < _FAINT:
            return "vanishing", int(ratios.argmin())
    if e.forgets is not None and e.forgets < _FAINT:
        return "vanishing", e.recurrent
    return "healthy", None


def _explain(e, model, optimizer):
    """Put the verdict, the numbers that decided it and the remedy into words."""
    verdict, index = _decide(e)
    names, finite = e.before.names, np.isfinite(e.losses)
    layer = None if index is None else names[index]
    few = "" if len(e.losses) == _STEPS else f" (for want of time not {_STEPS}: train longer before you believe this)"
    course = f"in a rehearsal of {len(e.losses)} steps{few} of {_line(optimizer)} the loss "
    if not finite.all():
        course += f"becomes nan or infinite at step {int(finite.argmin()) + 1}"
    else:
        course += f"goes from {e.losses[0]:.2g} to {e.losses[-1]:.2g}"
        course += "" if e.after is None else f" (its answers, dealt to other samples: {e.shuffled:.2g})"
    if verdict == "healthy" and e.learned and e.constant:
        because = f"Its gradient is, but it gives every sample one answer, as a softmax over one unit does; {course}."
        return Diagnosis(verdict, layer, because, 'keras.layers.Dense(1, activation="sigmoid")')
    if verdict == "healthy" and e.learned:
        return Diagnosis(verdict, layer, f"The net answers to its input: {course}.", "nothing to change")
    if verdict == "healthy":
        because = f"Every layer gets a gradient, but {course}: too few steps, too small a step or too small a net."
        return Diagnosis(verdict, layer, because, f"optimizer = {_line(optimizer, 10)}")
    if verdict == "dead":
        when = "Before training" if e.before.dead[index] == 1 else "After the rehearsal"
        because = f"{when} all units of {layer} give 0 for all samples, no gradient passes it; {course}."
    elif e.after is None or not finite.all():
        because = f"The steps run out of range: {course}; {layer} had the largest delta, "
        because += f"{power_of_ten(e.before.delta_rms[index])}, before."
    elif index == len(names) - 1:
        because = f"Not even {layer} gets a gradient: its answers are saturated; {course}."
    else:
        ratio = max if verdict == "exploding" else min
        share = ratio(_reach(e.before)[index], _reach(e.after)[index])
        when = "Before training" if share == _reach(e.before)[index] else "After the rehearsal"
        because = f"{when} the delta of {layer} is about {power_of_ten(share)} times that of {names[-1]}; {course}."
        if verdict == "vanishing" and share >= _FAINT:  # in time, not in depth
            because = (
                f"The first time step of {layer} gets about {power_of_ten(e.forgets)} times what the last ones get; "
            )
            because += f"{course}."
    return Diagnosis(verdict, layer, because, _remedy(e, verdict, layer, model, optimizer))


def _remedy(e, verdict, layer, model, optimizer):
    """Name the line to change: the scale of the inputs, the step, or the kind of layer."""
    now = _reach(e.before)
    sick_now = {
        "dead": (e.before.dead[:-1] == 1).any(),
        "exploding": (now > _LOUD).any(),
        "vanishing": (now < _FAINT).any(),
    }
    sick_now["vanishing"] |= e.forgets is not None and e.forgets < _FAINT
    layer = next(found for found in kernel_layers(model) if found.name == layer)
    config = layer.get_config()
    open_sided = config.get("activation") in _OPEN
    if e.input_size > _LARGE and (open_sided or not sick_now[verdict]):
        return "x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-7)"
    if e.target_size > _LARGE and verdict == "exploding" and not sick_now[verdict]:
        return "y = (y - y.mean(axis=0)) / (y.std(axis=0) + 1e-7)"
    if not sick_now[verdict]:  # the steps made it so
        return f"optimizer = {_line(optimizer, 0.1, clip=verdict == 'exploding')}"
    if isinstance(layer, keras.layers.RNN):
        orthogonal = getattr(layer.cell.recurrent_initializer, "gain", None) == 1
        simple = isinstance(layer, keras.layers.SimpleRNN)
        if simple and not orthogonal:
            return f'keras.layers.SimpleRNN({layer.units}, recurrent_initializer="orthogonal")'
        if not isinstance(optimizer, keras.optimizers.Adam):
            return "optimizer = keras.optimizers.Adam(0.01)"
        if not simple:  # at the start its gates let less through
            return f'keras.layers.SimpleRNN({layer.units}, recurrent_initializer="orthogonal")'
        return "keras.layers.AveragePooling1D(4)  # before the recurrent layer: fewer time steps"
    if (
        any(isinstance(other, keras.layers.BatchNormalization) for other in model._flatten_layers())
        and verdict != "dead"
    ):
        return "h = keras.layers.Add()([h, block(h)])  # a skip connection around every block"
    size = config.get("units", config.get("filters"))
    he = isinstance(
        getattr(layer, "kernel_initializer", None), (keras.initializers.HeNormal, keras.initializers.HeUniform)
    )
    if size is None or (he and open_sided and verdict != "dead"):
        return "keras.layers.BatchNormalization()"
    shape = f"{size}, {config['kernel_size']}" if "kernel_size" in config else f"{size}"
    activation = "leaky_relu" if verdict == "dead" else config["activation"] if open_sided else "relu"
    if config.get("activation") == "linear":  # it has an activation layer of its own
        kind = f'keras.layers.{type(layer).__name__}({shape}, kernel_initializer="he_normal")'
        return f'{kind}, keras.layers.Activation("{activation}")'
    return f'keras.layers.{type(layer).__name__}({shape}, activation="{activation}", kernel_initializer="he_normal")'


def _line(optimizer, factor=1, clip=False):
    """Write the optimizer as a line of code, with its learning rate times a factor."""
    text = f"keras.optimizers.{type(optimizer).__name__}({float(np.asarray(optimizer.learning_rate)) * factor:.3g}"
    arguments = {
        name: getattr(optimizer, name, None) for name in ("momentum", "clipnorm", "clipvalue", "global_clipnorm")
    }
    if clip and not any(arguments[name] for name in arguments if "clip" in name):
        arguments["global_clipnorm"] = 1.0
    return text + "".join(f", {name}={float(value)}" for name, value in arguments.items() if value) + ")"
