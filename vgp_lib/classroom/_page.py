"""What the page of the playground must know from Python, and how Python follows its random numbers.

One source of truth: thresholds, activations, initializers, optimizers and data are handed over when the page is made.
"""

import functools
import json
from pathlib import Path

import keras
import numpy as np
from scipy.special import erfcx, ndtr, ndtri

from vgp_lib import plots
from vgp_lib.data import load_moons, make_first_bit, make_spirals
from vgp_lib.engine import _rehearsal, _remedies, diagnosis, theory
from vgp_lib.models import build_mlp

_FACTORS = [round(factor, 2) for factor in np.arange(0.05, 2.001, 0.01).tolist()]
_SCALES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8]
_RATES = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
_ACTIVATIONS = ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu"]
_INITIALIZERS = ["glorot_uniform", "he_normal", "lecun_normal", "orthogonal", "random_normal"]
_OPTIMIZERS = ["SGD", "Adam", "RMSprop"]
CONTROLS = {  # name: its value at first, and all values
    "hidden_layers": (10, list(range(1, 41))),
    "units": (10, list(range(2, 51))),
    "activation": ("sigmoid", _ACTIVATIONS),
    "kernel_initializer": ("glorot_uniform", _INITIALIZERS),
    "scale": (1, [*_SCALES, 9, 10, 11, 12, 14, 16, 18, 20, 25, 30]),
    "batch_normalization": (False, [False, True]),
    "residual": (False, [False, True]),
    "optimizer": ("SGD", _OPTIMIZERS),
    "learning_rate": (0.1, _RATES),
    "seed": (0, list(range(32))),
    "data": ("moons", ["moons", "spirals"]),
    "factor": (0.24, _FACTORS),  # the last three are those of the views that show no network
    "gradient": (0.001, [10.0**power for power in range(-9, 1)]),
    "recurrent_scale": (1, [round(scale, 1) for scale in np.arange(0.1, 4.01, 0.1).tolist()]),
}
SKETCHES = {"product": ["factor"], "adam": ["gradient"], "lag": ["recurrent_scale"]}
_HERE = Path(__file__).parent / "playground"
_TAIL = ndtr(-2.0)  # what a truncated normal distribution leaves out, on each side
_NET = ["hidden_layers", "units", "activation", "kernel_initializer", "batch_normalization", "residual"]


def build(kernel_initializer, scale, seed, **setting):
    """Build the Keras model of a setting, with the page's weights for its seed."""
    model = build_mlp(**{name: setting[name] for name in _NET if name in setting})
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for stream, kernel in enumerate(kernels):
        kernel.assign(draw(kernel_initializer, scale, kernel.shape, seed, stream))
    return model


def draw(name, scale, shape, seed, stream):
    """Draw a kernel as the page does (`drawKernel` there): hashed counters, inverse distribution functions."""
    kind, size = _kinds()[name], np.prod(shape)
    key = _mix(np.array([(seed + 1) * 0x9E3779B9 + (stream + 1) * 0x85EBCA6B & 0xFFFFFFFF], "uint32"))
    u = (_mix(key + np.arange(1, size + 1, dtype="uint32") * np.uint32(0x6D2B79F5)) + 0.5) / 2**32
    fans = {"fan_in": shape[0], "fan_out": shape[1], "fan_avg": sum(shape) / 2}
    scale = scale * (np.sqrt(kind["scale"] / fans[kind["mode"]]) if "mode" in kind else kind.get("stddev", 1.0))
    match kind["distribution"]:
        case "uniform":
            return (scale * np.sqrt(3) * (2 * u - 1)).reshape(shape)
        case "truncated_normal":
            return (scale / 0.8796256610342398 * ndtri(_TAIL + u * (1 - 2 * _TAIL))).reshape(shape)
        case "normal":
            return (scale * ndtri(u)).reshape(shape)
    q, r = np.linalg.qr(ndtri(u).reshape(max(shape), min(shape)))
    q *= scale * np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T


def _mix(x):
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


