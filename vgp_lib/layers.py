"""Measuring one model: activations, deltas and gradients of every layer, on one batch."""

from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from vgp_lib.engine import _arguments, _keras, _numbers
from vgp_lib.engine._backpropagation import Backpropagation, in_parts, l2_norm


@dataclass(frozen=True)
class LayerReport:
    """What `inspect_layers` measured: one entry per layer with a kernel, in the order of the forward pass.

    `not_measured` names layers with other weight matrices than one kernel, such as SeparableConv2D and Embedding.
    """

    names: list[str]
    activation_mean: np.ndarray
    activation_std: np.ndarray
    sample_spread: np.ndarray
    saturated: np.ndarray
    dead: np.ndarray
    delta_rms: np.ndarray
    kernel_gradient_norm: np.ndarray
    kernel_gradient_rms: np.ndarray
    not_measured: list[str] = field(default_factory=list)

    @property
    def gradient_ratio(self):
        """Kernel gradient (per-sample RMS) of the first hidden layer over that of the last hidden layer."""
        return _first_over_last_hidden(self.kernel_gradient_rms)

    @property
    def delta_ratio(self):
        """Delta (per-sample RMS) of the first hidden layer over that of the last hidden layer."""
        return _first_over_last_hidden(self.delta_rms)

    def __repr__(self):
        width = max(5, *map(len, self.names))
        lines = [f"{'layer':<{width}}  activation      saturated  dead  delta    kernel gradient (batch, per sample)"]
        for i, name in enumerate(self.names):
            lines.append(
                f"{name:<{width}}  {_short(self.activation_mean[i], '+')} ± {_short(self.activation_std[i])}"
                f"  {self.saturated[i]:9.0%} {self.dead[i]:5.0%}  {self.delta_rms[i]:.1e}"
                f"  {self.kernel_gradient_norm[i]:.1e}  {self.kernel_gradient_rms[i]:.1e}"
            )
        ratios = f"kernel gradient {self.gradient_ratio:.1e}, delta {self.delta_ratio:.1e}"
        lines.append(f"first hidden / last hidden layer: {ratios}")
        if self.not_measured:
            lines.append(f"not measured, for their weights are no single kernel: {', '.join(self.not_measured)}")
        return "\n".join(lines)


def _short(value, sign=""):
    return f"{value:{sign}.2f}" if abs(value) < 1000 else f"{value:{sign}.0e}"


