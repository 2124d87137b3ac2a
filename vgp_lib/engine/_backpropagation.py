"""One batch forward and backward through a copy of a model, whose layers report what they see and give."""

from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from vgp_lib.engine import _arguments, _keras

_BYTES = 3e7  # for the outputs of all layers; what is made of them takes up to twenty times as much
# Layers that only apply an activation: their output is the activation of the kernel layer before them.
_ACTIVATION_LAYERS = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Softmax)
# The course's own, for which nothing needs to be tried out.
_ELEMENTWISE = (keras.activations.linear, keras.activations.sigmoid, keras.activations.tanh, keras.activations.relu)


def broken_layer(layer):
    """Return the first layer with a weight that is nan or infinite, or None; of nested layers the innermost."""
    if all(np.isfinite(weight).all() for weight in layer.get_weights() if weight.dtype.kind == "f"):
        return None
    inside = [] if isinstance(layer, layers.RNN) else _keras.all_layers(layer)[1:]
    return next(filter(None, map(broken_layer, inside)), layer)


@dataclass
class Probe:
    """What one layer saw and gave during the measured forward pass, one entry per call of the layer."""

    layer: layers.Layer
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    slopes: list = field(default_factory=list)
    activations: list = field(default_factory=list)


class Backpropagation:
    """One batch forward and backward: arguments of `inspect_layers`, and pairs of a variable and the value to take.

    Without `slopes`, a net with recurrent layers is measured without them: they need the time steps unrolled.

    It has `probes`, one for each layer with a kernel, in the order of the forward pass; `deltas`, for each probe dL/dz
    of every call; `originals`, from the id of a probe's layer to the model's; `loss`, the mean over the `samples`.
    """

    def __init__(self, model, x, y, loss, values=(), slopes=True):
        self.not_measured = [layer.name for layer in _keras.without_one_kernel(model)]
        broken = broken_layer(model)
        if broken:
            message = f"Layer {broken.name!r} has weights that are nan or infinite: the training has exploded; build "
            raise ValueError(message + "the model anew and train with a smaller learning rate or with clipping")
        x, y = _arguments.batch(x, y)
        if not all(layer.built for layer in _keras.all_layers(model)):
            model(x[:1])  # an activation layer inside a Dense layer is built when it is first called
        self._slopes = slopes or not _keras.loops_over_time(model)
        self.samples, self.values, self.probes = len(x), values, []
        self.share = 1.0  # of all samples that are measured
        self._origins = {}  # id of a tensor that holds z, or z normalized -> the tensor, its probe, which call of it
        double, self.originals = _keras.twin(model, in_float32=True)
        self._attach(double)
        self._measure(model, double, x, y, loss)

    def _measure(self, model, double, x, y, loss):
        given = None  # the loss and the targets for it

        def predict(x):
            with keras.StatelessScope(self.values):
                prediction = _keras.twin(model, in_float32=True)[0](x, training=True)
            _arguments.check_mask(prediction)  # which does not leave a traced function
            return prediction

        def measure(x):
            # Assignments (moving averages, dropout seeds) go to the scope and are forgotten with it.
            with keras.StatelessScope(self.values) as scope, tf.GradientTape() as self._tape:
                prediction = double(x, training=True)
                function, targets = given or _arguments.loss_and_targets(loss, y, prediction)
                losses = function(targets, prediction)
                mean, self.couples = tf.reduce_mean(losses), losses.shape.rank == 0
            now = [(seed, scope.get_current_value(seed)) for seed in _keras.seeds_of(model)]
            self.seeds = [(seed, value) for seed, value in now if value is not None]  # which was not drawn from
            outputs = [probe.outputs for probe in self.probes]
            deltas = self._tape.gradient(mean, outputs, unconnected_gradients="zero")
            return mean, deltas, [(one.inputs, one.outputs, one.slopes, one.activations) for one in self.probes]

        if not self._slopes:  # the loops over time run much faster traced; but y is compared with real predictions
            given = _arguments.loss_and_targets(loss, y, _keras.traced(predict)(x))
            measure = _keras.traced(measure)
        self.loss, self.deltas, recorded = measure(tf.convert_to_tensor(x))
        for probe, parts in zip(self.probes, recorded, strict=True):
            probe.inputs, probe.outputs, probe.slopes, probe.activations = parts

    def _attach(self, double):
        everything, kernels = _keras.all_layers(double), _keras.layers_with_kernel(double)
        inner = {id(getattr(layer, "activation", None)) for layer in everything}  # a layer that serves as an activation
        for layer in everything:
            if any(layer is other for other in kernels):
                self._attach_kernel_layer(layer)
            elif len(_keras.all_layers(layer)) == 1 and id(layer) not in inner:
                self._attach_follower(layer)

    def _attach_kernel_layer(self, layer):
        """A probe enters the list when its layer is first called: in the order of the forward pass."""
        probe, run, owner = Probe(layer), layer.call, _keras.kernel_owner(layer)
        recurrent = owner is not layer
        original, kernel = getattr(owner, "activation", None) or keras.activations.linear, owner.kernel

        def activation(z):
            if not recurrent:
                self._record_z(probe, z)
            probe.slopes.append(self._slope(original, z))
            return original(z)

        def call(inputs, *args, **kwargs):
            if not probe.inputs:
                self.probes.append(probe)
            probe.inputs.append(inputs)
            if recurrent:
                # With the identity for a kernel, the cell takes the projection W x_t as its input, and so as our z.
                inputs = tf.matmul(inputs, kernel)
                self._record_z(probe, inputs)
                _keras.override(owner, kernel=tf.eye(inputs.shape[-1], dtype=inputs.dtype))
            output = run(inputs, *args, **kwargs)
            if len(probe.outputs) < len(probe.inputs):  # the layer applies no activation of its own
                self._record_z(probe, output)
                probe.slopes.append(tf.ones_like(output))
            tensor = output[0] if isinstance(output, (list, tuple)) else output
            probe.activations.append(tensor)
            self._origins[id(tensor)] = tensor, probe, len(probe.activations) - 1
            return output

        if recurrent:
            # Unrolled, the loop calls the cell once per time step; else once more, to learn the shapes.
            _keras.override(owner, dropout=0.0)
            _keras.override(layer, unroll=self._slopes)
        if hasattr(owner, "activation") and (self._slopes or not recurrent):
            _keras.override(owner, activation=activation)
        _keras.override(layer, call=call)

    def _slope(self, activation, z):
        return _slope(activation, z) if self._slopes else tf.constant(np.nan)

    def _record_z(self, probe, z):
        self._tape.watch(z)
        probe.outputs.append(z)

    def _attach_follower(self, layer):
        """An activation layer completes the probe of the z that reaches it; others, as normalization, hand z on."""
        run = layer.call

        def call(z, *args, **kwargs):
            output = run(z, *args, **kwargs)
            _, probe, index = self._origins.get(id(z), (None, None, None))
            if probe and isinstance(layer, _ACTIVATION_LAYERS):
                probe.slopes[index], probe.activations[index] = self._slope(run, z), output
            elif probe and getattr(output, "shape", None) == z.shape:
                self._origins[id(output)] = output, probe, index
            return output

        _keras.override(layer, call=call)

    def kernel_gradients(self, probe, deltas):
        """Return the batch's kernel gradient and the norm of every sample's part of it."""
        if isinstance(probe.layer, layers.RNN) or getattr(type(probe.layer), "call", None) is layers.Dense.call:
            return _dense_gradients(per_sample(probe.inputs, self.samples), per_sample(deltas, self.samples))
        # Any other layer: send one sample's delta after the other back through it alone.
        layer, _ = _keras.twin(self.originals[id(probe.layer)], in_float32=True)
        if hasattr(layer, "activation"):
            _keras.override(layer, activation=keras.activations.linear)
        total, norms = 0.0, []
        for i in range(self.samples):
            with keras.StatelessScope(self.values), tf.GradientTape() as tape:
                kernel = layer.kernel.value
                tape.watch(kernel)
                z = [layer.call(a[i : i + 1]) for a in probe.inputs]
            part = np.asarray(tape.gradient(z, kernel, output_gradients=[d[i : i + 1] for d in deltas]), "float64")
            total, norms = total + part, [*norms, l2_norm(part)]
        return total, np.array(norms)

    def release(self):
        """Forget all tensors now: they lie in cycles, which Python's garbage collector would find much later."""
        self._origins, self._tape, self.deltas = {}, None, None
        for probe in self.probes:
            probe.inputs, probe.outputs, probe.slopes, probe.activations = [], [], [], []


