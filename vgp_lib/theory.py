"""Mean-field theory: how deltas and kernel gradients of a wide net will spread over its layers, without TensorFlow.

Over random kernels the units of a wide layer are Gaussian, so one number per sample describes a layer: the variance q
of z. With fan-in N, kernel variance v, zero biases and u ~ N(0, 1) (forward: Poole et al. 2016, equation 3; backward:
Schoenholz et al. 2017, equation 8; both for ReLU: He et al. 2015, section 2.2):

    q^l = N v m^(l-1)      m^l = E[φ(√q^l u)²]      E‖δ^l‖² = N_l v_(l+1) E[φ'(√q^l u)²] E‖δ^(l+1)‖²
    E‖∂L/∂W^l‖² = E‖δ^l‖² N_(l-1) m^(l-1)
"""

import inspect
import re
from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import scipy

_BATCH_NORMALIZATION_EPSILON = 1e-3  # Keras adds it to the variance
_QUANTILE_90 = 1.2815515655446004  # of the standard normal distribution
_PAIRED_SAMPLES = 64  # the band compares samples in pairs
_HERMITE_TERMS = 48


class Elementwise(NamedTuple):
    """An activation φ, its derivative (where it has a jump or a kink: Keras's value), and its unusual kinks."""

    value: object
    slope: object
    kinks: tuple = ()


_sigmoid, _normal_cdf = scipy.special.expit, scipy.special.ndtr


def _softplus(z):
    return np.logaddexp(0, z)


def _inside(z, limit):
    return (np.abs(z) < limit) * 1.0


def _relu(negative_slope=0.0, max_value=None, threshold=0.0):
    top = np.inf if max_value is None else max_value
    return Elementwise(
        lambda z: np.where(z > threshold, np.minimum(z, top), negative_slope * (z - threshold)),
        lambda z: np.where(z > threshold, (z < top) * 1.0, negative_slope),
        tuple(kink for kink in (threshold, top) if np.isfinite(kink)),
    )


def _elu(alpha=1.0, scale=1.0):
    return Elementwise(
        lambda z: scale * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))),
        lambda z: scale * np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0))),
    )


def _silu_slope(z):
    return _sigmoid(z) * (1 + z * _sigmoid(-z))


