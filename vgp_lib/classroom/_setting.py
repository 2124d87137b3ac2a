"""A setting of the playground, a dict of what its sliders say: its network, its prediction, and its Python."""

import functools

import keras

from vgp_lib.data import load_moons
from vgp_lib.engine.theory import predict_profile

_NET = ("hidden_layers", "units", "activation", "kernel_initializer", "batch_normalization", "residual")
_CODE = """import vgp_lib as vgp  # first: it keeps TensorFlow quiet

import keras


def build(seed=None):
    return vgp.build_mlp(
        {arguments},
        seed=seed,
    )


moons, optimizer = vgp.load_moons(), keras.optimizers.{optimizer}({learning_rate})
model = build(seed={seed})
print(vgp.inspect_layers(model, moons.x_train, moons.y_train))
print(vgp.diagnose(model, moons.x_train, moons.y_train, optimizer=optimizer))
runs = vgp.train(build, moons, optimizer, epochs=100, seeds=32)
print(runs)
"""


def net(setting):
    """Give the arguments of `build_mlp`, without the seed; `scale` is a factor on the weights' standard deviation."""
    return {name: setting[name] for name in _NET} | {"kernel_initializer": _initializer(setting)[0]}


def code(setting):
    """Write the Python that makes a setting, measures it, asks for the verdict and trains 32 seeds."""
    texts = {name: repr(setting[name]) for name in _NET} | {"kernel_initializer": _initializer(setting)[1]}
    arguments = ",\n        ".join(f"{name}={text}" for name, text in texts.items()).replace("'", '"')
    return _CODE.format(arguments=arguments, **setting)


def _initializer(setting):
    """Return a setting's initializer, and the Python that makes it."""
    name, factor = setting["kernel_initializer"], setting["scale"]
    if factor == 1:
        return name, repr(name)
    base, kind = keras.initializers.get(name), "VarianceScaling"
    if isinstance(base, keras.initializers.VarianceScaling):
        scale = float(f"{base.scale * factor**2:.6g}")
        arguments = {"scale": scale, "mode": base.mode, "distribution": base.distribution}
    else:
        kind, size = type(base).__name__, "gain" if isinstance(base, keras.initializers.Orthogonal) else "stddev"
        arguments = {size: float(f"{getattr(base, size) * factor:.6g}")}
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return getattr(keras.initializers, kind)(**arguments), f"keras.initializers.{kind}({text})"


@functools.lru_cache(maxsize=256)
def profile(hidden_layers=10, units=10, activation="sigmoid", kernel_initializer="glorot_uniform", **others):
    """Predict the profile of a net of `build_mlp` on the moons; the last ones are remembered."""
    widths, x = [2] + hidden_layers * [units], load_moons().x_train
    return predict_profile(activation, kernel_initializer, widths, x, **others)
