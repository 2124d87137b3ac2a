import base64
import re
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

import vgp_lib as vgp
from vgp_lib.setting import Setting, update_ratios

MODULE = sys.modules["vgp_lib.playground"]


@pytest.fixture
def at_rest(monkeypatch):
    """No verdict from another thread: it would work beside the other tests."""
    monkeypatch.setattr(MODULE.Playground, "_in_background", lambda self, work, delay=0.0: None)


def lines(picture):
    return {line.get_label(): line.get_ydata() for line in picture.figure.axes[0].get_lines()}


def put(play, **values):
    for name, value in values.items():
        play.controls[name].value = value


def run_code(play, until):
    """Run the text that the playground shows, up to a line; return its names."""
    code = play.code.value.split(until)[0]
    exec(compile(code, "the playground's code", "exec"), names := {})
    return names


def test_the_still_picture_shows_one_net_beside_its_prediction(moons):
    net = {"hidden_layers": 4, "activation": "tanh", "kernel_initializer": "he_normal"}
    ax = vgp.draw_setting(**net, seed=2)
    delta = vgp.inspect_layers(vgp.build_mlp(**net, seed=2), moons.x_train, moons.y_train).delta_rms[:-1]
    dashed, line = ax.get_lines()
    np.testing.assert_allclose(line.get_ydata(), delta / delta[-1])
    profile = vgp.predict_profile("tanh", "he_normal", [2, 10, 10, 10, 10], moons.x_train)
    np.testing.assert_allclose(dashed.get_ydata(), profile.delta_rms)


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_layers": 4, "activation": "relu", "kernel_initializer": "he_normal", "scale": 1.4, "seed": 3},
        {"hidden_layers": 3, "units": 20, "batch_normalization": True, "residual": True, "optimizer": "Adam"},
        {"hidden_layers": 5, "kernel_initializer": "orthogonal", "scale": 3.0, "activation": "tanh"},
        {"hidden_layers": 2, "kernel_initializer": "random_normal", "scale": 10.0, "learning_rate": 1.0},
    ],
)
def test_the_figures_show_what_the_code_gives(at_rest, values, moons):
    play = vgp.playground()
    put(play, **values)
    names = run_code(play, "print(vgp.diagnose")
    assert names["model"].name == "mlp"
    for quantity, attribute in (("delta", "delta_rms"), ("kernel gradient", "kernel_gradient_rms")):
        play.quantity.value = quantity
        measured = getattr(names["report"], attribute)[:-1]
        np.testing.assert_allclose(lines(play.gradients)["measured"], measured / measured[-1])
    names["model"].compile(names["optimizer"], "binary_crossentropy")
    kernels = [layer for layer in names["model"].layers if isinstance(layer, keras.layers.Dense)]
    before = [layer.kernel.numpy() for layer in kernels]
    names["model"].train_on_batch(moons.x_train, moons.y_train)
    after = [layer.kernel.numpy() for layer in kernels]
    expected = [abs(a - b).mean() / abs(b).mean() for a, b in zip(after, before, strict=True)]
    np.testing.assert_allclose(lines(play.updates)["every layer, output included"], expected, rtol=1e-3)


def test_the_scale_is_a_factor_on_the_standard_deviation():
    for name in MODULE._CHOICES["kernel_initializer"]:
        nets = [vgp.build_mlp(**Setting(2, kernel_initializer=name, scale=scale).net(), seed=1) for scale in (1.0, 3.0)]
        one, three = (net.get_layer("hidden_2").kernel.numpy() for net in nets)
        np.testing.assert_allclose(three, 3 * one, rtol=1e-5, atol=1e-6)


def test_the_prediction_is_drawn_for_the_scaled_weights(at_rest, moons):
    play = vgp.playground()
    put(play, hidden_layers=6, scale=2.0)
    twice = keras.initializers.VarianceScaling(4.0, mode="fan_avg", distribution="uniform")
    profile = vgp.predict_profile("sigmoid", twice, [2] + 6 * [10], moons.x_train)
    np.testing.assert_allclose(lines(play.gradients)["root mean square, predicted"], profile.delta_rms)


def test_a_figure_is_a_png_with_words_and_no_figure_of_pyplot_is_left(at_rest):
    play = vgp.playground()
    before = play.gradients.value
    put(play, hidden_layers=2)
    assert play.gradients.value != before
    alt, data = re.fullmatch(r'<img alt="([^"]+)".* src="data:image/png;base64,(.+)">', play.gradients.value).groups()
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert re.fullmatch(r"delta, first over last hidden layer: about 1e-1; predicted about 1e-1.", alt)
    assert alt in play.words.value and not plt.get_fignums()


