"""The playground: a live network and its gradients, in one JavaScript file (playground.js) that a notebook shows."""

import io

import anywidget
import matplotlib.pyplot as plt
import numpy as np
import traitlets

from vgp_lib import plots
from vgp_lib.classroom._page import CONTROLS, SKETCHES, build, draw, initializer, load, script
from vgp_lib.engine.theory import predict_profile
from vgp_lib.layers import gradient_by_lag, inspect_layers
from vgp_lib.models import build_rnn
from vgp_lib.updates import power_of_ten

MIME = "application/vnd.vgp.playground+json"  # the options, for where the page is made anew: site and decks
_VIEWS = ["network", "ladder", "spread", "updates", "training", "verdict", *SKETCHES]


def playground(controls=None, views=None, **setting):
    """Show a network with sliders, live: its gradients layer by layer, its verdict, and its training.

    The page computes everything itself, by the same formulas; so it also runs where no Python does. Its weights are
    drawn by its own generator: seed 3 of the page is not seed 3 of `build_mlp`, but `model()` returns the page's net.

    Args:
        controls: names of the sliders to show, such as ["hidden_layers", "activation"]; None: those the views need.
        views: "network", "ladder", "spread", "updates", "training", "verdict"; or one of the small pictures "product"
            (a factor, many times), "adam" (from a gradient to a step) and "lag" (a recurrent net). None: all the first.
        setting: values to begin with, by the names of the sliders: those of `build_mlp`; scale, a factor on the
            standard deviation of the weights; optimizer, learning_rate, data; factor, gradient, recurrent_scale.

    Returns a widget; `setting` holds the sliders' values. Raises `ValueError` if a name or a value is not there.
    """
    views = _check("views", views, _VIEWS)
    small = [view for view in views or [] if view in SKETCHES]
    if small and len(views) > 1:
        raise ValueError(f"views is {views}; give {small[0]!r} alone: it shows no network")
    controls = _check("controls", SKETCHES[small[0]] if small and controls is None else controls, CONTROLS)
    for name, value in setting.items():
        _check("setting", [name], CONTROLS)
        if value not in CONTROLS[name][1]:
            raise ValueError(f"{name} is {value!r}; give one of {CONTROLS[name][1]}")
    options = {"setting": setting, "controls": controls, "views": views}
    return Playground({name: value for name, value in options.items() if value})


def _check(name, given, known):
    if given is not None and (isinstance(given, str) or not given or set(given) - set(known)):
        raise ValueError(f"{name} is {given!r}; give a list of names out of {list(known)}")
    return given if given is None else list(given)


class Playground(anywidget.AnyWidget):
    """What `playground` returns. `options` is what the page is made of, `setting` what its sliders say now."""

    _ipython_display_ = None  # of ipywidgets 7, in Colab: it would show the widget without picture and words
    _esm = traitlets.Unicode().tag(sync=True)
    options = traitlets.Dict().tag(sync=True)
    setting = traitlets.Dict().tag(sync=True)

    def __init__(self, options):
        first = {name: value for name, (value, _) in CONTROLS.items()} | options.get("setting", {})
        super().__init__(_esm=f"{script()}\nexport default {{ render: VGP.render }};", options=options, setting=first)

    def model(self):
        """Build the uncompiled Keras model of the setting, with the weights that the page shows."""
        return build(**self.setting)

    def _repr_mimebundle_(self, **_):
        """Beside the widget: a picture, the same in words, and the options, for where widgets do not run."""
        data, metadata = super()._repr_mimebundle_()
        ax, words = _PICTURES.get(self.options.get("views", [""])[0], _ladder)(**self.setting)
        ax.figure.savefig(file := io.BytesIO(), format="png")
        plt.close(ax.figure)
        return data | {"text/plain": words, "image/png": file.getvalue(), MIME: self.options}, metadata


@np.errstate(divide="ignore", invalid="ignore")  # of a net that gets no gradient at all
def _ladder(**setting):
    x, y, *_ = load()[setting["data"]]
    found = inspect_layers(build(**setting), x, y).delta_rms[:-1]
    net = {name: setting[name] for name in ("activation", "batch_normalization", "residual")}
    kernel = initializer(setting["kernel_initializer"], setting["scale"])
    widths = [2] + setting["hidden_layers"] * [setting["units"]]
    profile = predict_profile(kernel_initializer=kernel, widths=widths, x=x, **net)
    words = "delta, first over last hidden layer: about {}; theory about {}."
    words = words.format(power_of_ten(found[0] / found[-1]), power_of_ten(profile.delta_ratio))
    return plots.prediction(found[None], profile.delta_rms, profile.band.delta_rms, "delta"), words


def _product(factor, **_):
    values = {f"{factor:g} per layer": factor ** np.arange(41)}
    words = f"{factor:g} multiplied 10 times by itself is {factor**10:.2g}; 40 times, {factor**40:.2g}."
    return plots.curves(values, np.arange(41), "layers passed", "what is left", log=True), words


def _adam(gradient, learning_rate, **_):
    g = np.append(10.0 ** np.arange(-9, 1), gradient)
    first, late = (learning_rate * g / (g + epsilon) for epsilon in (1e-7 / 0.001**0.5, 1e-7))
    values = {"Adam's first step": first, "Adam, later, if the gradient stays": late, "SGD": learning_rate * g}
    sgd, words = learning_rate * gradient, f"A gradient of {power_of_ten(gradient)}: SGD steps by "
    words += f"{sgd:.2g}, Adam first by {first[-1]:.2g}, later by {late[-1]:.2g}."
    ax = plots.curves({name: value[:-1] for name, value in values.items()}, g[:-1], "gradient", "step", log=True)
    ax.set_xscale("log")
    return ax, words


def _lag(recurrent_scale, seed, **_):
    (x, y, *_), model = load()["sequences"], build_rnn()
    kernels = model.layers[1].cell.kernel, model.layers[1].cell.recurrent_kernel, model.layers[2].kernel
    scales = ("glorot_uniform", 1), ("orthogonal", recurrent_scale), ("glorot_uniform", 1)
    for stream, (kernel, drawn) in enumerate(zip(kernels, scales, strict=True)):
        kernel.assign(draw(*drawn, kernel.shape, seed, stream))
    delta = gradient_by_lag(model, x, y)
    share, last = delta / delta[0], len(delta) - 1
    words = f"With s = {recurrent_scale:g}, delta at lag {last} is {power_of_ten(share[-1])} of that at lag 0."
    values = {f"orthogonal times {recurrent_scale:g}": share}
    return plots.curves(values, np.arange(last + 1), "time lag", "delta over delta at lag 0", log=True), words


_PICTURES = {"product": _product, "adam": _adam, "lag": _lag}
