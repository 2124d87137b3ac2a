"""Measuring one model: weight updates, gradients, and what every layer does with them."""

import contextlib
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

# Layers that only apply an activation: their output is the activation of the kernel layer before them.
_ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)
_RECURRENT_LAYERS = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)
# The course's own, for which nothing needs to be tried out.
_ELEMENTWISE = (keras.activations.linear, keras.activations.sigmoid, keras.activations.tanh, keras.activations.relu)
# An activation passes on less than a hundredth of its delta beyond |z| = 4.6 (sigmoid) and |z| = 3.0 (tanh).
_FLAT_SLOPE = 0.01


def gradient_from_update(old, new, learning_rate):
    """Derive the gradient from a weight update: (old - new) / learning_rate, in float64.

    This is the gradient for exactly one step of plain SGD. After several steps it is a sum of their gradients; after a
    step of Adam, RMSprop or SGD with momentum it is not a gradient at all, since those rescale or accumulate it. And it
    cannot see below the rounding of the weights: where |gradient| < ulp(weight) / (2 learning_rate) it returns 0. For
    float32 weights near 0.5 and learning rate 0.1 that floor is 3e-7.

    Args:
        old, new: floating-point weights before and after the step, arrays of one shape.
        learning_rate: the step size, positive; a number or an optimizer's `learning_rate`.

    Raises `ValueError` or `TypeError` if an array is empty, not floating-point or not finite, if the shapes differ, or
    if the learning rate is not a positive number.
    """
    old, new = _weight_pair(old, new)
    learning_rate = _learning_rate(learning_rate)
    with np.errstate(over="ignore"):  # a quotient beyond float64 is inf, and says so
        return (old - new) / learning_rate


def percent_change(old, new):
    """Return by how many percent each weight moved: |100 (old - new) / old|, in float64; nan where old is 0.

    Arguments and errors are those of `gradient_from_update`.
    """
    old, new = _weight_pair(old, new)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return np.where(old == 0, np.nan, np.abs(100 * ((old - new) / old)))[()]


def power_of_ten(value):
    """Write a number of at least 0 as its nearest power of ten, such as 1e-7: what survives another computer."""
    return f"1e{round(np.log10(value))}" if 0 < value < np.inf else f"{value:g}"


def _weight_pair(old, new):
    old, new = _weights("old", old), _weights("new", new)
    if old.shape != new.shape:
        raise ValueError(f"old has shape {old.shape}, new has shape {new.shape}; give one layer's weights at two times")
    return old, new


def _weights(name, values):
    values = _one_array(name, values)
    if not np.issubdtype(values.dtype, np.floating):
        mend = f"weights are floating-point: give layer.get_weights()[0], or {name}.astype('float32')"
        raise TypeError(f"{name} holds {values.dtype} numbers; {mend}")
    if values.size == 0:
        raise ValueError(f"{name} is empty, shape {values.shape}; give an array with at least one weight")
    if not np.isfinite(values).all():
        message = f"{name} holds values that are nan or infinite: the training has exploded; give the weights of an "
        raise ValueError(message + "earlier step, or train with a smaller learning rate or with clipping")
    return values.astype("float64")  # so that the subtraction adds no rounding of its own


def _one_array(name, values):
    try:
        return np.asarray(values)
    except ValueError:
        message = f"{name} holds parts of different shapes; give one array of numbers, such as layer.get_weights()[0]"
        raise ValueError(message) from None


def _learning_rate(value):
    mend = "give a positive number, such as 0.1 or optimizer.learning_rate"
    number = _one_array("learning_rate", value)
    if number.size != 1 or number.dtype.kind not in "iuf":
        raise TypeError(f"learning_rate is {value!r}, a {type(value).__name__}; {mend}")
    if not 0 < number.item() < np.inf:
        raise ValueError(f"learning_rate is {number.item()}; {mend}")
    return float(number.item())


@dataclass(frozen=True)
class LayerReport:
    """What `inspect_layers` measured: arrays with one entry per layer with a kernel, input side first."""

    names: list[str]
    activation_mean: np.ndarray
    activation_std: np.ndarray
    saturated: np.ndarray
    dead: np.ndarray
    delta_rms: np.ndarray
    kernel_gradient_norm: np.ndarray
    kernel_gradient_rms: np.ndarray

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
        return "\n".join([*lines, f"first hidden / last hidden layer: {ratios}"])


def _short(value, sign=""):
    return f"{value:{sign}.2f}" if abs(value) < 1000 else f"{value:{sign}.0e}"


