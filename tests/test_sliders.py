"""The playground: its figures, its verdict and its training, against what its own Python gives and against Keras."""

import asyncio
import base64
import functools
import re
import threading
from concurrent import futures

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

import vgp_lib as vgp
from vgp_lib.classroom import _setting, _widgets, sliders

FOUND = vgp.Diagnosis("dead", None, "an invented reason", "nothing")


@pytest.fixture
def at_rest(monkeypatch):
    """A small net to begin with, and no verdict: it would be worked out beside the other tests."""
    monkeypatch.setitem(sliders._CONTROLS, "hidden_layers", (2, range(1, 41)))
    monkeypatch.setattr(sliders.Playground, "_ask", lambda self, what, work, show: None)


def lines(picture):
    return {line.get_label(): line.get_ydata() for line in picture.figure.axes[0].get_lines()}


def put(play, **values):
    """Set several controls, with one answer at the end."""
    for control in play.controls.values():
        control.unobserve(play._follow, "value")
    for name, value in values.items():
        play.controls[name].value = value
    for control in play.controls.values():
        control.observe(play._follow, "value")
    play._follow()


def run_code(code, until):
    """Run the Python that the playground shows, up to a line; return its names."""
    exec(compile(code.split(until)[0], "the playground's code", "exec"), names := {})
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
    ],
)
def test_the_figures_show_what_the_code_gives(at_rest, values, moons):
    play = vgp.playground()
    put(play, **values)
    names = run_code(play.code.value, "print(vgp.inspect_layers")
    model, optimizer = names["model"], names["optimizer"]
    report = vgp.inspect_layers(model, moons.x_train, moons.y_train)
    for quantity, measured in (("delta", report.delta_rms), ("kernel gradient", report.kernel_gradient_rms)):
        play.quantity.value = quantity
        np.testing.assert_allclose(lines(play.gradients)["measured"], measured[:-1] / measured[-2])
    model.compile(optimizer, "binary_crossentropy")
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    before = [layer.kernel.numpy() for layer in kernels]
    model.train_on_batch(moons.x_train, moons.y_train)
    after = [layer.kernel.numpy() for layer in kernels]
    expected = [abs(a - b).mean() / abs(b).mean() for a, b in zip(after, before, strict=True)]
    np.testing.assert_allclose(lines(play.updates)["every layer, output included"], expected, rtol=1e-3)


@pytest.mark.parametrize("name", sliders._INITIALIZERS)
def test_the_scale_is_a_factor_on_the_standard_deviation_and_in_the_code(name):
    setting = {control: first for control, (first, _) in sliders._CONTROLS.items()}
    setting |= {"hidden_layers": 2, "kernel_initializer": name}
    kernels = []
    for scale in (1.0, 3.0):
        ours = vgp.build_mlp(**_setting.net(setting | {"scale": scale}), seed=1)
        coded = run_code(_setting.code(setting | {"scale": scale}), "moons, optimizer")["build"](seed=1)
        kernels.append(ours.get_layer("hidden_2").kernel.numpy())
        np.testing.assert_array_equal(coded.get_layer("hidden_2").kernel.numpy(), kernels[-1])
    np.testing.assert_allclose(kernels[1], 3 * kernels[0], rtol=1e-5, atol=1e-6)


def test_the_prediction_is_drawn_for_the_scaled_weights(at_rest, moons):
    play = vgp.playground()
    put(play, hidden_layers=6, scale=2.0)
    twice = keras.initializers.VarianceScaling(4.0, mode="fan_avg", distribution="uniform")
    profile = vgp.predict_profile("sigmoid", twice, [2] + 6 * [10], moons.x_train)
    np.testing.assert_allclose(lines(play.gradients)["root mean square, predicted"], profile.delta_rms)


def test_a_slider_brings_a_png_with_words_and_no_figure_of_pyplot_is_left(at_rest):
    play = vgp.playground()
    before = play.gradients.value
    play.controls["hidden_layers"].value = 3
    assert play.gradients.value != before
    alt, data = re.fullmatch(r'<img alt="([^"]+)".* src="data:image/png;base64,(.+)">', play.gradients.value).groups()
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert re.fullmatch(r"delta, first over last hidden layer: about 1e-1; predicted about 1e-1.", alt)
    assert alt in play.words.value and not plt.get_fignums()


def test_what_does_not_change_the_net_changes_only_the_updates(at_rest):
    play = vgp.playground()
    gradients, updates = play.gradients.value, lines(play.updates)["every layer, output included"]
    play.controls["learning_rate"].value = 1.0
    assert play.gradients.value == gradients
    np.testing.assert_allclose(lines(play.updates)["every layer, output included"][-1], 10 * updates[-1], rtol=1e-3)


def test_a_log_axis_shows_every_value_with_plain_labels():
    _, ax = plt.subplots()
    ax.set_yscale("log")
    ax.plot([1e-7, 0.0, np.nan, 2e3])
    _widgets.speed_up_drawing(ax)
    low, high = ax.get_ylim()
    assert 1e-9 < low < 1e-7 and 2e3 < high < 1e5
    ax.figure.canvas.draw()
    assert "1e-6" in [label.get_text() for label in ax.get_yticklabels()]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hidden_layers": 40, "scale": 30.0}, "Out of the range of float32: delta is inf or nan"),
        ({"hidden_layers": 20, "units": 2}, "delta is exactly 0 in 20 of 20 hidden layers"),
        ({"hidden_layers": 20, "scale": 30.0, "batch_normalization": True, "residual": True}, "first over last hidden"),
    ],
)
def test_the_ends_of_the_sliders_are_said_in_words(at_rest, values, words):
    """Here warnings are errors, too."""
    play = vgp.playground()
    put(play, activation="relu", kernel_initializer="he_normal", optimizer="RMSprop", learning_rate=10.0, **values)
    assert words in play.words.value


