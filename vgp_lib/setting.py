"""One setting of the playground: the network and optimizer that its sliders say, and the Python that makes them."""

import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from vgp_lib.data import load_moons
from vgp_lib.gradients import kernel_layers
from vgp_lib.theory import predict_profile


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the sliders say."""

    hidden_layers: int = 10
    units: int = 10
    activation: str = "sigmoid"
    kernel_initializer: str = "glorot_uniform"
    scale: float = 1.0
    batch_normalization: bool = False
    residual: bool = False
    optimizer: str = "SGD"
    learning_rate: float = 0.1
    seed: int = 0

    def scaled_initializer(self):
        """Name Keras's initializer whose standard deviation is `scale` times that of `kernel_initializer`."""
        base = keras.initializers.get(self.kernel_initializer)
        if isinstance(base, keras.initializers.VarianceScaling):
            scale = float(f"{base.scale * self.scale**2:.6g}")
            return "VarianceScaling", {"scale": scale, "mode": base.mode, "distribution": base.distribution}
        size = "gain" if isinstance(base, keras.initializers.Orthogonal) else "stddev"
        return type(base).__name__, {size: float(f"{getattr(base, size) * self.scale:.6g}")}

    def net(self):
        """Give the arguments of `build_mlp`, without the seed."""
        names = ("hidden_layers", "units", "activation", "kernel_initializer", "batch_normalization", "residual")
        arguments = {name: getattr(self, name) for name in names}
        if self.scale != 1:
            kind, settings = self.scaled_initializer()
            arguments["kernel_initializer"] = getattr(keras.initializers, kind)(**settings)
        return arguments

    def untrained(self):
        """Give the setting without what matters only to training, and without the seed."""
        return dataclasses.replace(self, optimizer="SGD", learning_rate=0.1, seed=0)

    def make_optimizer(self):
        return getattr(keras.optimizers, self.optimizer)(self.learning_rate)

    def code(self):
        """Write the Python that makes this setting, measures it, asks for the verdict and trains 32 seeds."""
        initializer = repr(self.kernel_initializer).replace("'", '"')
        if self.scale != 1:
            kind, settings = self.scaled_initializer()
            arguments = ", ".join(f"{name}={value!r}" for name, value in settings.items()).replace("'", '"')
            initializer = f"keras.initializers.{kind}({arguments})"
        return f"""import vgp_lib as vgp  # first: it keeps TensorFlow quiet

import keras

moons = vgp.load_moons()


def build(seed=None):
    return vgp.build_mlp(
        hidden_layers={self.hidden_layers},
        units={self.units},
        activation="{self.activation}",
        kernel_initializer={initializer},
        batch_normalization={self.batch_normalization},
        residual={self.residual},
        seed=seed,
    )


model, optimizer = build(seed={self.seed}), keras.optimizers.{self.optimizer}({self.learning_rate})
report = vgp.inspect_layers(model, moons.x_train, moons.y_train)
print(report)
print(vgp.diagnose(model, moons.x_train, moons.y_train, optimizer=optimizer))
runs = vgp.train(build, moons, optimizer, epochs=100, seeds=32)
print(runs)
"""


def profile(net):
    """Predict the profile of a net on the moons; `net` holds the arguments of `build_mlp`, without the seed."""
    widths = [2] + net["hidden_layers"] * [net["units"]]
    others = {name: value for name, value in net.items() if name not in ("hidden_layers", "units")}
    return predict_profile(widths=widths, x=load_moons().x_train, **others)


@functools.lru_cache(maxsize=256)
def predict(setting):
    """Predict the profile of a setting; the last ones are remembered."""
    return profile(setting.net())


def update_ratios(model, x, y, optimizer):
    """Measure mean |ΔW| / mean |W| of every kernel in one step of a fresh optimizer on the whole batch.

    The model is left as it was. The weights lie in one variable, which is right for optimizers that treat every number
    alone, as SGD, Adam and RMSprop do.
    """
    variables = model.trainable_variables
    with keras.StatelessScope(), tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.binary_crossentropy(y[:, None], model(x, training=True)))
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    before, gradient = (np.concatenate([np.ravel(part) for part in parts]) for parts in (variables, gradients))
    flat = keras.Variable(before)
    optimizer.apply([tf.constant(gradient)], [flat])
    ends = np.cumsum([np.size(variable) for variable in variables])[:-1]
    moved, size = (np.split(np.abs(part).astype("float64"), ends) for part in (flat.numpy() - before, before))
    kernels = {id(layer.kernel) for layer in kernel_layers(model)}
    return np.array([m.mean() / s.mean() for m, s, v in zip(moved, size, variables, strict=True) if id(v) in kernels])