def _first_over_last_hidden(values):
    """The last layer with a kernel is the output; a net without a hidden layer has no such ratio: nan."""
    if len(values) < 2:
        return float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(values[0] / values[-2])


def kernel_layers(model):
    """List the layers of a built model that have a kernel, in the order in which they were added.

    A recurrent layer counts once, with its cell's kernel, which acts on the inputs; its recurrent kernel does not.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model is a {type(model).__name__}; give a keras.Model")
    if not model.built:
        raise ValueError(f"The model {model.name!r} is not built; begin it with keras.Input(…) or call model.build(…)")
    # Keras has no public way to list layers inside nested models, wrappers and custom blocks.
    layers = list(model._flatten_layers(include_self=False))
    for layer in layers:
        if isinstance(layer, keras.layers.RNN) and not isinstance(layer, _RECURRENT_LAYERS):
            what = f"{type(layer).__name__} of {type(layer.cell).__name__}"
            raise ValueError(f"Layer {layer.name!r} is a {what}; use SimpleRNN, LSTM or GRU, stacked as layers")
    cells = {id(layer.cell) for layer in layers if isinstance(layer, keras.layers.RNN)}
    found = [layer for layer in layers if id(layer) not in cells and hasattr(_kernel_owner(layer), "kernel")]
    if not found:
        raise ValueError(
            f"The model {model.name!r} has no layer with a kernel; give one with a Dense, Conv or recurrent layer"
        )
    return found


def _kernel_owner(layer):
    return layer.cell if isinstance(layer, keras.layers.RNN) else layer


def inspect_layers(model, x, y, loss="binary_crossentropy") -> LayerReport:
    """Measure activations, deltas and kernel gradients of every layer with a kernel, on one batch in training mode.

    Delta is dL/dz, the derivative with respect to the output of the kernel operation, before the activation; for a
    recurrent layer z is the input's projection W x_t at all time steps. Delta and kernel gradient differ by the layer's
    input, so the two can tell different stories (Glorot & Bengio 2010, figures 6 to 8). A sample's own part of the
    gradient (batch size times its term of the mean) shows what the batch hides: on a plateau the parts cancel.

    The model, its moving averages and random states are left as they were; recurrent layers' input dropout is off.

    Args:
        model: a built `keras.Model` with one input and one output: Sequential, functional or subclassed; of dense,
            convolutional and recurrent layers (SimpleRNN, LSTM, GRU) among any others.
        x: inputs, array of shape (samples, ...).
        y: targets, array of shape (samples,) or (samples, ...).
        loss: a Keras name or object, or a function of (y_true, y_pred); its mean over the samples is L.

    Returns a `LayerReport`; its arrays have one entry per layer, input side first, all float64:
        activation_mean, activation_std: of the activations, over samples and units.
        saturated: share of the activations where the slope is under 0.01 (for ReLU: the inactive share); nan for an
            activation that is not elementwise, such as softmax.
        dead: share of the units that give 0 for all samples.
        delta_rms: root mean square over the samples of the L2 norm of dL/dz.
        kernel_gradient_norm: L2 norm of dL/dW of the batch.
        kernel_gradient_rms: root mean square over the samples of the L2 norm of dL/dW.

    Raises `ValueError` or `TypeError` if the model is not built or has no kernel or nan weights, or if x, y and loss do
    not fit each other.
    """
    probes, _, deltas, samples = _backpropagate(model, x, y, loss)
    with np.errstate(invalid="ignore", over="ignore"):  # where the net overflowed, the report says inf or nan
        columns = [probe.measure(samples, delta) for probe, delta in zip(probes, deltas, strict=True)]
    return LayerReport([probe.layer.name for probe in probes], *np.array(columns).T)


def gradient_by_lag(model, x, y, loss="binary_crossentropy"):
    """Measure how much of the gradient reaches each time step of a recurrent layer, on one batch in training mode.

    The gradient is delta, dL/dz_t with z_t = W x_t as in `inspect_layers` (for LSTM and GRU all gates together): what
    back-propagation through time hands to time step t. In a net that answers after its last step, it is multiplied by
    one more recurrent Jacobian per step of lag (Pascanu et al. 2013, equation 5). Arguments are those of
    `inspect_layers`; the model is left as it was.

    Returns a float64 array of shape (time steps,): the root mean square over the samples of the L2 norm of dL/dz_t.
    Entry k is that of lag k; entry 0 belongs to the last time step, entry -1 to the first. Of several recurrent layers
    the one next to the input is measured.

    Raises `ValueError` or `TypeError` as `inspect_layers` does, and if no layer is recurrent or one is called twice.
    """
    probes, _, deltas, samples = _backpropagate(model, x, y, loss)
    recurrent = [pair for pair in zip(probes, deltas, strict=True) if isinstance(pair[0].layer, keras.layers.RNN)]
    if not recurrent:
        raise ValueError(f"The model {model.name!r} has no recurrent layer; give one with SimpleRNN, LSTM or GRU")
    probe, delta = recurrent[0]
    if len(delta) > 1:
        raise ValueError(f"Layer {probe.layer.name!r} is called {len(delta)} times; give a model that calls it once")
    steps = np.asarray(delta[0], "float64").swapaxes(0, 1)
    steps = steps if probe.layer.go_backwards else steps[::-1]
    return np.array([samples**0.5 * l2_norm(step) for step in steps])


def first_nonfinite(model, x, y, loss="binary_crossentropy"):
    """Find where a forward and backward pass first leaves the finite numbers, in the order in which it computes.

    That is: the layers' outputs, input side first; the loss; then, output side first, each layer's delta and kernel
    gradient. Arguments and errors are those of `inspect_layers`.

    Returns the name of a layer with a kernel (None for the loss itself) and "output", "loss", "delta" or "kernel
    gradient"; or None, if everything is finite.
    """
    probes, value, deltas, samples = _backpropagate(model, x, y, loss)
    for probe in probes:
        # A z of -inf behind a ReLU does no harm; at the end it does, for there compiled Keras takes the loss from z.
        if not _finite(*probe.activations, *(probe.outputs if probe is probes[-1] else [])):
            return probe.layer.name, "output"
    if not _finite(value):
        return None, "loss"
    for probe, delta in zip(probes[::-1], deltas[::-1], strict=True):
        if not _finite(*delta):
            return probe.layer.name, "delta"
        if not probe._kernel_gradients(samples, delta)[0] <= np.finfo("float32").max:
            return probe.layer.name, "kernel gradient"
    return None


def _finite(*tensors):
    return all(np.isfinite(tensor).all() for tensor in tensors)


def _backpropagate(model, x, y, loss):
    """Run one batch forward and backward; return the probes, the loss, their deltas and the number of samples."""
    layers = kernel_layers(model)
    for layer in model._flatten_layers(include_self=False):
        if not all(np.isfinite(weight).all() for weight in layer.get_weights() if weight.dtype.kind == "f"):
            message = f"Layer {layer.name!r} has weights that are nan or infinite: the training has exploded; build "
            raise ValueError(message + "the model anew and train with a smaller learning rate or with clipping")
    x, y = check_batch(x, y)
    with contextlib.ExitStack() as stack:
        # Assignments (moving averages, dropout seeds) go to the scope and are forgotten with it.
        stack.enter_context(keras.StatelessScope())
        tape = stack.enter_context(tf.GradientTape())
        probes = _attach(stack, tape, model, layers)
        prediction = model(x, training=True)
        function, y = match_targets(loss, y, prediction)
        value = tf.reduce_mean(function(y, prediction))
    # A layer enters the list when it is first called: input side first, whatever the order of construction.
    deltas = tape.gradient(value, [probe.outputs for probe in probes], unconnected_gradients="zero")
    return probes, value, deltas, len(x)


def check_batch(x, y):
    x, y = _one_array("x", x), _one_array("y", y)
    for name, values in {"x": x, "y": y}.items():
        if values.dtype.kind not in "biufV":  # V: bfloat16
            raise TypeError(f"{name} has dtype {values.dtype}; give one array of numbers, samples along the first axis")
        if values.size == 0 or values.ndim == 0:
            raise ValueError(f"{name} has shape {values.shape}; give at least one sample, along the first axis")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds values that are nan or infinite; remove or replace those samples first")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} samples and y has {len(y)}; give one target per sample")
    return x, y


def match_targets(loss, y, prediction):
    """Resolve a loss as `fit` would, and give y the shape that it needs beside the prediction; check that they fit.

    Returns the loss as a function of (y_true, y_pred) that gives one value per sample (and time step), and y.
    """
    if not tf.is_tensor(prediction):
        raise TypeError(f"The model gives a {type(prediction).__name__}, not one tensor; give a model with one output")
    try:
        function = keras.losses.get(loss)
    except ValueError:
        raise ValueError(f"loss is {loss!r}, which Keras does not know; give a name such as 'mse'") from None
    if not callable(function):
        raise TypeError(f"loss is {loss!r}; give a Keras name, a keras.losses.Loss or a function of (y_true, y_pred)")
    name = getattr(function, "__name__", None) or getattr(function, "name", "")
    if y.ndim == len(prediction.shape) - 1 and prediction.shape[-1] == 1:
        y = y[..., None]
    if _is_loss(function, "binary_crossentropy", "BinaryCrossentropy") and not np.isin(y, (0, 1)).all():
        wrong = y[~np.isin(y, (0, 1))].flat[0]
        raise ValueError(f"y holds {wrong}, but {name} takes labels 0 and 1; relabel y, or choose another loss")
    logits = getattr(function, "from_logits", getattr(function, "get_config", dict)().get("from_logits", False))
    probabilities = _is_loss(function, "binary_crossentropy", "BinaryCrossentropy") and not logits
    if probabilities and tf.reduce_any((prediction < 0) | (prediction > 1)):
        message = f"The model gives values outside 0 to 1, which {name} cuts off; end it with a sigmoid, or give "
        raise ValueError(message + "keras.losses.BinaryCrossentropy(from_logits=True)")
    if _is_loss(function, "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"):
        classes = prediction.shape[-1]
        if y.size != np.prod(prediction.shape[:-1]) or not np.isin(y, np.arange(classes)).all():
            raise ValueError(f"y must hold one label from 0 to {classes - 1} per prediction; its shape is {y.shape}")
    elif function.__module__.startswith("keras.") and y.shape != tuple(prediction.shape):
        raise ValueError(f"y has shape {y.shape}, the model gives {tuple(prediction.shape)}; {name} needs them equal")
    return function.call if isinstance(function, keras.losses.Loss) else function, tf.cast(y, prediction.dtype)


def _is_loss(function, name, class_name):
    return function is getattr(keras.losses, name) or isinstance(function, getattr(keras.losses, class_name))


@dataclass
class _Probe:
    """What one layer saw and gave during the measured forward pass, one entry per call of the layer."""

    layer: keras.layers.Layer
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    slopes: list = field(default_factory=list)
    activations: list = field(default_factory=list)

    def measure(self, samples, deltas):
        """Compute the layer's numbers, in the order of `LayerReport`."""
        activations = _per_sample(self.activations, samples)
        slopes = np.concatenate([np.ravel(slope) for slope in self.slopes])
        delta = np.concatenate([np.asarray(d, "float64").reshape(samples, -1) for d in deltas], axis=1)
        batch, per_sample = self._kernel_gradients(samples, deltas)
        return (
            activations.mean(),
            activations.std(),
            np.nan if np.isnan(slopes).any() else (slopes < _FLAT_SLOPE).mean(),
            (activations == 0).all(axis=(0, 1)).mean(),
            # The loss is a mean: a sample's own delta is its share of the batch's, times the number of samples.
            samples**0.5 * l2_norm(delta),
            batch,
            samples**0.5 * l2_norm(per_sample),
        )

    def _kernel_gradients(self, samples, deltas):
        """Return the norm of the batch's kernel gradient and the norm of every sample's part of it."""
        if isinstance(self.layer, (keras.layers.Dense, keras.layers.RNN)):
            a, d = _per_sample(self.inputs, samples), _per_sample(deltas, samples)
            a_scale, d_scale = (np.abs(values).max() or 1.0 for values in (a, d))
            a, d = a / a_scale, d / d_scale
            # The part is sum_p a_p d_p^T over positions p (time steps); its norm needs only the Gram matrices.
            square = ((a @ a.transpose(0, 2, 1)) * (d @ d.transpose(0, 2, 1))).sum(axis=(1, 2))
            batch = l2_norm(np.tensordot(a, d, axes=([0, 1], [0, 1])))
            return batch * a_scale * d_scale, np.sqrt(np.maximum(square, 0)) * a_scale * d_scale
        parts = [self._sample_gradient(i, deltas) for i in range(samples)]
        return l2_norm(np.sum(parts, axis=0)), np.array([l2_norm(part) for part in parts])

    def _sample_gradient(self, i, deltas):
        """Send one sample's delta back through this layer alone: works for any layer with a kernel."""
        kernel = self.layer.kernel.value
        linear = _replaced(self.layer, activation=keras.activations.linear)
        with keras.StatelessScope(), tf.GradientTape() as tape, linear:
            tape.watch(kernel)
            z = [self.layer.call(a[i : i + 1]) for a in self.inputs]
        return np.asarray(tape.gradient(z, kernel, output_gradients=[d[i : i + 1] for d in deltas]), "float64")


