"""Mean-field theory: how deltas and kernel gradients of a wide net will spread over its layers.

Over random kernels the units of a wide layer are Gaussian, so one number per sample describes a layer: the variance q
of z. With fan-in N, kernel variance v, zero biases and u ~ N(0, 1) (forward: Poole et al. 2016, equation 3; backward:
Schoenholz et al. 2017, equation 8; both for ReLU: He et al. 2015, section 2.2):

    q^l = N v m^(l-1)      m^l = E[φ(√q^l u)²]      E‖δ^l‖² = N_l v_(l+1) E[φ'(√q^l u)²] E‖δ^(l+1)‖²
    E‖∂L/∂W^l‖² = E‖δ^l‖² N_(l-1) m^(l-1)
"""

from typing import NamedTuple

import keras
import numpy as np
import scipy

from vgp_lib.engine import _arguments, _band, _keras

# Panels of the integrals over u, and over z = √q u: they end at the usual kinks of φ and are narrow where it bends.
_ENDS_U, _ENDS_Z = np.arange(-12.0, 13.0), np.outer([-1, 1], [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16]).ravel()
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(10)


class Elementwise(NamedTuple):
    """An activation φ and its derivative (where it has a jump or a kink: Keras's value), functions of arrays."""

    value: object
    slope: object

    def on_nodes(self, q):
        """Return nodes u, weights w, φ(√q u), φ'(√q u), each (len(q), nodes): for u ~ N(0, 1), E[f(u)] = Σ w f(u)."""
        root = np.sqrt(q)[:, None]
        ends = np.hstack([np.tile(_ENDS_U, (len(q), 1)), _ENDS_Z / np.maximum(root, 1e-150)])
        ends = np.sort(np.clip(ends, -12, 12), axis=1)
        half = np.diff(ends, axis=1)[..., None] / 2
        u = (ends[:, :-1, None] + half * (1 + _NODES)).reshape(len(q), -1)
        w = (half * _NODE_WEIGHTS).reshape(len(q), -1) * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
        return u, w, self.value(root * u), self.slope(root * u)


def _relu(slope=0.0):
    return Elementwise(lambda z: np.where(z > 0, z, slope * z), lambda z: np.where(z > 0, 1.0, slope))


def _elu(alpha=1.0, scale=1.0):
    return Elementwise(
        lambda z: scale * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))),
        lambda z: scale * np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0))),
    )