def initializer(name, scale):
    """Keras's initializer, with `scale` as a factor on the standard deviation."""
    kind = _kinds()[name]
    if "mode" in kind:
        return keras.initializers.VarianceScaling(kind["scale"] * scale**2, kind["mode"], kind["distribution"])
    if "gain" in kind:
        return keras.initializers.Orthogonal(scale)
    return keras.initializers.RandomNormal(stddev=kind["stddev"] * scale)


@functools.cache
def _kinds():
    """What Keras says of its initializers."""
    kinds = {}
    for name in _INITIALIZERS:
        initializer, names = keras.initializers.get(name), ("scale", "mode", "distribution", "stddev", "gain")
        given = {key: getattr(initializer, key) for key in names if hasattr(initializer, key)}
        kinds[name] = {"distribution": "orthogonal" if "gain" in given else "normal"} | given
    return kinds


@functools.cache
def load():
    """The page's data, by name: two tasks for its networks, and sequences for the recurrent one."""
    return {"moons": load_moons(), "spirals": make_spirals(250), "sequences": make_first_bit(samples=50)}


@functools.cache
def script():
    """Return the page's script: playground.js, and before it what it must know from Python."""
    source, style = (_HERE.with_suffix(kind).read_text(encoding="utf-8") for kind in (".js", ".css"))
    handed_over = json.dumps(constants() | {"style": style}, separators=(",", ":"))
    return f"const VGP_CONSTANTS = {handed_over};\n{source}"


def constants():
    """What the script finds in VGP_CONSTANTS."""
    normalization, data = keras.layers.BatchNormalization(), {name: _plain(*data) for name, data in load().items()}
    return {
        "controls": {
            name: {"label": name.removeprefix("kernel_").replace("_", " "), "first": first, "values": values}
            for name, (first, values) in CONTROLS.items()
        },
        "sketched": [name for names in SKETCHES.values() for name in names],
        "initializers": _kinds(),
        "activations": {name: _activation(name) for name in _ACTIVATIONS},
        "optimizers": {name: getattr(keras.optimizers, name)(name=name).get_config() for name in _OPTIMIZERS},
        "normalization": {"epsilon": normalization.epsilon, "momentum": normalization.momentum},
        "nodes": np.transpose(np.polynomial.legendre.leggauss(10)).tolist(),
        "series": {
            "erfc": _series(lambda t: np.log(erfcx(2 / t - 2) / t), 1e-9, 1.0),
            "centre": _series(lambda square: ndtri(0.5 + np.sqrt(square)) / np.sqrt(square), 1e-12, 0.2263),
            "tail": _series(lambda root: ndtri(np.exp(-(root**2) / 2)), 2.7, 6.8),
        },
        "sequences": data.pop("sequences"),
        "data": data | {"moons": data["moons"] | {"line": plots.LINE}},
        "net": _NET,
        "batch_size": 32,
        "solved": 0.95,
        "steps": _rehearsal.STEPS,
        "learned": _rehearsal.LEARNED,
        "faint": diagnosis.FAINT,
        "done": diagnosis.DONE,
        "late": diagnosis.LATE,
        "loud": diagnosis.LOUD,
        "open": _remedies.OPEN,
        "narrow": _remedies.NARROW,
        "wider": _remedies.WIDER,
    }


def _plain(x, y, *_):
    """Training data for the page, row by row: the shortest decimals that are these float32 numbers."""
    x_plain, y_plain = ([float(str(value)) for value in values.ravel()] for values in (x, y))
    return {"x": x_plain, "y": y_plain, "n": len(y), "steps": x.shape[1]}


def _activation(name):
    """How the page computes an activation: its kind, and the constants of its two sides."""
    value, slope = theory.elementwise(name)
    if name in ("sigmoid", "tanh", "gelu"):
        return {"kind": name}
    scale = float(slope(np.array(1.0)))
    if name in ("elu", "selu"):
        return {"kind": "elu", "scale": scale, "alpha": -float(value(np.array(-1e3))) / scale}
    return {"kind": "bent", "slope": float(slope(np.array(-1.0)))}


def _series(function, low, high):
    """A smooth function between two ends, as a Chebyshev series."""
    middle, half = (low + high) / 2, (high - low) / 2
    terms = np.polynomial.chebyshev.chebinterpolate(lambda y: function(middle + half * y), 36)
    return {"middle": middle, "half": half, "terms": terms.tolist()}
