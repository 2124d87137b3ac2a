"""Python's part of the playground: its arguments, what notebooks store of it, and what its page is told."""

import json
import re

import keras
import live
import numpy as np
import pytest
import scipy

import vgp_lib as vgp
from vgp_lib.classroom import _page, widget
from vgp_lib.engine import _rehearsal, _remedies, diagnosis
from vgp_lib.engine.theory import kernel_variance

# The widget


def test_without_arguments_it_is_the_whole_instrument_at_its_first_setting():
    play = vgp.playground()
    assert play.options == {} and {name: play.setting[name] for name in live.FIRST} == live.FIRST
    assert play.setting["hidden_layers"] == 10 and play.setting["activation"] == "sigmoid"


def test_controls_views_and_values_become_its_options():
    play = vgp.playground(["scale", "seed"], ["ladder", "verdict"], activation="tanh", scale=2, seed=31)
    setting = {"activation": "tanh", "scale": 2, "seed": 31}
    assert play.options == {"setting": setting, "controls": ["scale", "seed"], "views": ["ladder", "verdict"]}
    assert play.setting == vgp.playground().setting | setting
    json.dumps(play.options)  # it goes into notebooks and pages


@pytest.mark.parametrize(("view", "control"), [("product", "factor"), ("adam", "gradient"), ("lag", "recurrent_scale")])
def test_a_small_view_has_its_own_slider(view, control):
    assert vgp.playground(views=[view]).options == {"views": [view], "controls": [control]}
    assert vgp.playground(["learning_rate"], [view]).options["controls"] == ["learning_rate"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"views": ["ladders"]}, "views is .'ladders'.; give a list of names out of .*'ladder'"),
        ({"views": "ladder"}, "views is 'ladder'; give a list"),
        ({"views": []}, "views is ..; give a list"),
        ({"controls": ["depth"]}, "controls is .'depth'.; give a list of names out of .*'hidden_layers'"),
        ({"views": ["lag", "ladder"]}, "give 'lag' alone"),
        ({"depth": 3}, "setting is .'depth'.; give .*'hidden_layers'"),
        ({"hidden_layers": 41}, "hidden_layers is 41; give one of .1, 2, 3"),
        ({"activation": "swish"}, "activation is 'swish'; give one of .'sigmoid', 'tanh'"),
        ({"scale": 0.55}, "scale is 0.55; give one of"),
        ({"optimizer": keras.optimizers.SGD()}, "optimizer is <keras.*; give one of .'SGD'"),
    ],
)
def test_what_is_not_there_is_refused_in_words(arguments, message):
    with pytest.raises(ValueError, match=message):
        vgp.playground(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "delta, first over last hidden layer: about 1e-6; theory about 1e-6."),
        (
            {"views": ["ladder"], "hidden_layers": 1},
            "delta, first over last hidden layer: about 1e0; theory about 1e0.",
        ),
        ({"views": ["product"]}, "0.24 multiplied 10 times by itself is 6.3e-07; 40 times, 1.6e-25."),
        ({"views": ["product"], "factor": 2.0}, r"2 multiplied 10 times by itself is 1e\+03; 40 times, 1.1e\+12."),
        ({"views": ["adam"]}, "A gradient of 1e-3: SGD steps by 0.0001, Adam first by 0.1, later by 0.1."),
        (
            {"views": ["adam"], "gradient": 1e-7, "learning_rate": 0.01},
            "A gradient of 1e-7: SGD steps by 1e-09, Adam first by 0.00031, later by 0.005.",
        ),
        ({"views": ["lag"], "recurrent_scale": 0.5}, r"With s = 0.5, delta at lag 24 is 1e-\d+ of that at lag 0."),
    ],
)
def test_a_stored_output_is_a_picture_the_same_in_words_and_the_options(arguments, words):
    play = vgp.playground(**arguments)
    data, _ = play._repr_mimebundle_()
    assert re.fullmatch(words, data["text/plain"]), data["text/plain"]
    assert data["image/png"].startswith(b"\x89PNG")
    assert data[widget.MIME] == play.options and widget.MIME == "application/vnd.vgp.playground+json"
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == play.model_id


@pytest.mark.parametrize(
    "setting",
    [
        {"hidden_layers": 20, "units": 2, "seed": 1},  # dead: no layer gets a gradient
        {"hidden_layers": 40, "scale": 30},  # out of the range of float32
        {"hidden_layers": 40, "scale": 0.1},
    ],
)
def test_the_ends_of_the_sliders_have_a_picture_too(setting):
    """Here warnings are errors."""
    play = vgp.playground(activation="relu", kernel_initializer="he_normal", **setting)
    assert "first over last hidden layer" in play._repr_mimebundle_()[0]["text/plain"]


