"""Feedback on the exercises: each check looks at an answer and says "Correct.", "Not yet." or "Not attempted yet.".

In class a check never raises, whatever it is given. With the environment variable VGP_STRICT=1 it raises `NotCorrect`,
with the same text, for everything but a correct answer. What is correct is found out when asked, by theory, finite
differences, NumPy or a measurement; it is not read from the solutions.
"""

import functools
import os
import re
import traceback
import warnings

import keras
import numpy as np

from vgp_lib import plots
from vgp_lib.data import load_moons, make_first_bit, make_spirals
from vgp_lib.diagnosis import diagnose
from vgp_lib.gradients import gradient_by_lag, inspect_layers, percent_change, power_of_ten
from vgp_lib.models import build_mlp, build_rnn
from vgp_lib.theory import elementwise, predict_profile
from vgp_lib.training import train


class NotCorrect(Exception):
    """An answer is not correct, and VGP_STRICT=1 asks to raise: what the check would have printed."""


class _Hint(Exception):
    """What is wrong with an answer; ends a check."""


class _Empty(Exception):
    """There is no answer yet; ends a check."""


def _exercise(check):
    """Turn a function that returns a sentence, or raises `_Hint`, into a check."""

    @functools.wraps(check)
    def judge(*answers, **named):
        text = _judge(check, answers, named)
        print(text)
        if os.environ.get("VGP_STRICT") == "1" and not text.startswith("Correct."):
            raise NotCorrect(text)

    return judge


def _judge(check, answers, named):
    try:
        given = [*answers, *named.values()]
        if not given or any(answer is ... or answer is None for answer in given):
            raise _Empty
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # overflow and the like end in a hint
            return f"Correct. {check(*answers, **named)}"
    except _Empty:
        return "Not attempted yet. Replace the dots by your answer, and run the cell again."
    except _Hint as hint:
        return f"Not yet. {hint}"
    except (Exception, SystemExit) as error:  # whatever an answer of the student's own may raise
        lines = re.sub("\x1b\\[[0-9]*m", "", traceback.format_exception_only(error)[0]).split("\n")  # Keras's are bold
        return f"Not yet. Your answer cannot be used: {' '.join([line for line in lines if line.strip()][:2])}"


def _number(answer, whole=False, least=-np.inf, most=np.inf):
    values = np.asarray(answer)
    if values.dtype.kind not in "iuf" or values.size != 1:
        raise _Hint(f"One number is asked for, and this is a {type(answer).__name__}.")
    value = float(values.reshape(()))
    if not least <= value <= most:  # nan, too
        raise _Hint(f"Your number, {value:g}, is out of range: give one from {least:g} to {most:g}.")
    if whole and value != round(value):
        raise _Hint("A whole number is asked for.")
    return round(value) if whole else value


def _call(function, *arguments):
    if not callable(function):
        raise _Hint(f"A function is asked for, and this is a {type(function).__name__}.")
    value = function(*arguments)
    if value is ...:
        raise _Empty
    if value is None:
        raise _Hint("Your function returns nothing; end it with return and the result.")
    return _number(value)


def _net(answer, **fixed):
    """Make a function that builds the net of an answer, a dict of arguments of `build_mlp`, with what is fixed."""
    if not isinstance(answer, dict):
        kind = type(answer).__name__
        raise _Hint(f'A dict of arguments of build_mlp, such as {{"activation": "tanh"}}, is asked for, not a {kind}.')
    taken = [name for name in answer if name in {*fixed, "seed"}]
    if taken:
        raise _Hint(f"Leave out {taken[0]!r}: the exercise sets it.")
    for name, most in {"hidden_layers": 40, "units": 100}.items():  # a check shall answer within seconds
        _number(answer.get(name, 10), whole=True, least=1, most=most)
    return functools.partial(build_mlp, **fixed, **answer)


def _slips(answer, slips, rtol=0.01):
    """Give the hint that belongs to a typical mistake: a dict from hint to the mistaken answer."""
    for hint, mistaken in slips.items():
        if np.allclose(answer, mistaken, rtol=rtol, atol=0):
            raise _Hint(hint)