def _first_over_last_hidden(values):
    """The last layer with a kernel is the output; a net without a hidden layer has no such ratio: nan."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(values[0] / values[-2]) if len(values) > 1 else float("nan")


def inspect_layers(model, x, y, loss="binary_crossentropy") -> LayerReport:
    """Measure activations, deltas and kernel gradients of every layer with a kernel, on one batch in training mode.

    Delta is dL/dz, the derivative with respect to the output of the kernel operation, before the activation; for a
    recurrent layer z is the input's projection W x_t at all time steps. Delta and kernel gradient differ by the layer's
    input, so the two can tell different stories (Glorot & Bengio 2010, figures 6 to 8). A sample's own part of the
    gradient (batch size times its term of the mean) shows what the batch hides: on a plateau the parts cancel. Under
    batch normalization, where samples act on each other, it is the share that passes through the sample's own row.

    What takes much memory is measured part by part, except where samples act on each other, as in batch normalization.
    The model is measured on a copy that shares its variables, so it stays as it is, even if the call fails. Penalties,
    as of a kernel regularizer, are no part of L; recurrent layers have no input dropout, and stateful ones begin anew;
    16 bits are measured in 32.

    Args:
        model: a built `keras.Model` with one input and one output: Sequential, functional or subclassed; of dense,
            convolutional and recurrent layers (SimpleRNN, LSTM, GRU) among any others.
        x: inputs, array of shape (samples, ...).
        y: targets, array of shape (samples,) or (samples, ...).
        loss: a Keras name or object, or a function of (y_true, y_pred); its mean over the samples is L.

    Returns a `LayerReport`; its arrays have one entry per layer, in the order of the forward pass, all float64:
        activation_mean, activation_std: of the activations, over samples and units.
        sample_spread: root mean square over units of the activations' standard deviation over the samples.
        saturated: share of the activations where the slope is under 0.01 (for ReLU: the inactive share); nan for an
            activation that is not elementwise, such as softmax.
        dead: share of the units that give 0 for all samples.
        delta_rms: root mean square over the samples of the L2 norm of dL/dz.
        kernel_gradient_norm: L2 norm of dL/dW of the batch.
        kernel_gradient_rms: root mean square over the samples of the L2 norm of dL/dW.
    `not_measured` names layers with other weight matrices than one kernel, such as SeparableConv2D and Embedding.

    Raises `ValueError` or `TypeError` if the model is not built or has no kernel or nan weights, or if x, y and loss do
    not fit each other.
    """
    return report(in_parts(model, x, y, loss))


def report(runs, kernels=True) -> LayerReport:
    """Reduce what `Backpropagation` recorded, part by part, to the numbers of `inspect_layers`; kernels: or nan."""
    with np.errstate(invalid="ignore", over="ignore"):  # where the net overflowed, the report says inf or nan
        found = None
        for run in runs:
            not_measured = run.not_measured
            names, samples = [probe.layer.name for probe in run.probes], round(run.samples / run.share)
            pairs = zip(run.probes, run.deltas, strict=True)
            part = [_numbers.measure(run, probe, deltas, kernels) for probe, deltas in pairs]
            found = part if found is None else list(map(_numbers.merge, found, part))
        columns = [_numbers.of_layer(samples, layer) for layer in found]
    return LayerReport(names, *np.array(columns).T, not_measured)


def gradient_by_lag(model, x, y, loss="binary_crossentropy"):
    """Measure how much of the gradient reaches each time step of a recurrent layer, on one batch in training mode.

    The gradient is delta, dL/dz_t with z_t = W x_t as in `inspect_layers` (for LSTM and GRU all gates together): what
    back-propagation through time hands to time step t. In a net that answers after its last step, it is multiplied by
    one more recurrent Jacobian per step of lag (Pascanu et al. 2013, equation 5). Arguments are those of
    `inspect_layers`; the model is left as it was.

    Returns a float64 array of shape (time steps,): the root mean square over the samples of the L2 norm of dL/dz_t.
    Entry k is that of lag k; entry 0 belongs to the last time step, entry -1 to the first. It is that of the recurrent
    layer next to the input. Raises also `ValueError` if no layer is recurrent or that one is called twice.
    """
    run = Backpropagation(model, x, y, loss)
    index = first_recurrent(run)
    if index is None:
        raise ValueError(f"The model {model.name!r} has no recurrent layer; give one with SimpleRNN, LSTM or GRU")
    calls = len(run.deltas[index])
    if calls > 1:
        name = run.probes[index].layer.name
        raise ValueError(f"Layer {name!r} is called {calls} times; give a model that calls it once")
    return lag_gradients(run, index)


def first_recurrent(run):
    """Return the index of the recurrent layer next to the input, or None."""
    return next((i for i, probe in enumerate(run.probes) if isinstance(probe.layer, keras.layers.RNN)), None)


def lag_gradients(run, index):
    """Compute what `gradient_by_lag` returns for the layer with this index, which is called once."""
    steps = np.asarray(run.deltas[index][0], "float64").swapaxes(0, 1)
    steps = steps if run.probes[index].layer.go_backwards else steps[::-1]
    return np.array([run.samples**0.5 * l2_norm(step) for step in steps])


def update_ratios(model, x, y, optimizer, loss="binary_crossentropy"):
    """Measure mean |ΔW| / mean |W| of every kernel in one first step of an optimizer on the whole batch.

    The optimizer serves as a recipe: a fresh copy takes the step, on copies of the weights; penalties count. Returns a
    float64 array with one entry per layer with a kernel, in the order of the forward pass; nan for a frozen kernel, inf
    where weights leave 0. Other arguments and errors are those of `inspect_layers`.
    """
    optimizer = _keras.copy_optimizer(_arguments.optimizer(optimizer))
    x, y = _arguments.batch(x, y)
    kernels = [id(_keras.kernel_owner(layer).kernel) for layer in _keras.kernel_layers(model, x)]
    variables, run = _keras.as_function(model)
    values, trained = [tf.convert_to_tensor(variable.value) for variable in variables], model.trainable_variables
    old = values[: len(trained)]
    with tf.GradientTape() as tape:
        tape.watch(old)
        prediction, _, penalties = run(values, x)
        function, y = _arguments.loss_and_targets(loss, y, prediction)
        total = tf.add_n([tf.reduce_mean(function(y, prediction)), *penalties])
    new = [keras.Variable(value.numpy()) for value in old]
    for ours, theirs in zip(new, trained, strict=True):
        ours.constraint = theirs.constraint
    optimizer.apply(tape.gradient(total, old, unconnected_gradients="zero"), new)
    ratios = dict.fromkeys(kernels, np.nan)
    for variable, before, after in zip(trained, old, new, strict=True):
        before = before.numpy().astype("float64")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios[id(variable)] = np.abs(after.numpy() - before).mean() / np.abs(before).mean()
    return np.array([ratios[key] for key in kernels])


def first_nonfinite(model, x, y, loss="binary_crossentropy"):
    """Find where a forward and backward pass first leaves the finite numbers: layer and what, or None if nowhere.

    In the order of computation: "output", input side first; "loss", of no layer (None); output side first "delta" and
    "kernel gradient" of each layer. Arguments and errors are those of `inspect_layers`.
    """
    run = Backpropagation(model, x, y, loss)
    for probe in run.probes:
        # A z of -inf behind a ReLU does no harm; at the end it does, for there compiled Keras takes the loss from z.
        if not _finite(*probe.activations, *(probe.outputs if probe is run.probes[-1] else [])):
            return probe.layer.name, "output"
    if not _finite(run.loss):
        return None, "loss"
    for probe, delta in zip(run.probes[::-1], run.deltas[::-1], strict=True):
        if not _finite(*delta):
            return probe.layer.name, "delta"
        if not l2_norm(run.kernel_gradients(probe, delta)[0]) <= float(np.finfo("float32").max):
            return probe.layer.name, "kernel gradient"
    return None


def _finite(*tensors):
    return all(np.isfinite(tensor).all() for tensor in tensors)
