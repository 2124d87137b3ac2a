"""The playground: sliders for a network, and what its gradients do."""

import asyncio
import contextlib
import functools
import html
import time
from concurrent import futures

import ipywidgets as widgets
import keras
import numpy as np

from vgp_lib import plots
from vgp_lib.classroom import _setting
from vgp_lib.classroom._widgets import Picture
from vgp_lib.data import load_moons
from vgp_lib.engine.diagnosis import diagnose
from vgp_lib.engine.training import train
from vgp_lib.layers import inspect_layers, update_ratios
from vgp_lib.models import build_mlp
from vgp_lib.updates import power_of_ten

_QUIET = 0.4  # seconds without a change before the verdict is worked out: meanwhile the sliders come first
_WORKER = futures.ThreadPoolExecutor(1)  # one work in the background at a time, of all playgrounds together
_INITIALIZERS = ("glorot_uniform", "he_normal", "lecun_normal", "orthogonal", "random_normal")
_SCALES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 30.0)
_CONTROLS = {  # the value at first, and all values
    "hidden_layers": (10, range(1, 41)),
    "units": (10, range(2, 101)),
    "activation": ("sigmoid", ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu")),
    "kernel_initializer": ("glorot_uniform", _INITIALIZERS),
    "scale": (1.0, _SCALES),
    "batch_normalization": (False, (False, True)),
    "residual": (False, (False, True)),
    "optimizer": ("SGD", ("SGD", "Adam", "RMSprop")),
    "learning_rate": (0.1, (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)),
    "seed": (0, range(32)),
}
_LOOK = {"style": {"description_width": "7.5em"}, "layout": {"width": "26em", "max_width": "100%"}}
_SPOKEN = '<div role="status" style="line-height: 1.5">{}</div>'  # a screen reader reads it out when it changes


def playground():
    """Show sliders for a network of `build_mlp` and its optimizer, and what its gradients do at every release of one.

    That is: delta or kernel gradient of every hidden layer before training, with what theory predicts; the update ratio
    of every layer in one step; and a moment later the verdict of `diagnose`. A button trains 32 seeds.
    """
    return Playground()


def draw_setting(seed=0, **net):
    """Draw delta of every hidden layer of one untrained net, measured and predicted; `net` is that of `build_mlp`."""
    moons, predicted = load_moons(), _setting.profile(**net)
    report = inspect_layers(build_mlp(**net, seed=seed), moons.x_train, moons.y_train)
    return plots.prediction(report.delta_rms[None, :-1], predicted.delta_rms, predicted.band.delta_rms, "delta")


def _control(name, value, values):
    look = _LOOK | {"value": value, "description": name.removeprefix("kernel_").replace("_", " ")}
    if isinstance(value, bool):
        return widgets.Checkbox(**look)
    if isinstance(value, str):
        return widgets.Dropdown(options=values, **look)
    return widgets.SelectionSlider(options=values, continuous_update=False, **look)


class Playground(widgets.VBox):
    """Verdict and training are computed in another thread, so that the sliders answer; the main thread shows them."""

    def __init__(self):
        self._moons, self._loop = load_moons(), None
        with contextlib.suppress(RuntimeError):  # plain Python has no loop of events: there, `wait` shows the results
            self._loop = asyncio.get_running_loop()
        self.controls = {name: _control(name, *values) for name, values in _CONTROLS.items()}
        for control in self.controls.values():
            control.observe(self._follow, "value")
        self.quantity = _control("show", "delta", ["delta", "kernel gradient"])
        self.quantity.observe(self._draw_gradients, "value")
        self.button = widgets.Button(description="train 32 seeds", button_style="primary", layout={"width": "12em"})
        self.button.on_click(self._train)
        self.gradients, self.updates, self.curves, self.boundary = Picture(), Picture(), Picture(), Picture(4.5, 3.5)
        self.words, self.verdict, self.training = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.code = widgets.Textarea(description="Python", layout={"width": "100%", "height": "16em"})
        wrapped = {"flex_flow": "row wrap", "width": "100%"}
        left = widgets.VBox([*self.controls.values(), self.quantity], layout={"flex": "0 1 27em"})
        right = widgets.VBox([self.gradients, self.words, self.verdict, self.updates], layout={"flex": "1 1 20em"})
        rows = [left, right], [self.button, self.training], [self.curves, self.boundary]
        top, middle, self.trained = (widgets.Box(row, layout=wrapped) for row in rows)
        self._follow()
        super().__init__([top, middle, self.trained, self.code])

    def __repr__(self):
        return "A playground with sliders: it shows once the cell is run in JupyterLab, or by `make playground`."

    def wait(self):
        """Wait until verdict and training are computed, and show them."""
        futures.wait([future for future, *_ in self._asked])
        self._tell()

    def _follow(self, _=None):
        """Draw at once, and let the verdict follow when the sliders have come to rest."""
        self._asked = []  # what was asked of the background for this setting; the list of the last one is void
        setting = self.setting = {name: control.value for name, control in self.controls.items()}
        net, (x, y, *_) = _setting.net(setting), self._moons
        self._optimizer = optimizer = getattr(keras.optimizers, setting["optimizer"])(setting["learning_rate"])
        self._build, self._profile = functools.partial(build_mlp, **net), _setting.profile(**net)
        self._report = inspect_layers(model := self._build(seed=setting["seed"]), x, y)
        self._draw_gradients()
        what = f"update ratio |ΔW| / |W|, one step of {setting['optimizer']}({setting['learning_rate']:g})"
        values = {"every layer, output included": update_ratios(model, x, y, optimizer)}
        rule = functools.partial(plots.reference, value=1e-3, label="rule of thumb: 1e-3")
        self.updates.draw(lambda ax: rule(plots.layers(values, "|ΔW| / |W|", what, ax)), what)
        self.code.value, self.verdict.value, self.training.value = _setting.code(setting), "The verdict follows …", ""
        self.button.disabled, self.trained.layout.display = False, "none"
        self._ask("verdict", lambda: diagnose(model, x, y, optimizer=optimizer), lambda found: found._repr_html_())

    def _train(self, _):
        self.button.disabled, self.trained.layout.display, self.training.value = True, "none", "Training …"
        work = functools.partial(train, self._build, self._moons, self._optimizer, seeds=32, progress=False)
        self._ask("training", work, self._draw_training)

    def _ask(self, what, work, show):
        """Have work done in the background, unless a slider moves before; `show` makes a text of the result."""
        asked = self._asked

        def run():
            if asked is self._asked:
                time.sleep(_QUIET)
            return work() if asked is self._asked else None

        asked.append((future := _WORKER.submit(run), what, show))
        if self._loop:
            future.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._tell))

    def _tell(self):
        """Show what the background has finished for this setting."""
        while self._asked and self._asked[0][0].done():
            future, what, show = self._asked.pop(0)
            try:
                text = show(future.result())
            except Exception as error:  # whatever it is: nobody else would tell
                text = f"No {what}: {html.escape(str(error))}"
            getattr(self, what).value = _SPOKEN.format(text)
            self.button.disabled = self.button.disabled and what == "verdict"

    def _draw_gradients(self, _=None):
        name, parts = self.quantity.value, (self._report, self._profile, self._profile.band)
        measured, predicted, band = (getattr(part, f"{name.replace(' ', '_')}_rms") for part in parts)
        measured, title = measured[:-1], f"{name} before training, seed {self.setting['seed']}"
        if not np.isfinite(measured).all():
            words = f"Out of the range of float32: {name} is inf or nan, and has no place in the figure."
        elif zeros := np.sum(measured == 0):
            words = f"{name} is exactly 0 in {zeros} of {len(measured)} hidden layers; a logarithmic axis has no 0."
        else:
            ratios = [power_of_ten(ratio) for ratio in (measured[0] / measured[-1], predicted[0])]
            words = f"{name}, first over last hidden layer: about {ratios[0]}; predicted about {ratios[1]}."
        self.gradients.draw(lambda ax: plots.prediction(measured[None], predicted, band, name, ax, title), words)
        self.words.value = _SPOKEN.format(html.escape(words))

    def _draw_training(self, runs):
        """Draw the losses and a decision boundary; return what they say in words."""
        last, solved = np.nan_to_num(runs.loss[-1], nan=np.inf), np.sum(runs.accuracy[-1] > 0.95)
        low, middle, high = np.quantile(last, [0.1, 0.5, 0.9], method="nearest")
        words = f"Last loss {middle:.2g} (80 % of the seeds {low:.2g} to {high:.2g}). Of 32 seeds {solved} have an "
        words += f"accuracy above 95 %, and {len(runs.diverged)} end in nan or infinity."
        losses = {"32 seeds, median and 80 % band": runs.loss}
        line = functools.partial(plots.reference, value=np.log(2), label="ln 2: what guessing costs")
        self.curves.draw(lambda ax: line(plots.curves(losses, ax=ax)).set_ylim(0, 1), words)
        seed, (x, y, *_) = runs.seeds[np.argsort(last)[len(last) // 2]], self._moons
        model, title = runs.model(seed), f"seed {seed}, the one with the median loss"
        plot = functools.partial(plots.boundary, model) if np.isfinite(model(x)).all() else plots.points
        self.boundary.draw(lambda ax: plot(x, y, ax, title), f"Decision boundary of seed {seed}")
        self.trained.layout.display = "flex"
        return words
