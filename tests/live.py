"""The playground's page as the tests see it: made of its script alone; and settings spread over its sliders."""

import html
import json
import re
from unittest import mock

import keras
import numpy as np

import vgp_lib as vgp
from vgp_lib.classroom import _page
from vgp_lib.engine import _remedies, _straight

VALUES = {name: values for name, (_, values) in _page.CONTROLS.items() if name not in _page.SKETCHES}
NET = ["hidden_layers", "units", "activation", "kernel_initializer", "scale", "batch_normalization", "residual"]
WHOLE = [*NET, "optimizer", "learning_rate", "seed", "data"]
FIRST = {name: first for name, (first, _) in _page.CONTROLS.items() if name in WHOLE}
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Playground</title>{style}</head>
<body><main><h1>Playground</h1>{places}</main><script>{script}</script></body></html>"""


def write_page(folder, *options, script=None, style=""):
    """Write a page with one instrument for each of the options (at first the whole one); return its path."""
    options = options or ({"address": True},)
    places = [f"<div data-playground='{html.escape(json.dumps(one))}'><p>A picture.</p></div>" for one in options]
    path = folder / "playground.html"
    text = PAGE.format(style=style, places="".join(places), script=script or _page.script())
    path.write_text(text, encoding="utf-8")
    return path


def data(name):
    """The training data of a setting, x and y."""
    x, y, *_ = _page.load()[name]
    return x, y


def optimizer(setting):
    return getattr(keras.optimizers, setting["optimizer"])(setting["learning_rate"])


def spread_settings(count, seed=0):
    """Draw settings that are spread over all sliders of the whole instrument; the same ones for the same seed.

    Half of them have weights near the usual size, since wild ones explode whatever else is chosen. After the first 200
    come narrow ReLU nets, some of which are dead.
    """
    random = np.random.default_rng(seed)
    settings = []
    for index in range(count):
        setting = {name: VALUES[name][random.integers(len(VALUES[name]))] for name in WHOLE}
        if index % 2:
            setting["scale"] = [0.5, 0.8, 1, 1, 1.2, 1.4, 2][random.integers(7)]
            setting["learning_rate"] = {"SGD": [0.03, 0.1, 0.3]}.get(setting["optimizer"], [0.001, 0.003, 0.01])[
                index % 3
            ]
        if index >= 200:
            narrow = {"activation": "relu", "units": 2 + index % 3, "hidden_layers": 5 + index % 16, "scale": 1}
            setting |= narrow | {"batch_normalization": False, "residual": False}
        settings.append(setting)
    return settings


def diagnose(setting, moved=None):
    """The verdict of Python on the page's net: a dict as the page gives it; `moved` is a seed for `move_last_bits`."""
    model = _page.build(**setting)
    if moved is not None:
        move_last_bits(model, moved)
    untried = mock.patch.object(_remedies, "_try", lambda patient, lines, best=None: (None, []))
    with untried, mock.patch.object(_straight, "as_good", lambda patient: ""):  # the page proposes what theory says
        found = vgp.diagnose(model, *data(setting["data"]), optimizer=optimizer(setting))
    found = {name: getattr(found, name) for name in ("verdict", "layer", "because", "try_next")}
    return found | {"because": found["because"].partition("; the next line is not tried")[0].rstrip(".") + "."}


def move_last_bits(model, seed):
    """Move every weight by about one last bit, up or down: a net at the edge of chaos becomes another one."""
    random = np.random.default_rng(seed)
    weights = [weight * (1 + 6e-8 * random.choice([-1, 1], weight.shape)) for weight in model.get_weights()]
    model.set_weights([weight.astype("float32") for weight in weights])


def without_shuffled(found):
    """A verdict without the loss of shuffled answers: Python shuffles them five times, the page in all ways."""
    return found | {"because": re.sub(r"(shuffled among the samples: )[^)]+", r"\1…", found["because"])}


# Gives the page's verdict of every setting.
VERDICTS = """settings => settings.map(setting => {
    let found;
    for (const one of VGP.engine.verdict(setting, setting.seed, VGP.engine.data[setting.data])) found = one;
    return found;
})"""