def _reports(build, seeds):
    x, y, *_ = load_moons()
    return [inspect_layers(build(seed=seed), x, y) for seed in range(seeds)]


def _ladder(reports, quantity="delta"):
    """Draw a quantity of every hidden layer, relative to the last of them."""
    values = np.array([getattr(report, f"{quantity.replace(' ', '_')}_rms")[:-1] for report in reports])
    return plots.layers({f"yours, {len(reports)} seeds": values / values[:, -1:]}, f"{quantity}, last layer = 1")


def _fate(reports):
    ratio = np.median([report.delta_ratio for report in reports])
    fate = "is level: look at the loss, and at the units"
    if not 0.1 <= ratio <= 10:
        fate = "vanishes" if ratio < 0.01 else "fades" if ratio < 0.1 else "grows" if ratio <= 100 else "explodes"
    if not np.isfinite(ratio) or ratio == 0:
        fate = "is lost: a layer is dead, or out of range"
    return f"Before training the median delta ratio is about {ratio:.2g}: the gradient {fate}."


def _mark(ax, x, y, log=False):
    """Mark the student's point in a figure of the course."""
    if np.isfinite(y) and (y > 0 or not log):
        ax.plot([x], [y], marker="*", markersize=14, color="black", linestyle="none", label="yours")
    return plots.finish(ax)


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


@_exercise
def factor_for_half(factor):
    """01 A: the factor per layer of which nine leave half of the gradient."""
    factor = _number(factor)
    left = np.cumprod(np.full(9, factor))
    ax = plots.curves({"your factor": np.append(1, left)}, x=range(10), xlabel="steps", ylabel="gradient that is left")
    plots.reference(ax, 0.5, "half")
    slips = {
        "Factors multiply, they do not add: taking a ninth of the loss at every step is not enough.": 1 - 0.5 / 9,
        "Ten layers have nine steps between them, not ten.": 0.5**0.1,
        "Half in every step? Half of a half is a quarter.": 0.5,
        "A factor is asked for, not per cent.": 100 * 0.5 ** (1 / 9),
    }
    _slips(factor, slips, rtol=0.003)
    if abs(left[-1] - 0.5) > 0.03:
        size = "large" if left[-1] > 0.5 else "small"
        raise _Hint(f"Nine steps with your factor leave {left[-1]:.2g} of the gradient: it is too {size}.")
    return "A loss of seven per cent per layer costs half of the gradient; the sigmoid takes at least 75."


@_exercise
def weight_that_keeps(w2):
    """01 B: the weight that makes w₂ σ′(z₁) exactly 1 at z₁ = 0."""
    w2 = _number(w2)
    slope = (_sigmoid(1e-5) - _sigmoid(-1e-5)) / 2e-5
    slips = {
        "That is the slope itself; the weight has to make up for it.": slope,
        "The size is right, but this weight turns the gradient's sign around: the factor is -1.": -1 / slope,
    }
    _slips(w2, slips)
    if abs(w2 * slope - 1) > 1e-3:
        raise _Hint(f"With your weight the factor is {w2 * slope:.3g}. How steep is the sigmoid at 0?")
    return "And that is the best case: at any other z₁ the slope is smaller, and 4 is not enough."