def test_what_does_not_change_the_net_changes_only_the_updates(at_rest):
    play = vgp.playground()
    gradients, updates = play.gradients.value, lines(play.updates)["every layer, output included"]
    put(play, learning_rate=1.0)
    assert play.gradients.value == gradients
    np.testing.assert_allclose(lines(play.updates)["every layer, output included"][-1], 10 * updates[-1], rtol=1e-3)


def test_update_ratios_leave_the_model_alone(moons):
    model = vgp.build_mlp(3, batch_normalization=True, seed=0)
    before = model.get_weights()
    update_ratios(model, moons.x_train, moons.y_train, keras.optimizers.Adam(0.1))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_verdict_follows_under_the_chosen_optimizer_and_old_requests_are_void(monkeypatch):
    asked, original = [], MODULE.diagnose

    def spy(model, x, y, optimizer):
        asked.append((len(model.layers), type(optimizer).__name__, round(float(optimizer.learning_rate), 6)))
        return original(model, x, y, optimizer=optimizer)

    monkeypatch.setattr(MODULE, "diagnose", spy)
    monkeypatch.setattr(MODULE, "_QUIET", 0.5)
    play = vgp.playground()
    put(play, hidden_layers=12, optimizer="Adam", learning_rate=0.01)  # long before the first verdict is due
    assert "follows" in play.verdict.value
    play.wait()
    assert asked == [(14, "Adam", 0.01)]
    assert "VANISHING" in play.verdict.value and "keras.optimizers.Adam(0.01)" in play.verdict.value


def test_a_verdict_that_comes_too_late_is_not_shown(at_rest, monkeypatch):
    play = vgp.playground()
    old = play.setting
    found = vgp.Diagnosis("dead", None, "too late", "nothing")
    monkeypatch.setattr(MODULE, "diagnose", lambda *_, **__: put(play, seed=1) or found)
    play._judge(vgp.build_mlp(2), old)
    assert "too late" not in play.verdict.value
    monkeypatch.setattr(MODULE, "diagnose", lambda *_, **__: found)
    play._judge(vgp.build_mlp(2), play.setting)
    assert "too late" in play.verdict.value


def test_the_button_trains_what_the_code_trains(monkeypatch):
    monkeypatch.setattr(MODULE, "_QUIET", 1e6)  # no verdict
    play = vgp.playground()
    put(play, hidden_layers=2, optimizer="Adam", learning_rate=0.03)
    play.button.click()
    for thread in play._threads:
        if thread.interval == 0:
            thread.join()
        else:
            thread.cancel()
    runs = run_code(play, "print(runs)")["runs"]
    np.testing.assert_allclose(lines(play.curves)["32 seeds"], np.median(runs.loss, axis=1))
    assert play.progress.value == play.progress.max == 100
    low, middle, high = np.quantile(runs.loss[-1], [0.1, 0.5, 0.9], method="nearest")
    assert f"Last loss {middle:.2g} (80 % of the seeds {low:.2g} to {high:.2g})" in play.outcome.value
    assert not play.button.disabled and play.trained.layout.display == "flex"
    put(play, seed=1)  # another net: its training has not been seen
    assert play.trained.layout.display == "none" and not play.outcome.value


EXTREMES = [
    {"activation": "sigmoid", "scale": 0.1},
    {"activation": "sigmoid", "scale": 30.0},
    {"activation": "sigmoid", "scale": 30.0, "residual": True},
    {"activation": "relu", "scale": 1.0, "units": 2},
    {"activation": "relu", "scale": 30.0},
    {"activation": "relu", "scale": 30.0, "batch_normalization": True, "residual": True},
    {"activation": "selu", "scale": 30.0},
    {"activation": "gelu", "scale": 0.1},
]


def test_nothing_raises_at_the_ends_of_the_sliders(at_rest):
    """Here warnings are errors, too."""
    play = vgp.playground()
    for values in EXTREMES:
        rest = {"kernel_initializer": "he_normal", "optimizer": "RMSprop", "learning_rate": 10.0}
        play._show(Setting(**{"hidden_layers": 40, **rest, **values}))
        assert re.search("first over last|float32|exactly 0", play.words.value), values


def test_explosions_and_dead_nets_are_said_in_words(at_rest):
    play = vgp.playground()
    play._show(Setting(40, 10, "relu", "he_normal", 30.0))
    assert "Out of the range of float32: the output of hidden_" in play.words.value
    assert np.isnan(lines(play.gradients)["measured"]).all()
    play._show(Setting(40, 2, "relu"))
    assert "exactly 0" in play.words.value