def _gelu_slope(z):
    return _normal_cdf(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def _mish_slope(z):
    t = np.tanh(_softplus(z))
    return t + z * (1 - t**2) * _sigmoid(z)


def _hard_silu_slope(z):
    return np.where(z > 3, 1.0, _inside(z, 3) * (z / 3 + 0.5))


# Keras's elementwise activations that need no argument; their kinks lie at 0, ±0.5, ±1, ±3 and 6.
_ACTIVATIONS = {
    "linear": Elementwise(lambda z: z, np.ones_like),
    "relu": _relu(),
    "relu6": _relu(max_value=6.0),
    "leaky_relu": _relu(negative_slope=0.2),
    "elu": _elu(),
    "celu": _elu(),
    "selu": _elu(1.6732632423543772, 1.0507009873554805),  # Klambauer et al. 2017, equation 14
    "sigmoid": Elementwise(_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "tanh": Elementwise(np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "softplus": Elementwise(_softplus, _sigmoid),
    "softsign": Elementwise(lambda z: z / (1 + np.abs(z)), lambda z: (1 + np.abs(z)) ** -2.0),
    "silu": Elementwise(lambda z: z * _sigmoid(z), _silu_slope),
    "gelu": Elementwise(lambda z: z * _normal_cdf(z), _gelu_slope),
    "mish": Elementwise(lambda z: z * np.tanh(_softplus(z)), _mish_slope),
    "exponential": Elementwise(np.exp, np.exp),
    "log_sigmoid": Elementwise(lambda z: -_softplus(-z), lambda z: _sigmoid(-z)),
    "squareplus": Elementwise(lambda z: (z + np.hypot(z, 2)) / 2, lambda z: (1 + z / np.hypot(z, 2)) / 2),
    "hard_sigmoid": Elementwise(lambda z: np.clip(z / 6 + 0.5, 0, 1), lambda z: _inside(z, 3) / 6),
    "hard_silu": Elementwise(lambda z: z * np.clip(z / 6 + 0.5, 0, 1), _hard_silu_slope),
    "hard_tanh": Elementwise(lambda z: np.clip(z, -1, 1), lambda z: _inside(z, 1)),
    "hard_shrink": Elementwise(lambda z: z * (np.abs(z) > 0.5), lambda z: (np.abs(z) > 0.5) * 1.0),
    "soft_shrink": Elementwise(lambda z: z - np.clip(z, -0.5, 0.5), lambda z: (np.abs(z) > 0.5) * 1.0),
    "tanh_shrink": Elementwise(lambda z: z - np.tanh(z), lambda z: np.tanh(z) ** 2),
    "sparse_plus": Elementwise(
        lambda z: np.where(z > 1, z, (np.clip(z, -1, 1) + 1) ** 2 / 4), lambda z: np.clip((z + 1) / 2, 0, 1)
    ),
    "sparse_sigmoid": Elementwise(lambda z: np.clip((z + 1) / 2, 0, 1), lambda z: _inside(z, 1) / 2),
}
_ACTIVATIONS |= {"swish": _ACTIVATIONS["silu"], "hard_swish": _ACTIVATIONS["hard_silu"]}
_NOT_ELEMENTWISE = ("softmax", "log_softmax", "glu", "sparsemax", "Softmax")


def elementwise(activation) -> Elementwise:
    """Resolve a Keras name, function or activation layer, or a function of arrays, to φ and φ'.

    Keras's own activations are computed in NumPy, exactly. Another function is called with float64 arrays and
    differentiated by central differences; if it has kinks elsewhere than at 0, ±0.5, ±1, ±3 and 6, that costs up to
    about a percent.

    Raises `ValueError` if the activation is unknown or not elementwise, `TypeError` if it is none.
    """
    module = getattr(activation if inspect.isfunction(activation) else type(activation), "__module__", "")
    if module == "keras.src.activations.activations" and inspect.isfunction(activation):
        activation = activation.__name__
    kind = type(activation).__name__ if module.startswith("keras.src.layers.") else activation
    if isinstance(kind, str):
        match kind:
            case "Activation":
                return elementwise(activation.activation)
            case "ReLU":
                return _relu(activation.negative_slope, activation.max_value, activation.threshold)
            case "LeakyReLU":
                return _relu(activation.negative_slope)
            case "ELU":
                return _elu(activation.alpha)
            case "PReLU":
                return _relu(_initial_slope(activation))
        if kind in _NOT_ELEMENTWISE:
            raise ValueError(f"activation is {kind!r}, which is not elementwise; give one that is, such as 'relu'")
        if kind not in _ACTIVATIONS:
            known = f"known are {sorted(_ACTIVATIONS)}, and any function of arrays"
            raise ValueError(f"activation is {kind!r}, for which there is no theory here; {known}")
        return _ACTIVATIONS[kind]
    if not callable(activation) or inspect.isclass(activation):
        raise TypeError(f"activation is {activation!r}; give a Keras name, a function or an activation layer")
    return _differentiated(activation)


def _initial_slope(prelu):
    start = prelu.alpha_initializer
    if type(start).__name__ not in ("Zeros", "Constant"):
        mend = "begin with constant ones, such as alpha_initializer='zeros'"
        raise ValueError(f"activation is the PReLU layer {prelu.name!r}, whose slopes begin at random; {mend}")
    return float(getattr(start, "value", 0.0))


def _differentiated(function):
    def value(z):
        return np.asarray(function(z), dtype="float64")

    probe = np.linspace(-2.5, 2.4, 12).reshape(2, 6)
    changed = probe * (np.arange(6) > 0)
    try:
        result = np.asarray(function(probe))
    except TypeError as error:
        raise TypeError(f"activation is {function!r}, which takes no array; give one that does: np.tanh") from error
    if result.shape != probe.shape or not np.array_equal(value(changed)[:, 1:], value(probe)[:, 1:], equal_nan=True):
        raise ValueError(f"activation is {function!r}, which is not elementwise; give one that takes every z alone")
    # The error of a central difference is least near the cube root of the rounding error of the function.
    h = np.finfo(result.dtype).eps ** (1 / 3) if result.dtype.kind == "f" else 6e-6
    return Elementwise(value, lambda z: (value(z + h) - value(z - h)) / (2 * h))


_LECUN, _GLOROT, _HE = ({"scale": s, "mode": mode} for s, mode in ((1.0, "fan_in"), (1.0, "fan_avg"), (2.0, "fan_in")))
_NORMAL, _UNIFORM = {"mean": 0.0, "stddev": 0.05}, {"minval": -0.05, "maxval": 0.05}
_INITIALIZERS = {  # Keras's default settings
    **{"VarianceScaling": _LECUN, "LecunUniform": _LECUN, "LecunNormal": _LECUN, "Orthogonal": {"gain": 1.0}},
    **{"GlorotUniform": _GLOROT, "GlorotNormal": _GLOROT, "HeUniform": _HE, "HeNormal": _HE},
    **{"RandomNormal": _NORMAL, "TruncatedNormal": _NORMAL, "Normal": _NORMAL},
    **{"RandomUniform": _UNIFORM, "Uniform": _UNIFORM},
}
# The variance of a normal distribution cut off at two standard deviations.
_TRUNCATED = 0.7737413035499232
_NOT_RANDOM = ("Zeros", "Ones", "Constant", "Identity", "STFT", "Zero", "One")


def kernel_variance(kernel_initializer, fan_in, fan_out):
    """Compute the variance of the entries of a kernel of shape (fan_in, fan_out) from a Keras initializer or its name.

    The kernel is that of a Dense layer; see Glorot & Bengio 2010, equation 16, and He et al. 2015, equation 10.

    Raises `ValueError` if the initializer is unknown, not random or not centred at 0, `TypeError` if it is none.
    """
    name, settings = _initializer(kernel_initializer)
    mend = "the theory needs independent random weights of mean 0: give e.g. 'glorot_uniform'"
    if name in _NOT_RANDOM:
        raise ValueError(f"kernel_initializer is {name}, whose weights are not random; {mend}")
    if "gain" in settings:  # rows or columns, whichever are fewer, have length gain
        variance = settings["gain"] ** 2 / max(fan_in, fan_out)
    elif "scale" in settings:
        shape = fan_in, fan_out
        if settings.get("input_axes") is not None:
            fan_in, fan_out = (np.prod([shape[i] for i in settings[axes]]) for axes in ("input_axes", "output_axes"))
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = settings["scale"] / max(1.0, fans[settings["mode"]])
    else:
        low, high = settings.get("minval"), settings.get("maxval")
        mean = float(settings["mean"]) if low is None else (low + high) / 2
        if mean != 0:
            raise ValueError(f"kernel_initializer is {name} with mean {mean}; {mend}")
        cut = _TRUNCATED if name == "TruncatedNormal" else 1.0
        variance = cut * float(settings["stddev"]) ** 2 if low is None else (high - low) ** 2 / 12
    if not 0 < variance < np.inf:
        raise ValueError(f"kernel_initializer is {name} with variance {variance}; {mend}")
    return float(variance)


def _initializer(identifier):
    """Return the name of the initializer's class and its settings."""
    names = (*_INITIALIZERS, *_NOT_RANDOM)
    if isinstance(identifier, str):
        by_name = {re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower(): name for name in names}
        name = by_name.get(identifier, identifier)
        if name not in names:
            known = f"known are {sorted(name for name in by_name if by_name[name] in _INITIALIZERS)}"
            raise ValueError(f"kernel_initializer is {identifier!r}, which is not a name of Keras; {known}")
        return name, _INITIALIZERS.get(name, {})
    name = type(identifier).__name__
    if name not in names or not type(identifier).__module__.startswith("keras.src.initializers."):
        mend = "give a name or an object of keras.initializers, such as VarianceScaling(scale=…) of the same variance"
        raise TypeError(f"kernel_initializer is {identifier!r}, whose variance is unknown; {mend}")
    return name, vars(identifier)


_PANELS_U = np.arange(-12.0, 13.0)
_PANELS_Z = np.array([0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16])
_PANELS_Z = np.concatenate([-_PANELS_Z, [0], _PANELS_Z])
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(10)


def _quadrature(q, kinks=()):
    """Return nodes u and weights w, shape (len(q), nodes), such that E[f(√q u)] = Σ w f(√q u) for u ~ N(0, 1).

    Gauss-Legendre on panels that end at the kinks of φ, and are narrow where φ bends, whatever the scale √q is.
    """
    root = np.maximum(np.sqrt(q), 1e-150)[:, None]
    with np.errstate(over="ignore"):
        cuts = np.clip(np.concatenate([_PANELS_Z, kinks]) / root, -12, 12)
    cuts = np.sort(np.concatenate([cuts, np.broadcast_to(_PANELS_U, (len(q), len(_PANELS_U)))], axis=1), axis=1)
    half = np.diff(cuts, axis=1)[..., None] / 2
    u = (cuts[:, :-1, None] + half * (1 + _NODES)).reshape(len(q), -1)
    w = (half * _NODE_WEIGHTS).reshape(len(q), -1)
    return u, w * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)


def moments(phi, q):
    """Compute E[φ(z)], E[φ(z)²] and E[φ'(z)²] for z ~ N(0, q): three arrays of the shape of q, (samples,)."""
    q, where = np.unique(q, return_inverse=True)  # under batch normalization they are all 1
    u, w = _quadrature(q, phi.kinks)
    z = np.sqrt(q)[:, None] * u
    value, slope = phi.value(z), phi.slope(z)
    return (w * value).sum(1)[where], (w * value**2).sum(1)[where], (w * slope**2).sum(1)[where]


class CriticalScale(NamedTuple):
    """Where gradients neither vanish nor explode: σ_w (weights have variance σ_w²/fan_in), and the fixed point q*."""

    sigma_w: float
    q: float


def critical_scale(activation, bias_variance=0.0) -> CriticalScale:
    """Find the least σ_w for which χ = σ_w² E[φ'²] is 1 at a fixed point q* = σ_w² E[φ²] + σ_b² of the variance.

    On the line χ = 1, q* alone is unknown (Schoenholz et al. 2017, section 3). An activation that is critical at every
    q*, as ReLU without biases, gets q* = 1; one that is critical only for q* → 0, as tanh without biases, gets 0.

    Raises `ValueError` if there is none for q* between 1e-6 and 1e6, or if the bias variance is negative.
    """
    phi = elementwise(activation)
    if isinstance(bias_variance, bool) or not isinstance(bias_variance, Real):
        raise TypeError(f"bias_variance is {bias_variance!r}; give a number of at least 0")
    if not 0 <= bias_variance < np.inf:
        raise ValueError(f"bias_variance is {bias_variance}; give a number of at least 0")

    def excess(q):
        q = np.atleast_1d(q)
        _, second, slope = moments(phi, q)
        return (second / slope + bias_variance) / q - 1

    def scale(q):
        return float(moments(phi, np.array([q]))[2][0] ** -0.5)

    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        grid = np.geomspace(1e-6, 1e6, 241)
        values = excess(grid)
        values[np.abs(values) < 1e-9] = 0  # rounding is no crossing
        if np.abs(values).max() < 1e-9:
            return CriticalScale(scale(1.0), 1.0)
        crossings = np.flatnonzero(values[:-1] * values[1:] < 0)
        if len(crossings):
            roots = [scipy.optimize.brentq(lambda q: excess(q)[0], grid[i], grid[i + 1], xtol=1e-12) for i in crossings]
            return min(CriticalScale(scale(q), float(q)) for q in roots)
        if abs(values[0]) < 1e-4:
            return CriticalScale(scale(1e-12), 0.0)
    where = f"with bias_variance {bias_variance}; give another"
    raise ValueError(f"activation {activation!r} is critical at no scale {where}")


class Band(NamedTuple):
    """Where 80 % of single nets lie, from the 10 % to the 90 % quantile: pairs (low, high), or arrays (2, layers)."""

    delta_ratio: tuple[float, float]
    kernel_gradient_ratio: tuple[float, float]
    delta_rms: np.ndarray
    kernel_gradient_rms: np.ndarray


@dataclass(frozen=True)
class Profile:
    """What `predict_profile` predicts: arrays with one entry per hidden layer, input side first."""

    delta_rms: np.ndarray
    kernel_gradient_rms: np.ndarray
    activation_second_moment: np.ndarray
    chi: np.ndarray
    band: Band

    @property
    def delta_ratio(self):
        """Delta of the first hidden layer over that of the last hidden layer."""
        return float(self.delta_rms[0])

    @property
    def kernel_gradient_ratio(self):
        """Kernel gradient of the first hidden layer over that of the last hidden layer."""
        return float(self.kernel_gradient_rms[0])

    def __repr__(self):
        lines = ["layer  delta    kernel gradient  chi    E[activation²]"]
        for i in range(len(self.chi)):
            lines.append(
                f"{i + 1:5d}  {self.delta_rms[i]:.1e}  {self.kernel_gradient_rms[i]:.1e}          "
                f"{self.chi[i]:.3f}  {self.activation_second_moment[i]:.3g}"
            )
        for name in ("kernel_gradient_ratio", "delta_ratio"):
            low, high = getattr(self.band, name)
            name, value = name.removesuffix("_ratio").replace("_", " "), getattr(self, name)
            lines.append(f"{name}, first hidden / last hidden layer: {value:.1e}; one net in [{low:.1e}, {high:.1e}]")
        return "\n".join(lines)


def predict_profile(activation, kernel_initializer, widths, x, batch_normalization=False, residual=False) -> Profile:
    """Predict deltas and kernel gradients of the untrained net of `build_mlp`, relative to its last hidden layer.

    It is the root mean square over nets and samples, exact in the limit of wide layers, and comparable with the
    per-sample values of `inspect_layers`; the band says how far a single net of these widths strays.

    Batch normalization divides E‖δ‖² by the batch variance of z: a factor E[φ'²]/Var[φ] a layer, u ~ N(0, 1), which is
    π/(π-1) for ReLU (Yang et al. 2019). This holds for large batches of samples that point in many directions. Inputs
    from a plane, such as the moons, do not: there twelve layers multiply δ about ten times more, and single nets stray
    further than the band.

    A residual block adds its branch: E‖dL/dh‖² grows by 1 + N v E[φ'²] (after Yang & Schoenholz 2017, section 4). If
    activations have a mean above 0, narrow nets grow more: 12 He-ReLU layers of 100 units by 1.6, of 10 units by 4.

    Args:
        activation: elementwise; a Keras name, function or activation layer, or a function of arrays.
        kernel_initializer: random and centred at 0; a Keras name or object.
        widths: input features and units of each hidden layer, such as [2, 100, 100, 100]; the output unit is not
            among them.
        x: inputs, array of shape (samples, widths[0]).
        batch_normalization, residual: as in `build_mlp`; a residual net has hidden layers of one width.

    Returns a `Profile`; its arrays have one entry per hidden layer, all float64:
        delta_rms: of the L2 norm of dL/dz, relative to the last hidden layer.
        kernel_gradient_rms: of the L2 norm of dL/dW, relative to the last hidden layer.
        activation_second_moment: mean over samples and units of φ(z)².
        chi: the factor of E‖δ‖² from the layer above, σ_w² E[φ'²] in a plain net; the last one from the output unit.
        band: a `Band` for delta and kernel gradient.
    Where a net overflows float64, they hold inf or nan.

    Raises `ValueError` or `TypeError` if an argument is out of range, or outside the theory.
    """
    phi = elementwise(activation)
    widths, x = _check(widths, x, residual, batch_normalization)
    variances = [kernel_variance(kernel_initializer, *fans) for fans in zip(widths, [*widths[1:], 1], strict=True)]
    orthogonal = _initializer(kernel_initializer)[0] == "Orthogonal"
    with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
        second, log_delta, log_kernel = _mean_field(phi, widths, variances, x, batch_normalization, residual)
        log_band = _finite_width(phi, widths, variances, x, batch_normalization, residual, orthogonal)
        profiles = [np.exp((log - log[-1]) / 2) for log in (log_delta, log_kernel)]
        bands = [profile * np.exp(log / 2) for profile, log in zip(profiles, log_band, strict=True)]
        chi = np.exp(log_delta - np.append(log_delta[1:], 0.0))
    ratios = [(float(band[0, 0]), float(band[1, 0])) for band in bands]
    return Profile(*profiles, second, chi, Band(*ratios, *bands))


def _check(widths, x, residual, batch_normalization):
    for name, value in {"batch_normalization": batch_normalization, "residual": residual}.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}; give True or False")
    mend = "give input features and units of each hidden layer, such as [2, 100, 100]"
    if isinstance(widths, str) or not np.iterable(widths):
        raise TypeError(f"widths is {widths!r}; {mend}")
    widths = list(widths)
    if any(isinstance(width, bool) or not isinstance(width, Integral) for width in widths):
        raise TypeError(f"widths is {widths}; {mend}")
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths is {widths}; {mend}")
    if residual and len(set(widths[1:])) > 1:
        raise ValueError(f"widths is {widths}, but residual blocks need hidden layers of one width; give equal ones")
    try:
        x = np.asarray(x)
    except ValueError:
        x = np.array(None)  # rows of different lengths
    if x.dtype.kind not in "biuf":
        raise TypeError(f"x has dtype {x.dtype}; give one array of numbers of shape (samples, {widths[0]})")
    if x.ndim != 2 or x.shape[1] != widths[0] or len(x) == 0:
        raise ValueError(f"x has shape {x.shape}, widths begins with {widths[0]}; give shape (samples, {widths[0]})")
    if not np.isfinite(x).all():
        raise ValueError("x holds values that are nan or infinite; remove or replace those samples first")
    if batch_normalization and len(x) < 2:
        raise ValueError("x has one sample; batch normalization compares samples: give a batch")
    return [int(width) for width in widths], x.astype("float64")


def _mean_field(phi, widths, variances, x, batch_normalization, residual):
    """Return E[φ²], ln E‖δ‖² and ln E‖∂L/∂W‖² of every hidden layer, where δ of the output unit is 1."""
    second = np.square(x).mean(axis=1)  # of the layer's input, per sample
    groups = np.array_split(np.sort(second), min(len(second), 256))  # samples of nearly one norm have one fate
    second, weights = np.transpose([(group.mean(), len(group) / len(second)) for group in groups])
    inputs, seconds, slopes, spreads = [], [], [], []
    mean, spread = 0.0, x.var(axis=0).mean()
    for layer, (width, variance) in enumerate(zip(widths, variances[:-1], strict=False)):
        inputs.append(second)
        q = width * variance * second
        spreads.append(1.0)
        if batch_normalization:
            spreads[-1] = width * variance * spread + _BATCH_NORMALIZATION_EPSILON
            q = np.ones_like(q)
        phi_mean, phi_second, phi_slope = moments(phi, q)
        seconds.append(weights @ phi_second)
        slopes.append(phi_slope)
        keep = float(residual and layer > 0)  # z is independent of each single unit of h: E[h φ] = E[h] E[φ]
        second = keep * (second + 2 * mean * phi_mean) + phi_second
        spread = keep * spread + weights @ (phi_second - phi_mean**2)
        mean = keep * mean + phi_mean
    log_deltas, log_gradient = [], np.log(widths[-1] * variances[-1])  # of dL/dh of the last hidden layer
    for layer in reversed(range(len(slopes))):
        log_deltas.insert(0, log_gradient + np.log(slopes[layer] / spreads[layer]))
        through = log_deltas[0] + np.log(widths[layer] * variances[layer])
        log_gradient = np.logaddexp(log_gradient, through) if residual and layer > 0 else through
    log_kernels = [log + np.log(n * m) for log, n, m in zip(log_deltas, widths, inputs, strict=False)]
    over_samples = [scipy.special.logsumexp(logs, axis=1, b=weights) for logs in (log_deltas, log_kernels)]
    return np.array(seconds), *over_samples


def _finite_width(phi, widths, variances, x, batch_normalization, residual, orthogonal):
    """Return the 10 % and 90 % quantiles of ln(‖δ^l‖²/‖δ^L‖²), and of the same for kernel gradients, about mean field.

    Every layer multiplies ‖δ‖² by a random factor of relative variance (3κ - 1)/n, κ = E[φ'⁴]/E[φ'²]², so ln‖δ‖² is
    normal, its mean lowered by half its variance (Hanin & Nica 2019, theorem 1, for ReLU: 5/n). To first order in 1/n
    we add what the forward pass does: ‖h‖² strays, too, and shares its masks with δ. (That it moves q, and so E[φ'²],
    changes the width of the band by about a tenth; it is left out.) And since the RMS over samples is what is measured,
    we average the covariance over pairs of samples, whose z have correlation c: E[f(z) g(z')] = Σ_k f_k g_k c^k with
    the Hermite coefficients of f and g. For few units the backward variance is larger than first order says (ten ReLU
    units: .87, not .5), which one sample's exact law corrects.
    """
    x = x[np.linspace(0, len(x) - 1, min(len(x), _PAIRED_SAMPLES)).astype(int)]
    gram = x @ x.T / widths[0]
    layers, mean, forward = len(widths) - 1, 0.0, []
    for layer in range(layers):
        if batch_normalization:
            gram = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
        q = np.array([1.0 if batch_normalization else widths[layer] * variances[layer] * np.diag(gram).mean()])
        forward.append(pair := _Pairs(phi, q, _correlation(gram), batch_normalization))
        before, keep = np.diag(gram).mean(), float(residual and layer > 0)
        gram = keep * (gram + 2 * mean * pair.phi_mean) + pair.value
        mean = keep * mean + pair.phi_mean
        pair.share = np.diag(pair.value).mean() / np.diag(gram).mean()  # of the branch in ‖h‖²
        pair.crossed = 4 * keep * before * pair.phi_variance / np.diag(gram).mean() ** 2
    hh, hd, dd, s, cross = np.zeros((5, layers))
    branch = np.ones(layers)  # its share in ‖dL/dh‖²
    backward = np.ones_like(gram)
    for layer in reversed(range(layers)):
        pair, n = forward[layer], widths[layer + 1]
        rho = _correlation(backward) ** 2
        kept, kept_back = orthogonal * 2 * (pair.s * pair.c) ** 2, orthogonal * 2 * rho  # it keeps the norm
        hh[layer] = (pair.share**2 * (pair.values - 1 - kept).mean() + pair.crossed) / n
        hd[layer] = pair.share * (pair.mixed - 1).mean() / n
        dd[layer] = (pair.slopes * (1 + 2 * rho) - 1 - kept_back).mean() / n * pair.beyond_first_order(n)
        s[layer] = 1 - pair.share + pair.share * pair.s
        through = backward * pair.slope * widths[layer] * variances[layer]
        if residual and layer > 0:
            branch[layer] = np.diag(through).mean() / np.diag(backward + through).mean()
            cross[layer] = 4 * branch[layer] * (1 - branch[layer]) * rho.mean() / n
        backward = backward + through if residual and layer > 0 else through
        backward = backward / np.diag(backward).mean()
    # ln‖h^l‖² strays by Σ_j strays[l + 1, j] η_j, with Var η_j = hh[j]; the input does not stray.
    strays = np.zeros((layers + 1, layers))
    for layer in range(layers):
        strays[layer + 1] = s[layer] * strays[layer] + np.eye(layers)[layer]
    # ln(‖δ^l‖²/‖δ^L‖²) takes the share branch[j] of the blocks j > l, its own slopes φ', and not those of layer L.
    above = np.triu(np.ones((layers, layers)), 1)
    steps = above * branch + np.eye(layers)
    steps[:, -1] -= 1
    none = np.zeros_like(steps)

    def variance(a, b):
        return a**2 @ hh + 2 * (a * b) @ hd + b**2 @ dd + b.any() * (above @ cross)

    bands = []
    for top, bottom in ((none, none), (strays[:-1], none + strays[-2])):
        # Both are log-normal about their mean, the prediction.
        centre = (variance(bottom, none) - variance(top, steps)) / 2
        half_width = _QUANTILE_90 * np.sqrt(np.maximum(variance(top - bottom, steps), 0))
        bands.append(centre - centre[-1] + half_width * np.array([[-1.0], [1.0]]))
    return bands


def _correlation(gram):
    norm = np.sqrt(np.diag(gram))
    return np.clip(np.nan_to_num(gram / np.outer(norm, norm)), -1, 1)


class _Pairs:
    """Second moments of φ, φ', φ² and φ'² between all pairs of samples, at one variance q and correlations c."""

    def __init__(self, phi, q, c, fixed_q):
        u, w = (array[0] for array in _quadrature(q, phi.kinks))
        basis = [np.ones_like(u), u]  # He_k(u)/√k!
        for k in range(2, _HERMITE_TERMS):
            basis.append((u * basis[-1] - np.sqrt(k - 1) * basis[-2]) / np.sqrt(k))
        value, slope = phi.value(np.sqrt(q) * u), phi.slope(np.sqrt(q) * u)
        second, slope_second = w @ value**2, w @ slope**2
        functions = np.stack([value, slope, value**2 / second, slope**2 / slope_second])
        f, g, ff, gg = (functions * w) @ np.transpose(basis)

        def pairs(a, b, at_one):
            """Σ_k a_k b_k c^k; what the series leaves out goes to its last term, so that c = 1 is exact."""
            terms = a * b
            terms[-1] += at_one - terms.sum()
            return np.polynomial.polynomial.polyval(c, terms)

        self.weights, self.slope_law = w, functions[3]
        self.c, self.phi_mean, self.phi_variance = c, f[0], second - f[0] ** 2
        self.value, self.slope = pairs(f, f, second), pairs(g, g, slope_second)
        self.values = pairs(ff, ff, w @ functions[2] ** 2)
        self.slopes = pairs(gg, gg, w @ functions[3] ** 2)
        self.mixed = pairs(ff, gg, w @ (functions[2] * functions[3]))
        # d ln E[φ²]/d ln q; under batch normalization q is 1, come what may.
        low, high = moments(phi, q * 0.999)[1], moments(phi, q * 1.001)[1]
        self.s = 0.0 if fixed_q else np.log(high / low)[0] / 0.002

    def beyond_first_order(self, n):
        """Compare Var ln S with (3κ - 1)/n, where S = Σ_i φ'(z_i)² g_i² over n units, g ~ N(0, 1).

        If T is exponential, P(T > t S) = E[exp(-t S)], so the Laplace transform of S is a distribution function:
        that of ln T - ln S, whose variance is π²/6 more than that of ln S.
        """
        y, step = np.linspace(-40, 40, 801, retstep=True)
        felt = self.weights > 1e-18 * self.weights.max()  # others do not change the sum
        laplace = (1 / np.sqrt(1 + 2 * np.exp(y)[:, None] / n * self.slope_law[felt]) @ self.weights[felt]) ** n
        probability, middle = -np.diff(laplace), (y[1:] + y[:-1]) / 2
        probability /= probability.sum()  # leaves out the nets in which all n units are inactive
        variance = probability @ middle**2 - (probability @ middle) ** 2 - step**2 / 12 - np.pi**2 / 6  # Sheppard
        return variance * n / (3 * self.weights @ self.slope_law**2 - 1)