def _attach(stack, tape, model, layers):
    """Make the layers report for the time of the stack; return the list that their probes will enter when called."""
    probes = []
    origins = {}  # id of a tensor that holds z, or z normalized -> the tensor itself, its probe, and which call of it

    def attach_kernel_layer(layer):
        probe = _Probe(layer)
        call, recurrent, owner = layer.call, isinstance(layer, keras.layers.RNN), _kernel_owner(layer)
        original = getattr(owner, "activation", None) or keras.activations.linear

        def record_z(z):
            tape.watch(z)
            probe.outputs.append(z)

        def activation(z):
            if not recurrent:
                record_z(z)
            probe.slopes.append(_slope(original, z))
            return original(z)

        def measured_call(inputs, *args, **kwargs):
            if not probe.inputs:
                probes.append(probe)
            probe.inputs.append(inputs)
            if recurrent:
                # With the identity for a kernel, the cell takes the projection W x_t as its input, and so as our z.
                projection = tf.matmul(inputs, owner.kernel)
                record_z(projection)
                with _replaced(owner, kernel=tf.eye(projection.shape[-1], dtype=projection.dtype)):
                    output = call(projection, *args, **kwargs)
            else:
                output = call(inputs, *args, **kwargs)
                if len(probe.outputs) < len(probe.inputs):  # the layer applies no activation of its own
                    record_z(output)
                    probe.slopes.append(tf.ones_like(output))
            output_tensor = output[0] if isinstance(output, (list, tuple)) else output
            probe.activations.append(output_tensor)
            origins[id(output_tensor)] = output_tensor, probe, len(probe.activations) - 1
            return output

        if recurrent:
            # Unrolled, the loop calls the cell once per time step; else once more, to learn the shapes.
            stack.enter_context(_replaced(owner, dropout=0.0))
            stack.enter_context(_replaced(layer, unroll=True))
        if hasattr(owner, "activation"):
            stack.enter_context(_replaced(owner, activation=activation))
        stack.enter_context(_replaced(layer, call=measured_call))

    def attach_follower(layer):
        """An activation layer completes the probe of the z that reaches it; others, as normalization, hand z on."""
        call = layer.call

        def measured_call(z, *args, **kwargs):
            output = call(z, *args, **kwargs)
            _, probe, index = origins.get(id(z), (None, None, None))
            if probe and isinstance(layer, _ACTIVATION_LAYERS):
                probe.slopes[index], probe.activations[index] = _slope(call, z), output
            elif probe and getattr(output, "shape", None) == z.shape:
                origins[id(output)] = output, probe, index
            return output

        stack.enter_context(_replaced(layer, call=measured_call))

    everything = list(model._flatten_layers(include_self=False))
    inner = {id(getattr(layer, "activation", None)) for layer in everything}  # a layer that serves as an activation
    for layer in everything:
        if any(layer is other for other in layers):
            attach_kernel_layer(layer)
        elif len(list(layer._flatten_layers())) == 1 and id(layer) not in inner:
            attach_follower(layer)
    return probes


