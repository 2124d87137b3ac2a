import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest

import vgp_lib as vgp

SETTING = {
    "hidden_layers": 4,
    "units": 10,
    "activation": "tanh",
    "kernel_initializer": "he_normal",
    "batch_normalization": False,
    "residual": False,
    "seed": 2,
}


def controls_of(box):
    left, figure = box.children[0].children
    return {control.description: control for control in left.children}, figure, box.children[1]


def test_the_figure_shows_one_net_beside_its_prediction():
    ax = vgp.draw_setting(**SETTING)
    moons = vgp.load_moons()
    delta = vgp.inspect_layers(vgp.build_mlp(**SETTING), moons.x_train, moons.y_train).delta_rms[:-1]
    dashed, line = ax.get_lines()
    np.testing.assert_allclose(line.get_ydata(), delta / delta[-1])
    profile = vgp.predict_profile("tanh", "he_normal", [2, 10, 10, 10, 10], moons.x_train)
    np.testing.assert_allclose(dashed.get_ydata(), profile.delta_rms)
    plt.close("all")


def test_every_slider_redraws_and_leaves_no_figure_open(monkeypatch):
    drawn = []
    module = vgp.playground.__globals__
    original = module["draw_setting"]
    monkeypatch.setitem(module, "draw_setting", lambda **setting: drawn.append(setting) or original(**setting))
    controls, _, _ = controls_of(vgp.playground())
    controls["layers"].value = 3
    controls["activation"].value = "relu"
    controls["residual"].value = True
    assert [drawn[-1][name] for name in ("hidden_layers", "activation", "residual")] == [3, "relu", True]
    assert len(drawn) == 4 and not plt.get_fignums()


@pytest.mark.parametrize(("name", "rate", "expected"), [("SGD", 1e-3, "vanishing"), ("Adam", 1e-2, "vanishing")])
def test_the_button_asks_for_a_verdict_under_the_chosen_optimizer(monkeypatch, name, rate, expected):
    asked = []
    module = vgp.playground.__globals__
    original = module["diagnose"]

    def spy(*arguments, **options):
        asked.append((options["optimizer"], original(*arguments, **options)))
        return asked[-1][1]

    monkeypatch.setitem(module, "diagnose", spy)
    controls, _, _ = controls_of(vgp.playground())
    controls["layers"].value, controls["optimizer"].value, controls["rate"].value = 12, name, rate
    controls["diagnose"].click()
    ((optimizer, found),) = asked
    assert type(optimizer).__name__ == name and float(optimizer.learning_rate) == pytest.approx(rate)
    assert found.verdict == expected


def test_it_is_a_widget():
    assert isinstance(vgp.playground(), widgets.Widget)