@_exercise
def gradient_of_three_weights(function):
    """01 C: de/dw₁ of the net with three weights, as a function of (w1, w2, w3, a0, y)."""
    points = np.random.default_rng(0).uniform(0.3, 2.0, (6, 5)) * [1, -1, 1, 1, 0.2]
    got = np.array([_call(function, *point) for point in points])
    w1, w2, w3, a0, y = points.T

    def forward(w1):
        a1 = _sigmoid(w1 * a0)
        a2 = _sigmoid(w2 * a1)
        return a1, a2, _sigmoid(w3 * a2)

    truth = ((y - forward(w1 + 1e-5)[2]) ** 2 - (y - forward(w1 - 1e-5)[2]) ** 2) / 2e-5
    a1, a2, y_hat = forward(w1)
    names = "2", "y − ŷ", "a0", "a1", "a2", "w2", "w3", "σ′(z1)", "σ′(z2)", "σ′(z3)"
    values = 2, y - y_hat, a0, a1, a2, w2, w3, a1 * (1 - a1), a2 * (1 - a2), y_hat * (1 - y_hat)
    _slips(got, {"The sign is turned around: e falls when ŷ comes closer to y.": -truth})
    for name, value in zip(names, values, strict=True):
        _slips(got, {f"A factor {name} too many.": truth * value, f"The factor {name} is missing.": truth / value})
    if not np.allclose(got, truth, rtol=1e-4):
        where = ", ".join(f"{name} = {value:.2f}" for name, value in zip(("w1", "w2", "w3"), points[0], strict=False))
        raise _Hint(f"At {where} finite differences give {truth[0]:.2g}, and you {got[0]:.2g}. Multiply what you pass.")
    return "Finite differences agree; and every further layer adds one more w σ′(z)."


@_exercise
def depth_for_a_thousandth(depth):
    """01 D: the smallest number of sigmoid layers with a gradient ratio below 1e-3, median of 16 seeds."""
    depth = _number(depth, whole=True, least=1, most=20)
    if depth == 1:
        raise _Hint("One hidden layer is the first and the last at once: its gradient ratio is 1.")
    fewer, here = (_reports(functools.partial(build_mlp, layers), 16) for layers in (depth - 1, depth))
    plots.reference(_ladder(here, "kernel gradient"), 1e-3, "a thousandth")
    ratio, before = (np.median([report.gradient_ratio for report in reports]) for reports in (here, fewer))
    if ratio >= 1e-3:
        raise _Hint(f"Your ratio is about {ratio:.1g}: more layers.")
    if before < 1e-3:
        raise _Hint(f"Your ratio is about {ratio:.1g}, and one layer less is enough.")
    return "Five steps of about a fifth each: that is all the depth a thousandth allows."


def _first_step(optimizer, start, gradients):
    variable = keras.Variable(np.full(len(gradients), start, "float32"))
    optimizer.apply([np.asarray(gradients, "float32")], [variable])
    return variable.numpy()


@_exercise
def rounding_floor(gradient):
    """02 A: the gradient below which SGD(0.1) leaves a float32 weight of 0.5 as it is."""
    gradient = _number(gradient)
    tried = np.geomspace(1e-9, 1e-5, 4001)
    floor = tried[np.argmax(_first_step(keras.optimizers.SGD(0.1), 0.5, tried) != 0.5)]
    slips = {
        "A positive gradient is asked for.": -floor,
        "That is the step that is lost; the gradient is the step over the learning rate.": 0.1 * floor,
        "The step is learning rate times gradient: divide by the learning rate, do not multiply.": 0.01 * floor,
        "Twice too much: half of the gap between neighbours is enough, and below 0.5 the gap is 3e-8.": 2 * floor,
        "That is the gap between the float32 numbers above 1; the weight is 0.5.": 2.0**-23,
    }
    _slips(gradient, slips, rtol=0.08)
    if not floor / 1.2 < gradient < floor * 1.2:
        does = "still moves" if gradient > floor else "stands still, and so it does for larger ones"
        raise _Hint(f"With your gradient the weight {does}. How far apart are the numbers just below 0.5?")
    return "Keras's SGD agrees. The first layer of ten sigmoid layers receives 1e-8: its weights do not move."