_sigmoid, _cdf = scipy.special.expit, scipy.special.ndtr
_EXACT = {  # by their names in keras.activations
    "linear": Elementwise(lambda z: z, np.ones_like),
    "relu": _relu(),
    "leaky_relu": _relu(0.2),
    "elu": _elu(),
    "selu": _elu(1.6732632423543772, 1.0507009873554805),  # Klambauer et al. 2017, equation 14
    "sigmoid": Elementwise(_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "tanh": Elementwise(np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "silu": Elementwise(lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) * (1 + z * _sigmoid(-z))),
    "gelu": Elementwise(lambda z: z * _cdf(z), lambda z: _cdf(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)),
}


def elementwise(activation) -> Elementwise:
    """Resolve a Keras name, function or activation layer, or a function of arrays, to φ and φ'.

    Those of the course, from linear to gelu, are computed exactly. Any other function is called with float64 arrays and
    differentiated by central differences; kinks elsewhere than at 0, ±0.5, ±1, ±3 and ±6 cost up to about a percent.
    Raises `ValueError` if the activation is unknown or not elementwise, `TypeError` if it is none.
    """
    advice = "give a name such as 'relu', an elementwise function of arrays, or a ReLU, LeakyReLU, PReLU or ELU layer"
    if isinstance(activation, str):
        try:
            activation = keras.activations.get(activation)
        except ValueError:
            raise ValueError(f"activation is {activation!r}, which Keras does not know; {advice}") from None
    activation = activation.activation if isinstance(activation, keras.layers.Activation) else activation
    match activation:
        case keras.layers.ReLU(max_value=None, threshold=0) | keras.layers.LeakyReLU():
            return _relu(activation.negative_slope)
        case keras.layers.PReLU(alpha_initializer=keras.initializers.Zeros() | keras.initializers.Constant() as start):
            return _relu(float(getattr(start, "value", 0.0)))
        case keras.layers.ELU():
            return _elu(activation.alpha)
    if not callable(activation) or isinstance(activation, (type, keras.layers.Layer)):
        raise TypeError(f"activation is {activation!r}; {advice}")
    exact = (phi for name, phi in _EXACT.items() if activation is getattr(keras.activations, name))
    return next(exact, None) or _differentiated(activation)


def _differentiated(function):
    def value(z):
        return np.asarray(function(z), dtype="float64")

    probe, rest = np.linspace(-2.5, 2.4, 12).reshape(2, 6), np.arange(6) > 0
    try:
        result = np.asarray(function(probe))
    except (TypeError, ValueError) as error:
        raise TypeError(f"activation is {function!r}, which takes no array; give one that does: np.tanh") from error
    if result.shape != probe.shape or not np.array_equal(value(probe * rest)[:, rest], result[:, rest], equal_nan=True):
        raise ValueError(f"activation is {function!r}, which is not elementwise; give one that takes every z alone")
    # The error of a central difference is least near the cube root of the rounding error of the function.
    step = np.finfo(result.dtype).eps ** (1 / 3) if result.dtype.kind == "f" else 6e-6

    def slope(z):
        h = step * np.maximum(np.abs(z), 1e-6)  # in proportion to z, so that a kink at 0 stays sharp for every q
        return (value(z + h) - value(z - h)) / (2 * h)

    return Elementwise(value, slope)


def kernel_variance(kernel_initializer, fan_in, fan_out):
    """Compute the variance of a Dense kernel of shape (fan_in, fan_out) from a Keras initializer, or its name.

    See Glorot & Bengio 2010, equation 16, and He et al. 2015, equation 10. Raises `ValueError` if the initializer is
    unknown, not random or not centred at 0, `TypeError` if it is none.
    """
    initializer, mean, variance = _initializer(kernel_initializer), 0.0, 0.0
    match initializer:
        case keras.initializers.VarianceScaling(scale=scale, mode=mode):
            variance = scale / max(1.0, {"fan_in": fan_in, "fan_out": fan_out}.get(mode, (fan_in + fan_out) / 2))
        case keras.initializers.Orthogonal(gain=gain):  # rows or columns, whichever are fewer, have length gain
            variance = gain**2 / max(fan_in, fan_out)
        case keras.initializers.RandomUniform(minval=low, maxval=high):
            mean, variance = (low + high) / 2, (high - low) ** 2 / 12
        case keras.initializers.RandomNormal(mean=mean, stddev=stddev):
            variance = stddev**2
        case keras.initializers.TruncatedNormal(mean=mean, stddev=stddev):
            variance = 0.7737413035499232 * stddev**2  # cut off at ±2 stddev: 1 - 4 pdf(2) / (2 cdf(2) - 1)
    if mean != 0 or not 0 < variance < np.inf:
        what = f"with mean {mean:g} and variance {variance:g}" if variance else "whose weights are not random"
        advice = "give random weights of mean 0, such as 'glorot_uniform'"
        raise ValueError(f"kernel_initializer is {type(initializer).__name__}, {what}; {advice}")
    return float(variance)


def _initializer(identifier):
    advice = "give a name such as 'he_normal', or an object such as keras.initializers.VarianceScaling(2.0)"
    try:
        initializer = keras.initializers.get(identifier) if isinstance(identifier, str) else identifier
    except ValueError:
        raise ValueError(f"kernel_initializer is {identifier!r}, which Keras does not know; {advice}") from None
    known = isinstance(initializer, keras.initializers.Initializer) and _keras.is_keras(type(initializer).__call__)
    if not known or getattr(initializer, "input_axes", None) is not None:
        raise TypeError(f"kernel_initializer is {identifier!r}, whose variance is unknown; {advice}")
    return initializer


def moments(phi, q):
    """Compute E[φ(z)], E[φ(z)²] and E[φ'(z)²] for z ~ N(0, q): three arrays of the shape of q, (samples,)."""
    q, where = np.unique(q, return_inverse=True)  # under batch normalization they are all 1
    _, w, value, slope = phi.on_nodes(q)
    return (w * value).sum(axis=1)[where], (w * value**2).sum(axis=1)[where], (w * slope**2).sum(axis=1)[where]


class CriticalScale(NamedTuple):
    """Where gradients neither vanish nor explode: σ_w (weights have variance σ_w²/fan_in), and the fixed point q*."""

    sigma_w: float
    q: float


def critical_scale(activation) -> CriticalScale:
    """Find the least σ_w for which χ = σ_w² E[φ'²] is 1 at a fixed point q* = σ_w² E[φ²] of the variance; biases are 0.

    On the line χ = 1, q* alone is unknown (Schoenholz et al. 2017, section 3). An activation that is critical at every
    q*, as ReLU, gets q* = 1; one that is critical only for q* → 0, as tanh, gets 0.

    Raises `ValueError` if there is none for q* between 1e-6 and 1e6.
    """
    phi = elementwise(activation)

    def excess(q):  # over the fixed point, where χ is 1
        _, second, slope = moments(phi, np.atleast_1d(q))
        return second / slope / q - 1

    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        grid = np.geomspace(1e-6, 1e6, 241)
        values = excess(grid)
        values[np.abs(values) < 1e-9] = 0  # rounding is no crossing
        brackets = [grid[i : i + 2] for i in np.flatnonzero(values[:-1] * values[1:] < 0)]
        roots = [scipy.optimize.brentq(lambda q: excess(q)[0], *pair, xtol=1e-12) for pair in brackets]
        roots = roots or ([1.0] if not values.any() else [0.0] if abs(values[0]) < 1e-4 else [])
    if not roots:
        raise ValueError(f"activation {activation!r} is critical at no scale; give another")
    return min(map(CriticalScale, (moments(phi, np.maximum(roots, 1e-12))[2] ** -0.5).tolist(), roots))


class Band(NamedTuple):
    """Where 80 % of single nets lie, from the 10 % to the 90 % quantile: pairs (low, high), or arrays (2, layers)."""

    delta_ratio: tuple[float, float]
    kernel_gradient_ratio: tuple[float, float]
    delta_rms: np.ndarray
    kernel_gradient_rms: np.ndarray


class Profile(NamedTuple):
    """What `predict_profile` predicts: float64 arrays with one entry per hidden layer, input side first.

    `delta_rms` and `kernel_gradient_rms` are of the L2 norms of dL/dz and dL/dW, relative to the last hidden layer, and
    the ratios their first entries; `activation_second_moment` is the mean of φ(z)² over samples and units; `chi` is the
    factor of E‖δ‖² from the layer above, in a plain net σ_w² E[φ'²], the last one from the output unit.
    """

    delta_ratio: float
    kernel_gradient_ratio: float
    delta_rms: np.ndarray
    kernel_gradient_rms: np.ndarray
    activation_second_moment: np.ndarray
    chi: np.ndarray
    band: Band

    def __repr__(self):
        lines = ["layer  delta    kernel gradient  chi    E[activation²]"]
        rows = zip(self.delta_rms, self.kernel_gradient_rms, self.chi, self.activation_second_moment, strict=True)
        lines += [f"{i:5d}  {d:.1e}  {k:.1e}          {chi:.3f}  {m:.3g}" for i, (d, k, chi, m) in enumerate(rows, 1)]
        for name in ("kernel_gradient_ratio", "delta_ratio"):
            low, high = getattr(self.band, name)
            name, value = name.removesuffix("_ratio").replace("_", " "), getattr(self, name)
            lines.append(f"{name}, first hidden / last hidden layer: {value:.1e}; one net in [{low:.1e}, {high:.1e}]")
        return "\n".join(lines)


def predict_profile(activation, kernel_initializer, widths, x, batch_normalization=False, residual=False) -> Profile:
    """Predict deltas and kernel gradients of the untrained net of `build_mlp`, relative to its last hidden layer.

    It is the root mean square over nets and samples, comparable with the per-sample values of `inspect_layers`, and
    for the plain net exact in the limit of wide layers; the band says how far a single net of these widths strays.

    Batch normalization divides E‖δ‖² by the batch variance of z: a factor E[φ'²]/Var[φ] a layer, u ~ N(0, 1), which is
    π/(π-1) for ReLU (Yang et al. 2019), if the samples are many and point in many directions. Inputs from a plane, such
    as the moons, do not: there twelve layers multiply δ about ten times more, and single nets stray beyond the band.
    A residual block adds its branch: E‖dL/dh‖² grows by 1 + N v E[φ'²] (after Yang & Schoenholz 2017, section 4). If
    activations have a mean above 0, narrow nets grow more: 12 He-ReLU layers of 100 units by 1.6, of 10 units by 4.

    Args:
        activation: elementwise; a Keras name, function or activation layer, or a function of arrays.
        kernel_initializer: random and centred at 0; a Keras name or object.
        widths: input features and units of each hidden layer, without the output unit, such as [2, 100, 100, 100].
        x: inputs, array of shape (samples, widths[0]).
        batch_normalization, residual: as in `build_mlp`; a residual net has hidden layers of one width.

    Raises `ValueError` or `TypeError` if an argument is out of range or outside the theory, if a layer is dead for all
    samples, or if numbers leave the range of float64 (a ratio that does so alone is inf or 0).
    """
    phi = elementwise(activation)
    widths, x, net = _check(widths, x, batch_normalization, residual)
    variances = [kernel_variance(kernel_initializer, *fans) for fans in zip(widths, [*widths[1:], 1], strict=True)]
    orthogonal = isinstance(_initializer(kernel_initializer), keras.initializers.Orthogonal)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
        second, logs = _mean_field(phi, widths, variances, x, *net)
        profiles = np.exp((logs - logs[:, -1:]) / 2)
        bands = profiles[:, None] * np.exp(_band.finite_width(phi, widths, variances, x, *net, orthogonal) / 2)
        chi = np.exp(logs[0] - np.append(logs[0, 1:], 0.0))
    if np.isnan(bands).any() or np.isnan(chi).any():
        what = "a layer is dead for all samples" if np.isneginf(logs).any() else "numbers leave the range of float64"
        sizes = f"inputs up to {np.abs(x).max():.3g} and weights of variance up to {max(variances):.3g}"
        raise ValueError(f"With {sizes}, {what}; give sizes near 1, fewer layers or another activation")
    band = Band(*map(tuple, bands[..., 0].tolist()), *bands)
    return Profile(*profiles[:, 0].tolist(), *profiles, second, chi, band)


def _check(widths, x, batch_normalization, residual):
    net = _arguments.flag("batch_normalization", batch_normalization), _arguments.flag("residual", residual)
    if not np.iterable(widths) or len(widths := list(widths)) < 2:
        raise ValueError(f"widths is {widths!r}; give features and units of each hidden layer, such as [2, 100, 100]")
    widths = [_arguments.integer(f"widths[{i}]", width, at_least=1) for i, width in enumerate(widths)]
    if residual and len(set(widths[1:])) > 1:
        raise ValueError(f"widths is {widths}, but residual blocks need hidden layers of one width; give equal ones")
    x, _ = _arguments.batch(x, x)
    if x.ndim != 2 or x.shape[1] != widths[0]:
        raise ValueError(f"x has shape {x.shape}, widths begins with {widths[0]}; give shape (samples, {widths[0]})")
    if batch_normalization and len(x) < 2:
        raise ValueError("x has one sample; batch normalization compares samples: give a batch")
    return widths, x.astype("float64"), net


def _mean_field(phi, widths, variances, x, batch_normalization, residual):
    """Return E[φ²], ln E‖δ‖² and ln E‖∂L/∂W‖² of every hidden layer, where δ of the output unit is 1."""
    groups = np.array_split(np.sort(np.square(x).mean(axis=1)), min(len(x), 256))  # of samples with nearly one norm
    second, weights = np.transpose([(group.mean(), len(group) / len(x)) for group in groups])  # of a layer's input
    inputs, seconds, slopes, mean, spread = [], [], [], 0.0, x.var(axis=0).mean()
    for layer, (width, variance) in enumerate(zip(widths, variances[:-1], strict=False)):
        inputs.append(second)
        q = np.ones_like(second) if batch_normalization else width * variance * second
        phi_mean, phi_second, phi_slope = moments(phi, q)
        seconds.append(weights @ phi_second)
        slopes.append(phi_slope / (width * variance * spread + 1e-3 if batch_normalization else 1.0))  # 1e-3: Keras's ε
        keep = float(residual and layer > 0)  # z is independent of each single unit of h: E[h φ] = E[h] E[φ]
        second = keep * (second + 2 * mean * phi_mean) + phi_second
        spread = keep * spread + weights @ (phi_second - phi_mean**2)
        mean = keep * mean + phi_mean
    log_deltas, log_gradient = [], np.log(widths[-1] * variances[-1])  # of dL/dh of the last hidden layer
    for layer in reversed(range(len(slopes))):
        log_deltas.insert(0, log_gradient + np.log(slopes[layer]))
        through = log_deltas[0] + np.log(widths[layer] * variances[layer])
        log_gradient = np.logaddexp(log_gradient, through) if residual and layer > 0 else through
    log_kernels = [log + np.log(n * m) for log, n, m in zip(log_deltas, widths, inputs, strict=False)]
    return np.array(seconds), scipy.special.logsumexp([log_deltas, log_kernels], axis=2, b=weights)