@pytest.mark.parametrize("normalization", [False, True])
def test_the_model_is_that_of_the_setting_with_the_page_s_weights(normalization):
    play = vgp.playground(hidden_layers=3, units=4, kernel_initializer="he_normal", scale=2, batch_normalization=True)
    play.setting = play.setting | {"batch_normalization": normalization, "residual": True, "seed": 5}  # as sliders do
    model, kind = play.model(), vgp.build_mlp(3, 4, batch_normalization=normalization, residual=True)
    assert model.to_json() == kind.to_json() or [*map(str, model.weights)] == [*map(str, kind.weights)]
    kernels = [layer.kernel.numpy() for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for stream, kernel in enumerate(kernels):
        np.testing.assert_allclose(kernel, _page.draw("he_normal", 2, kernel.shape, 5, stream), rtol=1e-6)
    assert len(kernels) == 4


# What the page is told


def constants():
    return json.loads(re.match(r"const VGP_CONSTANTS = (.+);\n", _page.script())[1])


def test_the_script_is_small_and_can_stand_in_a_page():
    script = _page.script()
    assert len(script.encode()) <= 150_000 and "</script" not in script.lower() and "<!--" not in script
    assert "import " not in re.sub(r"import (vgp_lib|keras)", "", script).replace("important", "")
    assert not re.search(r"https?:", script)


def test_thresholds_and_names_are_those_of_python():
    told = constants()
    expected = {"steps": _rehearsal.STEPS, "learned": _rehearsal.LEARNED, "faint": diagnosis.FAINT}
    expected |= {"loud": diagnosis.LOUD, "open": list(_remedies.OPEN)}
    assert {name: told[name] for name in expected} == expected
    for name in ("SGD", "Adam", "RMSprop"):
        config = getattr(keras.optimizers, name)(name=name).get_config()
        assert told["optimizers"][name] == json.loads(json.dumps(config))
    normalization = keras.layers.BatchNormalization()
    assert told["normalization"] == {"epsilon": normalization.epsilon, "momentum": normalization.momentum}


def test_the_data_are_those_of_python_to_the_last_bit():
    told = constants()["data"]
    for name, data in (("moons", vgp.load_moons()), ("spirals", vgp.make_spirals(250))):
        x, y = (np.array(told[name][axis], "float32") for axis in "xy")
        np.testing.assert_array_equal(x.reshape(-1, 2), data.x_train)
        np.testing.assert_array_equal(y, data.y_train)
        assert told[name]["n"] == len(y)


def test_activations_are_those_of_keras():
    z = np.array([-3.0, -0.5, 0.5, 3.0], "float32")
    for name, told in constants()["activations"].items():
        expected = getattr(keras.activations, name)(z)
        if told["kind"] == "elu":
            ours = told["scale"] * np.where(z > 0, z, told["alpha"] * np.expm1(np.minimum(z, 0)))
        elif told["kind"] == "bent":
            ours = np.where(z > 0, z, told["slope"] * z)
        else:
            assert told == {"kind": name}
            continue
        np.testing.assert_allclose(ours, expected, rtol=1e-6, err_msg=name)


# The weights, against those that Keras draws


def keras_draw(name, scale, shape, seed):
    config = keras.initializers.get(name).get_config() | {"seed": seed}
    return scale * np.asarray(type(keras.initializers.get(name)).from_config(config)(shape), "float64")


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("name", live.VALUES["kernel_initializer"])
def test_weights_have_the_distribution_of_keras_s_initializer(name, scale):
    shape = (30, 10)
    ours = np.array([_page.draw(name, scale, shape, seed, stream) for seed in range(10) for stream in range(10)])
    theirs = np.array([keras_draw(name, scale, shape, seed) for seed in range(100)])
    assert scipy.stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 0.01
    assert abs(ours.mean()) < 4 * theirs.std() / ours.size**0.5
    np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.02)
    np.testing.assert_allclose(abs(ours).max(), abs(theirs).max(), rtol=0.25 if "random" in name else 0.1)
    np.testing.assert_allclose(ours.var(), kernel_variance(_page.initializer(name, scale), *shape), rtol=0.03)
    np.testing.assert_allclose(ours[0], scale * _page.draw(name, 1, shape, 0, 0), rtol=1e-12)


def test_limits_and_truncation_are_exact():
    uniform = _page.draw("glorot_uniform", 1, (200, 200), 0, 0)
    limit = (6 / 400) ** 0.5  # Glorot & Bengio 2010, equation 16
    assert 0.999 * limit < abs(uniform).max() < limit
    for name, fan in (("he_normal", 2 / 200), ("lecun_normal", 1 / 200)):
        normal = _page.draw(name, 1, (200, 50), 0, 0)
        cut = 2 * fan**0.5 / 0.87962566103423978  # Keras stretches what it cuts off at two standard deviations
        assert 0.999 * cut < abs(normal).max() < cut


@pytest.mark.parametrize("shape", [(10, 10), (50, 7), (2, 30), (30, 1)])
def test_orthogonal_kernels_are_orthogonal_and_as_random_as_can_be(shape):
    kernel = _page.draw("orthogonal", 3, shape, 4, 2)
    across = kernel.T @ kernel if shape[0] >= shape[1] else kernel @ kernel.T
    np.testing.assert_allclose(across, 9 * np.eye(min(shape)), atol=1e-12)
    first = [_page.draw("orthogonal", 1, (3, 3), seed, 0)[0, 0] for seed in range(2000)]
    assert scipy.stats.kstest(first, "uniform", (-1, 2)).pvalue > 0.01  # a coordinate of a point on a sphere


def test_seeds_and_layers_are_independent():
    draws = np.array(
        [_page.draw("random_normal", 1, (40, 25), seed, stream) for seed in range(32) for stream in range(8)]
    )
    correlations = np.corrcoef(draws.reshape(len(draws), -1))[np.triu_indices(len(draws), 1)]
    assert abs(correlations).max() < 6 / 1000**0.5
    np.testing.assert_allclose(correlations.std(), 1 / 1000**0.5, rtol=0.05)
    shifted = draws.reshape(len(draws), -1)
    lagged = [np.corrcoef(row[:-lag], row[lag:])[0, 1] for row in shifted for lag in (1, 2, 25)]
    assert abs(np.mean(lagged)) < 4 / (1000 * len(lagged)) ** 0.5