@_exercise
def adam_recipe(function):
    """02 B: what (old - new) / learning rate reports after Adam's first step, as a function of the true gradient."""
    sizes = np.geomspace(1e-9, 1, 19)
    g = np.concatenate([-sizes, sizes])
    yours = np.array([_call(function, float(value)) for value in g])
    measured = -_first_step(keras.optimizers.Adam(0.01), 0.0, g) / 0.01
    curves = {"Keras's Adam": abs(measured[19:]), "your function": abs(yours[19:])}
    ax = plots.curves(curves, sizes, "true gradient, size", "what the recipe reports, size", log=True)
    ax.set_xscale("log")
    slips = {
        "That is the true gradient, as plain SGD reports it; Adam divides it by its size.": g,
        "Right for large gradients; but far below 3e-6 the report falls like the gradient.": np.sign(g),
        "The size is right; the sign of the gradient is lost.": abs(measured),
        "The sign is turned around: old minus new points along the gradient.": -measured,
        "That is the step; the recipe divides it by the learning rate.": 0.01 * measured,
        "The bend is in the wrong place: ε counts with the root of 1 - β₂ under it.": g / (abs(g) + 1e-7),
    }
    _slips(yours, slips, rtol=0.02)
    wrong = ~np.isclose(yours, measured, rtol=0.02, atol=0)
    if wrong.any():
        worst = abs(yours - measured)[wrong].argmax()
        at, expected, found = (values[wrong][worst] for values in (g, measured, yours))
        raise _Hint(f"At a gradient of {at:.0e} Adam's report is {expected:.1g}, yours {found:.1g}.")
    return "Keras's Adam agrees at every gradient from 1e-9 to 1; above 1e-4 only the sign is left."


@_exercise
def telling_optimizer(optimizer):
    """02 C: an optimizer other than SGD under which the percent change tells the sick net from the healthy one."""
    if isinstance(keras.optimizers.get(optimizer), keras.optimizers.SGD):
        raise _Hint("Section 2.4 shows SGD already; find one that divides by the gradient's size, as Adam does.")
    runs = {
        activation: train(lambda: build_mlp(activation=activation), load_moons(), optimizer, seeds=8, progress=False)  # noqa: B023
        for activation in ("sigmoid", "relu")
    }
    if runs["relu"].diverged or np.median(runs["relu"].loss[-1]) > 0.6:
        raise _Hint("The healthy net does not learn either; try another learning rate.")
    sick, healthy = (np.median(percent_change(*run.first_layer_weights[[0, -1]])) for run in runs.values())
    if healthy < 100 * sick:
        raise _Hint(
            f"The weights change by {sick:.1g} % in the sick net and {healthy:.1g} % in the healthy one: blind."
        )
    return "A hundred times more in the healthy net: it hangs on the constant in the divisor, as compared with 1e-7."


@_exercise
def deepest_sigmoid(depth):
    """03 A: the largest number of sigmoid layers with a predicted delta ratio of at least 1e-2."""
    depth = _number(depth, whole=True, least=1, most=12)
    x, depths = load_moons().x_train, np.arange(1, 14)
    ratios = [predict_profile("sigmoid", "glorot_uniform", [2] + layers * [10], x).delta_ratio for layers in depths]
    ax = plots.curves({"predicted": ratios}, depths, "hidden layers", "delta ratio", log=True)
    plots.reference(_mark(ax, depth, ratios[depth - 1]), 1e-2, "a hundredth")
    if ratios[depth - 1] < 1e-2:
        raise _Hint(f"Too deep: {depth - 1} steps leave {ratios[depth - 1]:.1g}.")
    if ratios[depth] >= 1e-2:
        raise _Hint("One more layer is allowed: L layers have L - 1 steps between them.")
    return "Three steps of 0.236 leave 0.013. No net was run."


