"""The playground: sliders for a network, and what its gradients do."""

import ipywidgets as widgets
import keras
import matplotlib.pyplot as plt
from IPython.display import display

from vgp_lib import plots
from vgp_lib.data import load_moons
from vgp_lib.diagnosis import diagnose
from vgp_lib.gradients import inspect_layers
from vgp_lib.models import build_mlp
from vgp_lib.theory import predict_profile

OPTIMIZERS = ("SGD", "Adam", "RMSprop")


def playground():
    """Show sliders for depth, units, activation, initializer, batch normalization, residual and seed.

    The figure follows every change: delta of every hidden layer before training, with its prediction. A button asks
    `diagnose` for a verdict under the chosen optimizer and learning rate.
    """
    slider = {"continuous_update": False}
    controls = {
        "hidden_layers": widgets.IntSlider(10, 1, 40, description="layers", **slider),
        "units": widgets.IntSlider(10, 2, 100, description="units", **slider),
        "activation": widgets.Dropdown(
            options=["sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu"], description="activation"
        ),
        "kernel_initializer": widgets.Dropdown(
            options=["glorot_uniform", "he_normal", "lecun_normal", "orthogonal", "random_normal"],
            description="initializer",
        ),
        "batch_normalization": widgets.Checkbox(False, description="batch normalization"),
        "residual": widgets.Checkbox(False, description="residual"),
        "seed": widgets.IntSlider(0, 0, 31, description="seed", **slider),
    }
    optimizer = widgets.Dropdown(options=OPTIMIZERS, description="optimizer")
    learning_rate = widgets.FloatLogSlider(0.1, min=-4, max=1, description="rate", **slider)
    button = widgets.Button(description="diagnose", button_style="primary")
    figure, verdict = widgets.Output(), widgets.Output()

    def setting():
        return {name: control.value for name, control in controls.items()}

    def redraw(_=None):
        verdict.clear_output()
        with figure:
            figure.clear_output(wait=True)
            display(draw_setting(**setting()).figure)
            plt.close()

    def judge(_):
        moons = load_moons()
        chosen = getattr(keras.optimizers, optimizer.value)(learning_rate.value)
        with verdict:
            verdict.clear_output(wait=True)
            display(diagnose(build_mlp(**setting()), moons.x_train, moons.y_train, optimizer=chosen))

    for control in controls.values():
        control.observe(redraw, "value")
    for control in (optimizer, learning_rate):
        control.observe(lambda _: verdict.clear_output(), "value")
    button.on_click(judge)
    redraw()
    left = widgets.VBox([*controls.values(), optimizer, learning_rate, button])
    return widgets.VBox([widgets.HBox([left, figure]), verdict])


def draw_setting(ax=None, **net):
    """Draw delta of every hidden layer of one untrained net of `build_mlp`, measured and predicted."""
    moons = load_moons()
    report = inspect_layers(build_mlp(**net), moons.x_train, moons.y_train)
    profile = predict_profile(
        net["activation"],
        net["kernel_initializer"],
        [2] + net["hidden_layers"] * [net["units"]],
        moons.x_train,
        net["batch_normalization"],
        net["residual"],
    )
    return plots.prediction(report.delta_rms[None, :-1], profile.delta_rms, profile.band.delta_rms, "delta", ax)