def in_parts(model, x, y, loss):
    """Yield one `Backpropagation` of all samples, or, where that would take much memory, of one part after the other.

    Samples that may act on each other stay together: under batch normalization, under operations, layers or a loss of
    the caller's own, under losses of the whole batch.
    """
    x, y = _arguments.batch(x, y)
    dense = x.ndim == 2 and all(isinstance(layer, layers.Dense) for layer in _keras.layers_with_kernel(model))
    count, seeds = len(x), ()
    if not dense and not any(map(_keras.couples, [loss, *_keras.all_layers(model)])):
        first = Backpropagation(model, x[:1], y[:1], loss)
        size = sum(z.dtype.size * int(np.prod(z.shape)) for probe in first.probes for z in probe.outputs)
        count = count if first.couples else max(1, int(_BYTES / size))
        first.release()
    for start in range(0, len(x), count):
        run = Backpropagation(model, x[start : start + count], y[start : start + count], loss, seeds)
        run.share, seeds = run.samples / len(x), run.seeds  # else Dropout would leave out the same units in each part
        yield run
        run.release()


def _dense_gradients(a, d):
    """The kernel gradient of z = a W, and the norms of the samples' parts of it, each a sum of a_p d_pᵀ."""
    a_scale, d_scale = (np.abs(values).max() or 1.0 for values in (a, d))
    a, d = a / a_scale, d / d_scale
    # Their shapes are (samples, positions, features) and (samples, positions, units).
    if a.shape[1] ** 2 < a.shape[2] * d.shape[2]:  # then the Gram matrices are smaller than the gradients
        square = ((a @ a.transpose(0, 2, 1)) * (d @ d.transpose(0, 2, 1))).sum(axis=(1, 2))
    else:
        square = np.array([np.square(one.T @ delta).sum() for one, delta in zip(a, d, strict=True)])
    batch = np.tensordot(a, d, axes=([0, 1], [0, 1])) * a_scale * d_scale
    return batch, np.sqrt(np.maximum(square, 0)) * a_scale * d_scale


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


def per_sample(tensors, samples):
    """Stack calls, positions and time steps along one axis: shape (samples, positions, features), float64."""
    return np.concatenate([np.asarray(t, "float64").reshape(samples, -1, t.shape[-1]) for t in tensors], axis=1)


def l2_norm(values):
    """Compute the L2 norm of all entries; scaled first, since squares of 1e-170 are 0 and of 1e170 infinite."""
    values = np.asarray(values, dtype="float64")
    scale = np.abs(values).max(initial=0.0)
    if scale == 0 or not np.isfinite(scale):
        return float(scale)
    return float(scale * np.sqrt(np.square(values / scale).sum()))
