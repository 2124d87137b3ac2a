"""Deliberate faults: with each of them the library is wrong, and the named claims must come out differently.

Only `make evidence` runs these.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import vgp_lib as vgp
from evidence import claims
from vgp_lib import layers
from vgp_lib.engine import training


def wrong_sign(patch):
    patch.setattr(claims, "gradient_from_update", lambda old, new, rate: (new - old) / rate)


def forgotten_learning_rate(patch):
    patch.setattr(claims, "gradient_from_update", lambda old, new, rate: old - new)


def ratio(patch, measure):
    patch.setattr(layers.LayerReport, "gradient_ratio", property(measure))


def wrong_layer(patch):
    ratio(patch, lambda report: report.kernel_gradient_rms[1] / report.kernel_gradient_rms[-2])


def upside_down(patch):
    ratio(patch, lambda report: report.kernel_gradient_rms[-2] / report.kernel_gradient_rms[0])


def batch_instead_of_samples(patch):
    ratio(patch, lambda report: report.kernel_gradient_norm[0] / report.kernel_gradient_norm[-2])


def gradient_of_the_untrained_net(patch):
    patch.setattr(vgp.Runs, "model", lambda runs, seed: vgp.build_mlp(seed=seed))


def forgotten_division_in_percent_change(patch):
    patch.setattr(claims, "percent_change", lambda old, new: np.full_like(old, 100))


def activation_ignored(patch):
    patch.setattr(claims, "build_mlp", lambda activation="", **net: vgp.build_mlp(activation="linear", **net))


def width_ignored(patch):
    patch.setattr(claims, "build_mlp", lambda units=10, **net: vgp.build_mlp(units=units // 5, **net))


def seed_ignored(patch):
    patch.setattr(claims, "build_mlp", lambda seed=None, **net: vgp.build_mlp(seed=0, **net))


def shared_weights(patch):
    """All hidden layers begin with the weights of the second, as if they shared its initializer."""

    def build(**net):
        model = vgp.build_mlp(**net)
        shared = model.get_layer("hidden_2").kernel
        for layer in model.layers:
            if layer.name.startswith("hidden") and layer.kernel.shape == shared.shape:
                layer.kernel.assign(shared)
        return model

    patch.setattr(claims, "build_mlp", build)


def dead_units_not_counted(patch):
    def inspect(*arguments):
        report = vgp.inspect_layers(*arguments)
        report.dead[:] = 0
        return report

    patch.setattr(claims, "inspect_layers", inspect)


def weights_not_restored(patch):
    """The second experiment on one architecture begins where the first one ended: it goes on, with its own rate."""
    rates = []

    def train(build, data, optimizer, epochs, batch_size, **others):
        assert batch_size == len(data.x_train)  # a step an epoch
        rates.append(float(optimizer.learning_rate))
        ends = [epochs * count for count in range(1, len(rates))]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(ends, rates) if ends else rates[0]
        return vgp.train(build, data, keras.optimizers.SGD(rate), epochs * len(rates), batch_size, **others)

    patch.setattr(claims, "train", train)


def symmetric_weights(patch):
    """All weights of a layer begin equal."""

    def train(build, *arguments, **others):
        equal = functools.partial(build, kernel_initializer=keras.initializers.Constant(0.3))
        return vgp.train(equal, *arguments, **others)

    patch.setattr(claims, "train", train)


def missing_bias_gradient(patch):
    def train(build, *arguments, **others):
        def frozen():
            model = build()
            for layer in model.layers:
                if layer.weights:
                    layer.bias.trainable = False
            return model

        return vgp.train(frozen, *arguments, **others)

    patch.setattr(claims, "train", train)


def ascent(patch):
    for optimizer in (keras.optimizers.SGD, keras.optimizers.Adam):
        right = optimizer.update_step
        patch.setattr(
            optimizer, "update_step", lambda self, gradient, *rest, right=right: right(self, -gradient, *rest)
        )


def clipping_forgotten(patch):
    def train(build, data, optimizer, *arguments, **others):
        config = optimizer.get_config() | {"global_clipnorm": None}
        return vgp.train(build, data, type(optimizer).from_config(config), *arguments, **others)

    patch.setattr(claims, "train", train)


def relu_slope_at_zero_is_one(patch):
    # x where x >= 0: the derivative at 0 is then 1, as some texts say.
    patch.setattr(keras.activations, "get", lambda name: lambda z: tf.where(z >= 0, z, 0.0))


def lag_counted_from_the_first_step(patch):
    patch.setattr(claims, "gradient_by_lag", lambda *arguments: vgp.gradient_by_lag(*arguments)[::-1])


def gain_ignored(patch):
    patch.setattr(keras.initializers, "Orthogonal", lambda gain: keras.initializers.OrthogonalInitializer())


def forget(module):
    """Empty all caches of a module: kept measurements of `claims`, compiled programs of `training`."""
    for value in vars(module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


# These change what is compiled; the others can go on with the compiled programs.
CHANGE_PROGRAMS = (missing_bias_gradient, ascent)


@pytest.mark.parametrize(
    ("fault", "ids"),
    [
        (wrong_sign, ["02-one-step"]),
        (forgotten_learning_rate, ["02-one-step"]),
        (wrong_layer, ["01-ladder"]),
        (upside_down, ["01-ladder"]),
        (batch_instead_of_samples, ["02-plateau"]),
        (gradient_of_the_untrained_net, ["02-plateau", "02-adam-step"]),
        (forgotten_division_in_percent_change, ["02-percent"]),
        (activation_ignored, ["01-ladder"]),
        (width_ignored, ["01-ladder"]),
        (seed_ignored, ["01-scatter"]),
        (shared_weights, ["05-band"]),
        (dead_units_not_counted, ["04-dead"]),
        (symmetric_weights, ["03-depth-wanted"]),
        (missing_bias_gradient, ["03-depth-wanted"]),
        (ascent, ["02-one-step", "02-adam-step"]),
        (relu_slope_at_zero_is_one, ["04-zero"]),
        (clipping_forgotten, ["06-clipping"]),
        (lag_counted_from_the_first_step, ["06-orthogonal"]),
        (gain_ignored, ["06-singular"]),
    ],
)
def test_a_wrong_library_changes_the_verdict(fault, ids, monkeypatch):
    right = {row["id"]: row["verdict"] for row in vgp.claims()}
    wrong = {name: rows[0]["verdict"] for name, rows in measured_with(fault, ids, monkeypatch).items()}
    assert all(wrong[name] != right[name] for name in ids), wrong


def test_weights_that_are_not_restored_are_told(monkeypatch):
    # The verdict may stay, since a tenth of the nets does; the dead units of the second experiment do not.
    rows = measured_with(weights_not_restored, ["04-dead"], monkeypatch)["04-dead"]
    (claim,) = [claim for claim in claims.CLAIMS if claim.id == "04-dead"]
    assert "learning rate 0.1: median" in claims.deviation(claim, rows, vgp.claims())


def measured_with(fault, ids, patch):
    modules = [claims, training] if fault in CHANGE_PROGRAMS else [claims]
    for module in modules:
        forget(module)
    fault(patch)
    try:
        return {claim.id: claim.rows() for claim in claims.CLAIMS if claim.id in ids}
    finally:
        for module in modules:
            forget(module)