def test_the_verdict_follows_under_the_chosen_optimizer_and_old_requests_are_void(monkeypatch):
    asked, original = [], sliders.diagnose

    def spy(model, x, y, optimizer):
        asked.append(len(model.layers))
        return original(model, x, y, optimizer=optimizer)

    monkeypatch.setattr(sliders, "diagnose", spy)
    play = vgp.playground()
    put(play, hidden_layers=5, optimizer="RMSprop", learning_rate=0.0001)  # long before the first verdict is due
    assert "follows" in play.verdict.value
    play.wait()
    assert asked == [7]
    assert "VANISHING" in play.verdict.value and "keras.optimizers.RMSprop(0.0001)" in play.verdict.value


def test_the_button_trains_what_the_code_trains(monkeypatch):
    monkeypatch.setattr(sliders, "diagnose", lambda *_, **__: FOUND)
    play = vgp.playground()
    put(play, hidden_layers=2, optimizer="Adam", learning_rate=0.03)
    play.button.click()
    assert play.button.disabled
    play.wait()
    runs = run_code(play.code.value.replace("print(vgp.diagnose", "# "), "print(runs)")["runs"]
    np.testing.assert_allclose(lines(play.curves)["32 seeds, median and 80 % band"], np.median(runs.loss, axis=1))
    low, middle, high = np.quantile(runs.loss[-1], [0.1, 0.5, 0.9], method="nearest")
    assert f"Last loss {middle:.2g} (80 % of the seeds {low:.2g} to {high:.2g})" in play.training.value
    assert not play.button.disabled and play.trained.layout.display == "flex"
    play.controls["seed"].value = 1  # another net: its training has not been seen
    assert play.trained.layout.display == "none" and not play.training.value
    play.wait()


def train_briefly(build, data, *_, **__):
    """Train with steps of size 0: the trained nets are the initial ones."""
    return vgp.train(build, data, keras.optimizers.SGD(0.0), epochs=1, seeds=[5, 7, 3], progress=False)


@functools.cache
def brief_runs():
    return train_briefly(functools.partial(vgp.build_mlp, 2), vgp.load_moons())


@pytest.fixture
def short(monkeypatch):
    """A small net to begin with; a verdict and a training that take no time."""
    monkeypatch.setitem(sliders._CONTROLS, "hidden_layers", (2, range(1, 41)))
    monkeypatch.setattr(sliders, "_QUIET", 0.0)
    monkeypatch.setattr(sliders, "diagnose", lambda *_, **__: FOUND)
    monkeypatch.setattr(sliders, "train", lambda *_, **__: brief_runs())


def test_the_seed_in_the_title_is_that_of_build_mlp(short, monkeypatch):
    drawn, original = [], vgp.plots.boundary
    monkeypatch.setattr(sliders, "train", train_briefly)
    monkeypatch.setattr(vgp.plots, "boundary", lambda model, *args: drawn.append(model) or original(model, *args))
    play = vgp.playground()
    play.button.click()
    play.wait()
    seed = int(re.match(r"seed (\d+),", play.boundary.figure.axes[0].get_title())[1])
    expected = vgp.build_mlp(2, seed=seed)
    for ours, theirs in zip(drawn[0].trainable_variables, expected.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_slider_answers_while_the_background_works(short, monkeypatch):
    started, released, gave_up = threading.Event(), threading.Event(), []

    def slow(*_, **__):
        started.set()
        gave_up.append(not released.wait(30))
        return FOUND

    monkeypatch.setattr(sliders, "diagnose", slow)
    play = vgp.playground()
    assert started.wait(30)
    before = play.gradients.value
    play.controls["hidden_layers"].value = 3
    assert play.gradients.value != before and not gave_up
    released.set()
    play.wait()
    assert not any(gave_up) and FOUND.because in play.verdict.value


def test_a_slider_answers_while_a_result_waits_to_be_drawn_and_the_result_is_void(short):
    play = vgp.playground()
    play.button.click()
    futures.wait([future for future, *_ in play._asked])
    before = play.gradients.value
    play.controls["hidden_layers"].value = 3
    assert play.gradients.value != before and not play.button.disabled
    play.wait()
    assert play.trained.layout.display == "none" and not play.training.value


def test_in_a_kernel_results_show_by_themselves_drawn_in_the_main_thread(short, monkeypatch):
    threads, original = [], _widgets.Picture.draw

    def draw(self, *arguments):
        threads.append(threading.current_thread())
        original(self, *arguments)

    monkeypatch.setattr(_widgets.Picture, "draw", draw)

    async def cell():
        play = vgp.playground()
        play.controls["seed"].value = 1
        play.button.click()
        for _ in range(600):
            if play.training.value.startswith("<div"):
                return play
            await asyncio.sleep(0.05)

    play = asyncio.run(cell())
    assert FOUND.because in play.verdict.value and "Last loss" in play.training.value
    assert play.trained.layout.display == "flex" and set(threads) == {threading.main_thread()}


@pytest.mark.parametrize("where", ["train", "diagnose", "plots.boundary"])
def test_what_goes_wrong_is_told_on_the_page(short, monkeypatch, where):
    def fail(*_, **__):
        raise ValueError("a <reason>")

    monkeypatch.setattr(f"vgp_lib.classroom.sliders.{where}", fail)
    play = vgp.playground()
    play.button.click()
    play.wait()
    told = play.verdict if where == "diagnose" else play.training
    assert f"No {'verdict' if where == 'diagnose' else 'training'}: a &lt;reason&gt;" in told.value
    assert not play.button.disabled
