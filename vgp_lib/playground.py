"""The playground: sliders for a network, and what its gradients do."""

import dataclasses
import functools
import gc
import html
import sys
import threading

import ipywidgets as widgets
import numpy as np

from vgp_lib import plots
from vgp_lib.data import load_moons
from vgp_lib.diagnosis import diagnose
from vgp_lib.gradients import first_nonfinite, inspect_layers, power_of_ten
from vgp_lib.live import Bar, Picture
from vgp_lib.models import build_mlp
from vgp_lib.setting import Setting, predict, profile, update_ratios
from vgp_lib.training import train

_QUIET = 0.4  # seconds without a change before the verdict is worked out: meanwhile the sliders come first
_SCALES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 30.0)
_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_CHOICES = {
    "activation": ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu"),
    "kernel_initializer": ("glorot_uniform", "he_normal", "lecun_normal", "orthogonal", "random_normal"),
    "optimizer": ("SGD", "Adam", "RMSprop"),
}
_QUANTITIES = {"delta": "delta_rms", "kernel gradient": "kernel_gradient_rms"}
_LIMITS = (
    "<b>What this does not show.</b> Gradients are those of one seed, before training, on the 200 training points of "
    "the two moons; the shade is where 80 % of such nets are predicted. Update ratios are of one first step on all "
    "points. A healthy gradient is no promise that a net learns: for that there is the verdict, which rehearses 300 "
    "steps, and the button, which trains. Nothing here says how a net does on new data."
)


def playground():
    """Show sliders for a network and its optimizer, and what its gradients do: see `Playground`."""
    return Playground()


def draw_setting(seed=0, **net):
    """Draw delta of every hidden layer of one untrained net, measured and predicted; `net` is that of `build_mlp`."""
    moons, net = load_moons(), Setting().net() | net
    report = inspect_layers(build_mlp(**net, seed=seed), moons.x_train, moons.y_train)
    predicted = profile(net)
    return plots.prediction(report.delta_rms[None, :-1], predicted.delta_rms, predicted.band.delta_rms, "delta")


def _finite(values):
    return np.where(np.isfinite(values), values, np.nan)