@_exercise
def shallow_spirals(units, learning_rate, steps):
    """03 B: units, learning rate of Adam and full-batch steps with which two sigmoid layers separate the spirals."""
    units, steps = _number(units, whole=True, least=1, most=50), _number(steps, whole=True, least=1, most=1500)
    rate = _number(learning_rate, least=1e-6, most=10)
    spirals = make_spirals(seed=0)
    adam, count = keras.optimizers.Adam(rate), len(spirals.x_train)
    run = train(lambda: build_mlp(2, units), spirals, adam, steps, count, seeds=8, progress=False)
    plots.boundary(run.model(0), spirals.x_train, spirals.y_train, title="your net, first seed")
    solved, loss = np.sum(run.accuracy[-1] > 0.95), np.median(run.loss, axis=1)
    if solved < 7:
        falling = loss[-1] < 0.9 * loss[len(loss) // 2]
        advice = (
            "is still falling: more steps, or longer ones"
            if falling
            else "is flat so far: more steps, more units, or another rate"
        )
        raise _Hint(f"{solved} of 8 seeds separate the spirals. The loss {advice}.")
    return "It can be done. Compare the bill, weights times steps, with that of the four ReLU layers."


@_exercise
def share_off(share):
    """04 A: the share of zeros among the first hidden layer's ReLU activations, before training, over 16 seeds."""
    share = _number(share)
    nets = [build_mlp(10, activation="relu", seed=seed) for seed in range(16)]
    kernels = [net.get_layer("hidden_1").get_weights() for net in nets]
    off = np.array([load_moons().x_train @ kernel + bias <= 0 for kernel, bias in kernels])  # (seeds, samples, units)
    if abs(share - off.mean()) > 0.03:
        slips = {
            "A share is asked for, a number between 0 and 1.": 100 * off.mean(),
            "Those are the dead units, off for every sample; count single activations.": off.all(axis=1).mean(),
        }
        _slips(share, slips, rtol=0.04)
        raise _Hint("Average the first entry of report.saturated over all reports.")
    return "A forward pass in NumPy agrees: half is off, so He's variance carries a factor of 2."


@_exercise
def revived(activation):
    """04 B: an activation with which a layer with biases of -8 lets the gradient pass."""
    model = build_mlp(hidden_layers=3, activation=activation, seed=1)
    model.get_layer("hidden_2").bias.assign(np.full(10, -8.0))
    moons = load_moons()
    arrives = inspect_layers(model, moons.x_train, moons.y_train).delta_rms[0]
    slope = elementwise(activation).slope(np.array([-8.0, 0.5, 8.0]))
    if arrives == 0:
        raise _Hint("Exactly nothing arrives at layer 1: the slope at z = -8 is 0.")
    if arrives < 1e-3 or abs(slope[0]) < 1e-3:
        size = power_of_ten(abs(slope[0]))
        raise _Hint(f"Not dead, but as good as: the slope at z = -8 is about {size}. Which one does not fade there?")
    if np.ptp(slope) < 1e-3:
        raise _Hint("The gradient passes; but layers without a bend are together one linear layer.")
    return "What counts is the slope far out on the negative side, where the biases have driven z."


@_exercise
def variances(he, glorot):
    """05 A: the variances that He and Glorot give the weights of a layer from 64 inputs to 32 units."""
    yours = {"He": _number(he), "Glorot": _number(glorot)}
    drawn = {
        name: np.var([kind(seed)((64, 32)) for seed in range(100)])
        for name, kind in (("He", keras.initializers.HeNormal), ("Glorot", keras.initializers.GlorotUniform))
    }
    _slips(list(yours.values()), {"The two are swapped: He's is the larger one here.": [*drawn.values()][::-1]}, 0.02)
    for name, value in yours.items():
        slips = {
            f"{name}: that is the standard deviation; the variance is its square.": drawn[name] ** 0.5,
            f"{name}: the units are counted; what adds up in z are the inputs.": 2 / 32,
            f"{name}: the factor of 2 is missing.": drawn[name] / 2,
        }
        _slips(value, slips, rtol=0.02)
        if not np.isclose(value, drawn[name], rtol=0.02):
            raise _Hint(f"{name}: Keras draws weights of another variance. Which fan does {name} look at?")
    return "A hundred kernels drawn by Keras agree. He looks at the inputs only, Glorot at both ends."


def _predicted_ratio(sigma_w):
    weights = keras.initializers.VarianceScaling(sigma_w**2, mode="fan_in")
    return predict_profile("sigmoid", weights, [2] + 20 * [10], load_moons().x_train).kernel_gradient_ratio


@_exercise
def scale_of_the_sigmoid(sigma_w):
    """05 B: a σ_w with which 20 sigmoid layers are predicted a gradient ratio between 1e-2 and 1e2."""
    sigma_w = _number(sigma_w, least=1e-3, most=1e3)
    ratio, scales = _predicted_ratio(sigma_w), np.array([1, 2, 4, 6, 8, 10, 14, 20, 30])
    values = {"predicted, 20 layers": [_predicted_ratio(scale) for scale in scales]}
    ax = plots.curves(values, scales, "σ_w", "gradient ratio", log=True)
    plots.reference(plots.reference(ax, 1e2, None), 1e-2, "1e-2 and 1e2")
    _mark(ax, sigma_w, ratio, log=True)
    if not 1e-2 <= ratio <= 1e2:
        advice = "vanishes: larger weights" if ratio < 1e-2 else "explodes: smaller weights"
        raise _Hint(f"The predicted ratio is about {power_of_ten(ratio)}; the gradient {advice}.")
    return "About 7 to 18 will do here; every further layer narrows that towards the critical 10.15."


@_exercise
def thirty_layers(net):
    """05 C: settings of `build_mlp` with which 14 of 16 nets of thirty layers learn the moons."""
    build = _net(net, hidden_layers=30, units=10)
    run = train(build, load_moons(), keras.optimizers.Adam(0.001), batch_size=40, seeds=16, progress=False)
    plots.reference(plots.curves({"your net, 16 seeds": run.loss}), np.log(2), "ln 2")
    solved = np.sum(run.accuracy[-1] > 0.95)
    if solved < 14:
        raise _Hint(f"{solved} of 16 seeds learn. {_fate(_reports(build, 4))}")
    return "Thirty layers, and at least 14 of 16 seeds learn: by constants, by shape or by force, the scale is kept."


@_exercise
def recurrent_gain(gain):
    """06 A: the gain of an orthogonal kernel that keeps the gradient of a ReLU net within a factor of 10 at lag 24."""
    gain = _number(gain, least=0, most=100)
    bits, start = make_first_bit(), keras.initializers.Orthogonal(gain)
    nets = [build_rnn(activation="relu", recurrent_initializer=start, seed=seed) for seed in range(16)]
    delta = np.array([gradient_by_lag(net, bits.x_train[:100], bits.y_train[:100]) for net in nets]).T
    share = delta / delta[0]
    ax = plots.curves({"your gain, 16 seeds": share}, range(25), "time lag", "delta over delta at lag 0", log=True)
    plots.reference(plots.reference(ax, 10, None), 0.1, "a factor of 10")
    ratio = np.nan_to_num(np.median(share[-1]), nan=np.inf)  # nan: beyond float32
    if abs(gain - 1) < 0.02:
        raise _Hint(f"1 is tanh's gain; of ReLU's units half are off, and about {ratio:.1g} is left at lag 24.")
    if not 0.1 < ratio < 10:
        advice = "larger" if ratio <= 0.1 else "smaller"
        raise _Hint(f"The median at lag 24 is about {ratio:.2g}, and 0.1 to 10 is asked for: a {advice} gain.")
    return "Half of the units are off, and s²/2 = 1 makes up for it. The band says: on average, not in every net."


@_exercise
def clipping_of_the_papers(clipping):
    """06 B: the optimizer's argument that clips the norm of all gradients together to 1, as a dict."""
    if not isinstance(clipping, dict):
        raise _Hint(f'A dict is asked for, such as {{"clipvalue": 0.5}}, and this is a {type(clipping).__name__}.')
    others = set(clipping) - {"clipvalue", "clipnorm", "global_clipnorm"}
    if others:
        raise _Hint(f"Give arguments that clip, and nothing else; {min(others, key=str)!r} does not clip.")
    random = np.random.default_rng(0)
    for large, small in ((4, 1), (0.1, 0.02)):
        gradients = [random.normal(size=3).astype("float32") * size for size in (large, small)]
        variables = [keras.Variable(np.zeros_like(gradient)) for gradient in gradients]
        keras.optimizers.SGD(1.0, **clipping).apply(gradients, variables)
        before, after = (np.concatenate([np.ravel(part) for part in parts]) for parts in (gradients, variables))
        norm, new = np.linalg.norm(before), np.linalg.norm(after)
        angle = np.degrees(np.arccos(np.clip(-before @ after / norm / new, -1, 1)))
        if angle > 0.1:
            raise _Hint(f"It turns the gradient by {angle:.0f}°: the parts are cut one by one, not all together.")
        if not np.isclose(new, min(norm, 1), rtol=1e-3):
            raise _Hint(f"The direction is kept; but a norm of {norm:.2g} becomes {new:.2g}, not {min(norm, 1):.2g}.")
    return "The direction stays, the norm is at most 1, and a short gradient is left alone: g θ/‖g‖, as in the paper."


@_exercise
def exploding_sigmoid(stddev):
    """06 C: a standard deviation of the weights with which ten sigmoid layers have a delta ratio above 1."""
    stddev = _number(stddev, least=1e-6, most=1e6)
    normal = keras.initializers.RandomNormal(stddev=stddev)
    reports = _reports(functools.partial(build_mlp, kernel_initializer=normal), 32)  # of 8, the median is a lottery
    plots.reference(_ladder(reports), 1, "level")
    ratio = np.nan_to_num(np.median([report.delta_ratio for report in reports]))
    if ratio <= 1:
        half = keras.initializers.RandomNormal(stddev=stddev / 2)
        smaller = _reports(functools.partial(build_mlp, kernel_initializer=half), 32)
        past = np.median([report.delta_ratio for report in smaller]) > ratio
        advice = "half of that gives more: smaller weights" if past else "larger weights"
        raise _Hint(f"The median delta ratio is {ratio:.1g}; {advice}.")
    return "The few units near z = 0 are hit by weights large enough to make up for all the flat ones."


@_exercise
def level_setting(setting):
    """07 A: settings of at least 30 layers whose delta neither grows nor falls more than tenfold, median of 8 seeds."""
    build = _net(setting)
    if setting.get("hidden_layers", 10) < 30:
        raise _Hint("At least 30 hidden layers are asked for.")
    reports = _reports(build, 8)
    ax = plots.reference(plots.reference(_ladder(reports), 10, None), 0.1, "a factor of 10")
    ax.margins(y=0.25)
    if not 0.1 <= np.median([report.delta_ratio for report in reports]) <= 10:
        raise _Hint(_fate(reports))
    return "Level over thirty layers, measured with 8 seeds. Whether it learns is another question: press the button."


@_exercise
def cure_of_f(net):
    """07 B: settings with which eight layers learn under SGD(1.0, momentum=0.9), in 7 of 8 seeds."""
    build, moons = _net(net, hidden_layers=8), load_moons()
    rough = keras.optimizers.SGD(1.0, momentum=0.9)
    run = train(build, moons, rough, epochs=300, batch_size=len(moons.x_train), seeds=8, progress=False)
    plots.reference(plots.curves({"your net, 8 seeds": run.loss}, xlabel="step", log=True), np.log(2), "ln 2")
    if np.sum(run.loss[-1] < 0.3) < 7:
        found = diagnose(build(seed=3), moons.x_train, moons.y_train, optimizer=rough)
        raise _Hint(f"{np.sum(run.loss[-1] < 0.3)} of 8 seeds learn. One of them: {found.verdict}. {found.because}")
    return "Trained from 8 seeds, it learns under the same rough step."


@_exercise
def own_network(model, x, y, guess):
    """07 C: a compiled Keras model of the student's own, its data, and the verdict that they expect."""
    verdicts = "healthy", "vanishing", "exploding", "dead"
    if not isinstance(model, keras.Model):
        raise _Hint(f"A compiled keras.Model is asked for, and this is a {type(model).__name__}.")
    if model.name in ("mlp", "rnn") and {"hidden_1", "recurrent"} & {layer.name for layer in model.layers}:
        raise _Hint("This is a net of the course, from build_mlp or build_rnn; bring one of your own.")
    if not isinstance(guess, str) or guess not in verdicts:
        raise _Hint(f"Your guess must be one of {', '.join(verdicts)}.")
    if getattr(model, "optimizer", None) is None:
        raise _Hint("The model is not compiled: the verdict depends on the optimizer; call model.compile first.")
    found = diagnose(model, x, y)
    if found.verdict != guess:
        raise _Hint(f"You may be right, but diagnose says: {found.verdict}. {found.because}")
    return f"{found.verdict.capitalize()}, as you expected."