@contextlib.contextmanager
def _replaced(owner, **attributes):
    """Replace attributes for a while, past Keras's and TensorFlow's own bookkeeping of attributes."""
    own = vars(owner)
    before = {name: own[name] for name in attributes if name in own}
    own.update(attributes)
    try:
        yield
    finally:
        for name in attributes:
            del own[name]
        own.update(before)


def _slope(activation, z):
    """Return |activation'(z)|, or nan everywhere if the activation is not elementwise."""
    with tf.GradientTape() as tape:
        tape.watch(z)
        values = activation(z)
    if activation not in _ELEMENTWISE:
        others = activation(z * (np.arange(z.shape[-1]) > 0))[..., 1:]  # must not feel that the first unit changed
        if not np.array_equal(values[..., 1:], others, equal_nan=True):
            return tf.fill(z.shape, np.nan)
    return tf.abs(tape.gradient(values, z, unconnected_gradients="zero"))


def _per_sample(tensors, samples):
    """Stack calls, positions and time steps along one axis: shape (samples, positions, features), float64."""
    return np.concatenate([np.asarray(t, "float64").reshape(samples, -1, t.shape[-1]) for t in tensors], axis=1)


def l2_norm(values):
    """Compute the L2 norm of all entries; scaled first, since squares of 1e-170 are 0 and of 1e170 infinite."""
    values = np.asarray(values, dtype="float64")
    scale = np.abs(values).max(initial=0.0)
    if scale == 0 or not np.isfinite(scale):
        return float(scale)
    return float(scale * np.sqrt(np.square(values / scale).sum()))