class Playground(widgets.VBox):
    """Sliders for a network of `build_mlp` and its optimizer; what its gradients do follows every release of a slider.

    That is: delta or kernel gradient of every hidden layer before training, with what theory predicts; the update ratio
    of every layer in one step; and a moment later, from another thread, the verdict of `diagnose`. A button trains 32
    seeds. `code` holds the Python that makes the setting.
    """

    _one_at_a_time = threading.Lock()  # for the work in the background, of all playgrounds together

    def __init__(self):
        self._moons, self._threads = load_moons(), []
        self._serving, self._served = False, threading.Event()
        default, look = (
            Setting(),
            {"style": {"description_width": "7.5em"}, "layout": {"width": "26em", "max_width": "100%"}},
        )
        slider = look | {"continuous_update": False}
        numbers = {"hidden_layers": ("layers", 40), "units": ("units", 100), "seed": ("seed", 31)}
        steps = {"scale": ("scale ×", _SCALES), "learning_rate": ("learning rate", _RATES)}
        self.controls = {}
        for name, value in dataclasses.asdict(default).items():
            if name in numbers:
                text, top = numbers[name]
                control = widgets.IntSlider(
                    value, {"units": 2, "seed": 0}.get(name, 1), top, description=text, **slider
                )
            elif name in steps:
                text, values = steps[name]
                options = [(f"{number:g}", number) for number in values]
                control = widgets.SelectionSlider(options=options, value=value, description=text, **slider)
            elif name in _CHOICES:
                text = name.removeprefix("kernel_")
                control = widgets.Dropdown(options=_CHOICES[name], value=value, description=text, **look)
            else:
                control = widgets.Checkbox(value, description=name.replace("_", " "), **look)
            control.observe(self._follow, "value")
            self.controls[name] = control
        self.quantity = widgets.Dropdown(options=list(_QUANTITIES), description="show", **look)
        self.quantity.observe(self._draw_gradients, "value")
        self.gradients, self.updates = Picture(), Picture()
        self.curves, self.boundary = Picture(), Picture(4.5, 3.5)
        self.words, self.verdict, self.outcome = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.button = widgets.Button(description="train 32 seeds", button_style="primary", layout={"width": "12em"})
        self.button.on_click(self._start_training)
        self.progress = widgets.IntProgress(layout={"width": "12em", "visibility": "hidden"})
        self.code = widgets.Textarea(layout={"width": "100%", "height": "16em"})
        wrapped = {"flex_flow": "row wrap", "width": "100%"}
        left = widgets.VBox([*self.controls.values(), self.quantity], layout={"flex": "0 1 27em"})
        right = widgets.VBox([self.gradients, self.words, self.verdict, self.updates], layout={"flex": "1 1 20em"})
        self.trained = widgets.Box([self.curves, self.boundary], layout=wrapped | {"display": "none"})
        self._follow()
        super().__init__(
            [
                widgets.Box([left, right], layout=wrapped),
                widgets.Box([self.button, self.progress, self.outcome], layout=wrapped),
                self.trained,
                widgets.HTML("<b>Copy as Python</b>"),
                self.code,
                widgets.HTML(f'<div style="line-height: 1.5">{_LIMITS}</div>'),
            ]
        )

    def __repr__(self):
        return "A playground with sliders: it shows once the cell is run in JupyterLab, or by `make playground`."

    @property
    def setting(self):
        return Setting(**{name: control.value for name, control in self.controls.items()})

    def wait(self):
        """Wait until verdict and training are done."""
        for thread in self._threads:
            thread.join()

    def _follow(self, _=None):
        self._serving = True
        self._served.clear()
        gc.disable()  # Python's garbage collector would walk through all of TensorFlow, 0.2 s
        try:
            self._show(self.setting)
        finally:
            gc.enable()
            self._serving = False
            self._served.set()

    def _show(self, setting):
        """Draw at once, and let the verdict follow when the sliders have come to rest."""
        self._shown, x, y = setting, self._moons.x_train, self._moons.y_train
        model = build_mlp(**setting.net(), seed=setting.seed)
        self._report, self._profile = inspect_layers(model, x, y), predict(setting.untrained())
        self._lost = first_nonfinite(model, x, y) if not np.isfinite(self._report.kernel_gradient_rms).all() else None
        self._draw_gradients()
        self._draw_updates(update_ratios(model, x, y, setting.make_optimizer()), setting)
        self.code.value, self.verdict.value = setting.code(), "<i>The verdict follows …</i>"
        self.trained.layout.display, self.outcome.value = "none", ""
        self._in_background(functools.partial(self._judge, model, setting), delay=_QUIET)

    def _in_background(self, work, delay=0.0):
        """Run work in a thread, so that it does not hold up the sliders; one work at a time."""

        def run():
            with self._one_at_a_time:
                sys.setprofile(self._give_way)
                try:
                    work()
                finally:
                    sys.setprofile(None)

        thread = threading.Timer(delay, run)
        thread.daemon = True
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()

    def _give_way(self, *_):
        """Called at every function call of a thread in the background: halt while a slider is being served."""
        if self._serving:
            self._served.wait(1.0)  # not for ever: the thread may hold a lock that the slider needs

    def _judge(self, model, setting):
        if setting != self.setting:  # a newer request has made this one void, here or below
            return
        optimizer = setting.make_optimizer()
        try:
            text = diagnose(model, self._moons.x_train, self._moons.y_train, optimizer=optimizer)._repr_html_()
        except Exception as error:  # in a thread nobody else would tell
            text = f"No verdict: {html.escape(str(error))}"
        if setting == self.setting:
            self.verdict.value = f'<div role="status" style="line-height: 1.5">{text}</div>'

    def _draw_gradients(self, _=None):
        name, attribute = self.quantity.value, _QUANTITIES[self.quantity.value]
        measured = getattr(self._report, attribute)[:-1]
        predicted, band = (_finite(getattr(part, attribute)) for part in (self._profile, self._profile.band))
        words = self._describe(name, measured, predicted)
        title = f"{name} before training, seed {self._shown.seed}"
        self.gradients.draw(
            lambda ax: plots.prediction(_finite(measured)[None], predicted, band, name, ax, title), words
        )
        self.words.value = f'<div role="status">{html.escape(words)}</div>'

    def _describe(self, name, measured, predicted):
        """Say in words what the figure shows, or why it shows nothing."""
        if self._lost:
            layer, what = self._lost
            where = f"the {what} of {layer}" if layer else "the loss"
            return f"Out of the range of float32: {where} is the first that is inf or nan; no line can be drawn."
        if not measured.any():
            return f"Not one hidden layer gets a gradient: {name} is exactly 0 in all of them."
        zeros = np.flatnonzero(measured == 0) + 1
        if len(zeros):
            layers = f"layer {zeros[0]}" if len(zeros) == 1 else f"layers {zeros[0]} to {zeros[-1]}"
            return f"{name} is exactly 0 in {layers}, which has no place on a logarithmic axis."
        ratio, theory = measured[0] / measured[-1], predicted[0]
        theory = f"predicted about {power_of_ten(theory)}" if np.isfinite(theory) else "the prediction overflows"
        return f"{name}, first over last hidden layer: about {power_of_ten(ratio)}; {theory}."

    def _draw_updates(self, ratios, setting):
        name = f"{setting.optimizer}({setting.learning_rate:g})"
        words = f"Update ratio of every layer in the first step of {name}."

        def plot(ax):
            ylabel = "update ratio |ΔW| / |W|"
            plots.layers({"every layer, output included": _finite(ratios)}, ylabel, f"one step of {name}", ax)
            plots.reference(ax, 1e-3, "rule of thumb: 1e-3")

        self.updates.draw(plot, words)

    def _start_training(self, _):
        self.button.disabled, self.progress.value, self.progress.layout.visibility = True, 0, "visible"
        self.trained.layout.display, self.outcome.value = "none", ""
        self._in_background(functools.partial(self._train, self.setting))

    def _train(self, setting):
        try:
            self._train_seeds(setting)
        except Exception as error:  # in a thread nobody else would tell
            self.outcome.value = f"No training: {html.escape(str(error))}"
        finally:
            self.button.disabled, self.progress.layout.visibility = False, "hidden"

    def _train_seeds(self, setting):
        net, bar = setting.net(), functools.partial(Bar, widget=self.progress)
        runs = train(lambda: build_mlp(**net), self._moons, setting.make_optimizer(), seeds=32, progress=bar)
        words = self._draw_training(runs)
        if setting == self.setting:
            self.trained.layout.display, self.outcome.value = "flex", f'<div role="status">{words}</div>'
        else:
            self.outcome.value = "The setting has changed meanwhile: train again."

    def _draw_training(self, runs):
        """Draw the losses and a decision boundary; return what they say in words."""
        last, solved = runs.loss[-1], np.sum(runs.accuracy[-1] > 0.95)
        low, middle, high = np.nanquantile(np.nan_to_num(last, nan=np.inf), [0.1, 0.5, 0.9], method="nearest")
        words = (
            f"Last loss {middle:.2g} (80 % of the seeds {low:.2g} to {high:.2g}), accuracy above 95 %: {solved} of 32"
        )
        words += f"; nan or infinite: {len(runs.diverged)}." if runs.diverged else "."
        seed = runs.seeds[np.argsort(last)[len(last) // 2]]  # nan comes last

        def curves(ax):
            plots.curves({"32 seeds": _finite(runs.loss)}, ylabel="training loss", ax=ax, title="median and 80 % band")
            plots.reference(ax, np.log(2), "ln 2: what guessing costs").set_ylim(0, 1)

        model, title = runs.model(seed), f"seed {seed}, the one with the median loss"
        drawable = np.isfinite(model(self._moons.x_train)).all()

        def boundary(ax):
            plot = functools.partial(plots.boundary, model) if drawable else plots.points
            plot(self._moons.x_train, self._moons.y_train, ax=ax, title=title)

        self.curves.draw(curves, words)
        self.boundary.draw(boundary, f"Decision boundary of seed {seed}")
        return words
