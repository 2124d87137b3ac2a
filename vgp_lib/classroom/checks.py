"""Feedback on the exercises: each check looks at an answer and says "Correct.", "Not yet." or "Not attempted yet.".

In class a check never raises, whatever it is given (but if our data file is missing). With the environment variable
VGP_STRICT=1 it raises `NotCorrect`, with the same text, for everything but a correct answer. What is correct is found
out when asked, by theory, finite differences, NumPy or a measurement; it is not read from the solutions.
"""

import os
import re
import traceback
import warnings
from functools import partial, wraps

import keras
import numpy as np
from scipy.special import expit as sigmoid

from vgp_lib import plots
from vgp_lib.classroom._setting import profile
from vgp_lib.data import load_moons, make_first_bit, make_spirals
from vgp_lib.engine.diagnosis import diagnose
from vgp_lib.engine.theory import elementwise
from vgp_lib.engine.training import train
from vgp_lib.layers import gradient_by_lag, inspect_layers
from vgp_lib.models import build_mlp, build_rnn
from vgp_lib.updates import percent_change, power_of_ten


class NotCorrect(Exception):
    """An answer is not correct: what its check prints, and raises if VGP_STRICT=1 asks for it."""


def _exercise(check):
    """Turn a function that returns a sentence, or raises `NotCorrect`, into a check."""

    @wraps(check)
    def judge(*answers, **named):
        load_moons()  # outside the try: a file of ours that is missing or damaged is not the answer's fault
        try:
            _attempted(*answers, *named.values())
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):  # overflow ends in a hint
                text = f"Correct. {check(*answers, **named)}"
        except NotCorrect as end:
            text = str(end)
        except (Exception, SystemExit) as error:  # whatever an answer of the student's own may raise
            text = re.sub("\x1b\\[[0-9]*m", "", traceback.format_exception_only(error)[0])  # Keras's are bold
            lines = [line for line in text.split("\n") if line.strip()]
            text = f"Not yet. Your answer cannot be used: {' '.join(lines[:2])}"
        print(text)
        if os.environ.get("VGP_STRICT") == "1" and not text.startswith("Correct."):
            raise NotCorrect(text)

    return judge


def _attempted(*answers):
    if not answers or any(answer is ... or answer is None for answer in answers):
        raise NotCorrect("Not attempted yet. Replace the dots by your answer, and run the cell again.")


def _hint_if(wrong, hint):
    if wrong:
        raise NotCorrect(f"Not yet. {hint}")


def _slips(answer, slips, rtol=0.01):
    """Give the hint that belongs to a typical mistake: a dict from hint to the mistaken answer."""
    for hint, mistaken in slips.items():
        _hint_if(np.allclose(answer, mistaken, rtol=rtol, atol=0), hint)


def _number(answer, whole=False, least=-np.inf, most=np.inf):
    values, kind = np.asarray(answer), type(answer).__name__
    _hint_if(values.dtype.kind not in "iuf" or values.size != 1, f"One number is asked for, and this is a {kind}.")
    value = float(values.reshape(()))
    _hint_if(not least <= value <= most, f"Your number, {value:g}, is out of range: {least:g} to {most:g}.")  # or nan
    _hint_if(whole and value != round(value), "A whole number is asked for.")
    return round(value) if whole else value


def _call(function, *arguments):
    _hint_if(not callable(function), f"A function is asked for, and this is a {type(function).__name__}.")
    value = function(*arguments)
    _hint_if(value is None, "Your function returns nothing; end it with return and the result.")
    _attempted(value)
    return _number(value)


def _net(answer, **fixed):
    """Make a function that builds the net of an answer, a dict of arguments of `build_mlp`, with what is fixed."""
    _hint_if(not isinstance(answer, dict), 'A dict is asked for, such as {"activation": "tanh"}.')
    for name in answer:
        _hint_if(name in {*fixed, "seed"}, f"Leave out {name!r}: the exercise sets it.")
    for name, most in {"hidden_layers": 40, "units": 100}.items():  # a check shall answer within seconds
        _number(answer.get(name, 10), whole=True, least=1, most=most)
    return partial(build_mlp, **fixed, **answer)


def _median_ratio(build, seeds, name="delta_ratio"):
    """Measure a ratio of first to last hidden layer before training: the median over so many seeds."""
    x, y, *_ = load_moons()
    return np.median([getattr(inspect_layers(build(seed=seed), x, y), name) for seed in range(seeds)])


def _fate(ratio):
    """Say what a median delta ratio means."""
    fates = {0: "is lost: a layer is dead", 0.01: "vanishes", 0.1: "fades", 10: "is level: look at the loss"}
    fates |= {100: "grows", 1e300: "explodes"}
    fate = next((fate for most, fate in fates.items() if ratio <= most), "is lost: it is out of range")  # or nan
    return f"Before training the median delta ratio is about {ratio:.2g}: the gradient {fate}."


@_exercise
def factor_for_half(factor):
    """01 A: the factor per layer of which nine leave half of the gradient."""
    factor = _number(factor)
    slips = {
        "Factors multiply, they do not add: taking a ninth of the loss at every step is not enough.": 1 - 0.5 / 9,
        "Ten layers have nine steps between them, not ten.": 0.5**0.1,
        "Half in every step? Half of a half is a quarter.": 0.5,
        "A factor is asked for, not per cent.": 100 * 0.5 ** (1 / 9),
    }
    _slips(factor, slips, rtol=0.003)
    left = np.prod(np.full(9, factor))
    _hint_if(abs(left - 0.5) > 0.03, f"Nine steps leave {left:.2g}: it is too {'large' if left > 0.5 else 'small'}.")
    return "A loss of seven per cent per layer costs half of the gradient; the sigmoid takes at least 75."


@_exercise
def weight_that_keeps(w2):
    """01 B: the weight that makes w₂ σ′(z₁) exactly 1 at z₁ = 0."""
    w2 = _number(w2)
    slope = (sigmoid(1e-5) - sigmoid(-1e-5)) / 2e-5
    slips = {
        "That is the slope itself; the weight has to make up for it.": slope,
        "The size is right, but this weight turns the gradient's sign around: the factor is -1.": -1 / slope,
    }
    _slips(w2, slips)
    _hint_if(abs(w2 * slope - 1) > 1e-3, f"Now the factor is {w2 * slope:.3g}. How steep is the sigmoid at 0?")
    return "And that is the best case: at any other z₁ the slope is smaller, and 4 is not enough."


@_exercise
def gradient_of_three_weights(function):
    """01 C: de/dw₁ of the net with three weights, as a function of (w1, w2, w3, a0, y)."""
    points = np.random.default_rng(0).uniform(0.3, 2.0, (6, 5)) * [1, -1, 1, 1, 0.2]
    got = np.array([_call(function, *point) for point in points])
    w1, w2, w3, a0, y = points.T

    def forward(w1):
        a1 = sigmoid(w1 * a0)
        a2 = sigmoid(w2 * a1)
        return a1, a2, sigmoid(w3 * a2)

    truth = ((y - forward(w1 + 1e-5)[2]) ** 2 - (y - forward(w1 - 1e-5)[2]) ** 2) / 2e-5
    a1, a2, y_hat = forward(w1)
    factors = {"2": 2, "y − ŷ": y - y_hat, "a0": a0, "a1": a1, "a2": a2, "w2": w2, "w3": w3}
    factors |= {"σ′(z1)": a1 * (1 - a1), "σ′(z2)": a2 * (1 - a2), "σ′(z3)": y_hat * (1 - y_hat)}
    _slips(got, {"The sign is turned around: e falls when ŷ comes closer to y.": -truth})
    for name, value in factors.items():
        _slips(got, {f"A factor {name} too many.": truth * value, f"The factor {name} is missing.": truth / value})
    hint = f"With w1, w2, w3 = {points[0, :3].round(2)} finite differences give {truth[0]:.2g}, and you {got[0]:.2g}."
    _hint_if(not np.allclose(got, truth, rtol=1e-4), f"{hint} Multiply the factors that you pass on the way back.")
    return "Finite differences agree; and every further layer adds one more w σ′(z)."


@_exercise
def depth_for_a_thousandth(depth):
    """01 D: the smallest number of sigmoid layers with a gradient ratio below 1e-3, median of 16 seeds."""
    depth = _number(depth, whole=True, least=1, most=20)
    _hint_if(depth == 1, "One hidden layer is the first and the last at once: its gradient ratio is 1.")
    ratio, before = (_median_ratio(partial(build_mlp, n), 16, "gradient_ratio") for n in (depth, depth - 1))
    _hint_if(ratio >= 1e-3, f"Your ratio is about {ratio:.1g}: more layers.")
    _hint_if(before < 1e-3, f"Your ratio is about {ratio:.1g}, and one layer less is enough.")
    return "Five steps of about a fifth each: that is all the depth a thousandth allows."


def _first_step(optimizer, start, *gradients):
    """Let an optimizer take a step from weights that are all `start`; return them, an array per gradient."""
    variables = [keras.Variable(np.full(len(gradient), start, "float32")) for gradient in gradients]
    optimizer.apply([gradient.astype("float32") for gradient in gradients], variables)
    return [variable.numpy() for variable in variables]


@_exercise
def rounding_floor(gradient):
    """02 A: the gradient below which SGD(0.1) leaves a float32 weight of 0.5 as it is."""
    gradient = _number(gradient)
    tried = np.geomspace(1e-9, 1e-5, 4001)
    floor = tried[np.argmax(_first_step(keras.optimizers.SGD(0.1), 0.5, tried)[0] != 0.5)]
    slips = {
        "A positive gradient is asked for.": -floor,
        "That is the step that is lost; the gradient is the step over the learning rate.": 0.1 * floor,
        "The step is learning rate times gradient: divide by the learning rate, do not multiply.": 0.01 * floor,
        "Twice too much: half of the gap between neighbours is enough, and below 0.5 the gap is 3e-8.": 2 * floor,
        "That is the gap between the float32 numbers above 1; the weight is 0.5.": 2.0**-23,
    }
    _slips(gradient, slips, rtol=0.08)
    question = "How far apart are the numbers just below 0.5?"
    _hint_if(gradient >= floor * 1.2, f"With your gradient the weight still moves. {question}")
    _hint_if(gradient <= floor / 1.2, f"There the weight stands still, and so it does for larger ones. {question}")
    return "Keras's SGD agrees. The first layer of ten sigmoid layers receives 1e-8: its weights do not move."


@_exercise
def adam_recipe(function):
    """02 B: what (old - new) / learning rate reports after Adam's first step, as a function of the true gradient."""
    sizes = np.geomspace(1e-9, 1, 19)
    g = np.concatenate([-sizes, sizes])
    yours = np.array([_call(function, float(value)) for value in g])
    measured = -_first_step(keras.optimizers.Adam(0.01), 0.0, g)[0] / 0.01
    curves = {"Keras's Adam": abs(measured[19:]), "your function": abs(yours[19:])}
    plots.curves(curves, sizes, "true gradient, size", "what the recipe reports, size", log=True).set_xscale("log")
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
    at = np.where(wrong, abs(yours - measured), -1).argmax()
    _hint_if(wrong.any(), f"At {g[at]:.0e} Adam's report is {measured[at]:.1g}, and yours {yours[at]:.1g}.")
    return "Keras's Adam agrees at every gradient from 1e-9 to 1; above 1e-4 only the sign is left."


@_exercise
def telling_optimizer(optimizer):
    """02 C: an optimizer other than SGD under which the percent change tells the sick net from the healthy one."""
    is_sgd = isinstance(keras.optimizers.get(optimizer), keras.optimizers.SGD)
    _hint_if(is_sgd, "Section 2.4 shows SGD already; find one that divides by the gradient's size, as Adam does.")
    builds = (partial(build_mlp, activation=activation) for activation in ("sigmoid", "relu"))
    sick, healthy = (train(build, load_moons(), optimizer, seeds=8, progress=False) for build in builds)
    learns = not healthy.diverged and np.median(healthy.loss[-1]) <= 0.6
    _hint_if(not learns, "The healthy net does not learn either; try another learning rate.")
    sick, healthy = (np.median(percent_change(*run.first_layer_weights[[0, -1]])) for run in (sick, healthy))
    changes = f"{sick:.1g} % in the sick net and {healthy:.1g} % in the healthy one"
    _hint_if(healthy < 100 * sick, f"The weights change by {changes}: that does not tell them apart.")
    return "A hundred times more in the healthy net. What matters is the ε in the divisor: compare it with 1e-7."


@_exercise
def deepest_sigmoid(depth):
    """03 A: the largest number of sigmoid layers with a predicted delta ratio of at least 1e-2."""
    depth = _number(depth, whole=True, least=1, most=12)
    here, deeper = (profile(layers).delta_ratio for layers in (depth, depth + 1))
    _hint_if(here < 1e-2, f"Too deep: {depth - 1} steps leave {here:.1g}.")
    _hint_if(deeper >= 1e-2, "One more layer is allowed: L layers have L - 1 steps between them.")
    return "Three steps of 0.236 leave 0.013. No net was run."


@_exercise
def shallow_spirals(units, learning_rate, steps):
    """03 B: units, learning rate of Adam and full-batch steps with which two sigmoid layers separate the spirals."""
    units, steps = _number(units, whole=True, least=1, most=50), _number(steps, whole=True, least=1, most=1500)
    adam = keras.optimizers.Adam(_number(learning_rate, least=1e-6, most=10))
    spirals, build = make_spirals(seed=0), partial(build_mlp, 2, units)
    run = train(build, spirals, adam, steps, len(spirals.x_train), seeds=8, progress=False)
    plots.boundary(run.model(0), spirals.x_train, spirals.y_train, title="your net, first seed")
    solved, loss = np.sum(run.accuracy[-1] > 0.95), np.median(run.loss, axis=1)
    falling = loss[-1] < 0.9 * loss[len(loss) // 2]
    advice = "still falling: more steps, or longer ones" if falling else "flat: more steps, more units, or another rate"
    _hint_if(solved < 7, f"{solved} of 8 seeds separate the spirals. The loss is {advice}.")
    return "It can be done. Compare the cost, weights times steps, with that of the four ReLU layers."


@_exercise
def share_off(share):
    """04 A: the share of zeros among the first hidden layer's ReLU activations, before training, over 16 seeds."""
    share = _number(share)
    layers = (build_mlp(1, activation="relu", seed=seed).get_layer("hidden_1").get_weights() for seed in range(16))
    off = np.array([load_moons().x_train @ kernel + bias <= 0 for kernel, bias in layers])  # (seeds, samples, units)
    slips = {
        "A share is asked for, a number between 0 and 1.": 100 * off.mean(),
        "Those are the dead units, off for every sample; count single activations.": off.all(axis=1).mean(),
    }
    _slips(share, slips, rtol=0.04)
    _hint_if(abs(share - off.mean()) > 0.03, "Average the first entry of report.saturated over all reports.")
    return "A forward pass in NumPy agrees: half is off, so He's variance carries a factor of 2."


@_exercise
def revived(activation):
    """04 B: an activation with which a layer with biases of -8 lets the gradient pass."""
    model = build_mlp(hidden_layers=3, activation=activation, seed=1)
    model.get_layer("hidden_2").bias.assign(np.full(10, -8.0))
    arrives = inspect_layers(model, *load_moons()[:2]).delta_rms[0]
    slope = elementwise(activation).slope(np.array([-8.0, 0.5, 8.0]))
    _hint_if(arrives == 0, "Exactly nothing arrives at layer 1: the slope at z = -8 is 0.")
    hint = f"Not dead, but nearly: at z = -8 the slope is about {power_of_ten(abs(slope[0]))}. Which one does not fade?"
    _hint_if(min(arrives, abs(slope[0])) < 1e-3, hint)
    _hint_if(np.ptp(slope) < 1e-3, "The gradient passes; but layers without a bend are together one linear layer.")
    return "What counts is the slope far out on the negative side, where the biases have driven z."


@_exercise
def variances(he, glorot):
    """05 A: the variances that He and Glorot give the weights of a layer from 64 inputs to 32 units."""
    yours = {"He": _number(he), "Glorot": _number(glorot)}
    kinds = {"He": keras.initializers.HeNormal, "Glorot": keras.initializers.GlorotUniform}
    drawn = {name: np.var([kind(seed)((64, 32)) for seed in range(100)]) for name, kind in kinds.items()}
    _slips(list(yours.values()), {"The two are swapped: He's is the larger one here.": [*drawn.values()][::-1]}, 0.02)
    for name, value in yours.items():
        slips = {
            f"{name}: that is the standard deviation; the variance is its square.": drawn[name] ** 0.5,
            f"{name}: the units are counted; what adds up in z are the inputs.": 2 / 32,
            f"{name}: the factor of 2 is missing.": drawn[name] / 2,
        }
        _slips(value, slips, rtol=0.02)
        hint = f"{name}: Keras draws weights of another variance. Which fan does {name} look at?"
        _hint_if(not np.isclose(value, drawn[name], rtol=0.02), hint)
    return "A hundred kernels drawn by Keras agree. He looks at the inputs only, Glorot at both ends."


@_exercise
def scale_of_the_sigmoid(sigma_w):
    """05 B: a σ_w with which 20 sigmoid layers are predicted a gradient ratio between 1e-2 and 1e2."""
    weights = keras.initializers.VarianceScaling(_number(sigma_w, least=1e-3, most=1e3) ** 2, mode="fan_in")
    ratio = profile(20, kernel_initializer=weights).kernel_gradient_ratio
    advice = "vanishes: larger weights" if ratio < 1e-2 else "explodes: smaller weights"
    _hint_if(not 1e-2 <= ratio <= 1e2, f"The predicted ratio is about {power_of_ten(ratio)}: it {advice}.")
    return "About 7 to 18 will do here; every further layer narrows that towards the critical 10.15."


@_exercise
def thirty_layers(net):
    """05 C: settings of `build_mlp` with which 14 of 16 nets of thirty layers learn the moons."""
    build = _net(net, hidden_layers=30, units=10)
    run = train(build, load_moons(), keras.optimizers.Adam(0.001), batch_size=40, seeds=16, progress=False)
    plots.reference(plots.curves({"your net, 16 seeds": run.loss}), np.log(2), "ln 2")
    solved = np.sum(run.accuracy[-1] > 0.95)
    if solved < 14:
        raise NotCorrect(f"Not yet. {solved} of 16 seeds learn. {_fate(_median_ratio(build, 4))}")
    return "Thirty layers, and at least 14 of 16 seeds learn: the initial weights or the architecture keep the scale."


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
    left, advice = f"about {ratio:.2g} is left at lag 24", "a larger gain" if ratio <= 0.1 else "a smaller gain"
    _hint_if(abs(gain - 1) < 0.02, f"1 is tanh's gain; of ReLU's units half are off, and {left}.")
    _hint_if(not 0.1 < ratio < 10, f"In the median {left}, and 0.1 to 10 is asked for: {advice}.")
    return "Half of the units are off, and s²/2 = 1 makes up for it. The band says: on average, not in every net."


@_exercise
def clipping_of_the_papers(clipping):
    """06 B: the optimizer's argument that clips the norm of all gradients together to 1, as a dict."""
    _hint_if(not isinstance(clipping, dict), 'A dict is asked for, such as {"clipvalue": 0.5}.')
    for name in clipping:
        _hint_if(name not in ("clipvalue", "clipnorm", "global_clipnorm"), f"Leave {name!r} out: it does not clip.")
    random = np.random.default_rng(0)
    for large, small in ((4, 1), (0.1, 0.02)):
        gradients = random.normal(size=3) * large, random.normal(size=3) * small
        steps = _first_step(keras.optimizers.SGD(1.0, **clipping), 0.0, *gradients)
        norm, new = np.linalg.norm(gradients), np.linalg.norm(steps)  # of both parts together
        angle = np.degrees(np.arccos(np.clip(-np.sum(np.multiply(gradients, steps)) / norm / new, -1, 1)))
        _hint_if(angle > 0.1, f"It turns the gradient by {angle:.0f}°: the parts are cut one by one, not all together.")
        what = f"The direction is kept; but a norm of {norm:.2g} becomes {new:.2g}, not {min(norm, 1):.2g}."
        _hint_if(not np.isclose(new, min(norm, 1), rtol=1e-3), what)
    return "The direction stays, the norm is at most 1, and a short gradient is left alone: g θ/‖g‖, as in the paper."


@_exercise
def exploding_sigmoid(stddev):
    """06 C: a standard deviation of the weights with which ten sigmoid layers have a delta ratio above 1."""
    stddev = _number(stddev, least=1e-6, most=1e6)
    starts = (keras.initializers.RandomNormal(stddev=size) for size in (stddev, stddev / 2))
    ratios = (np.nan_to_num(_median_ratio(partial(build_mlp, kernel_initializer=start), 32)) for start in starts)
    ratio = next(ratios)  # the one of half the size is measured only if it is asked for
    if ratio <= 1:
        advice = "half of that gives more: smaller weights" if next(ratios) > ratio else "larger weights"
        raise NotCorrect(f"Not yet. The median delta ratio is {ratio:.1g}; {advice}.")
    return "The few units near z = 0 are hit by weights large enough to make up for all the flat ones."


@_exercise
def level_setting(setting):
    """07 A: settings of at least 30 layers whose delta neither grows nor falls more than tenfold, median of 8 seeds."""
    build = _net(setting)
    _hint_if(setting.get("hidden_layers", 10) < 30, "At least 30 hidden layers are asked for.")
    ratio = _median_ratio(build, 8)
    _hint_if(not 0.1 <= ratio <= 10, _fate(ratio))
    return "Level over thirty layers, measured with 8 seeds. Whether it learns is another question: press the button."


@_exercise
def cure_of_f(net):
    """07 B: settings with which eight layers learn under SGD(1.0, momentum=0.9), in 7 of 8 seeds."""
    build, (x, y, *_) = _net(net, hidden_layers=8), load_moons()
    rough = keras.optimizers.SGD(1.0, momentum=0.9)
    run = train(build, (x, y), rough, epochs=300, batch_size=len(x), seeds=8, progress=False)
    plots.reference(plots.curves({"your net, 8 seeds": run.loss}, xlabel="step", log=True), np.log(2), "ln 2")
    learned = np.sum(run.loss[-1] < 0.3)
    if learned < 7:
        found = diagnose(build(seed=3), x, y, optimizer=rough)
        raise NotCorrect(f"Not yet. {learned} of 8 seeds learn. One of them: {found.verdict}. {found.because}")
    return "Trained from 8 seeds, it learns under the same rough step."


@_exercise
def own_network(model, x, y, guess):
    """07 C: a compiled Keras model of the student's own, its data, and the verdict that they expect."""
    verdicts, kind = ("healthy", "vanishing", "exploding", "dead"), type(model).__name__
    _hint_if(not isinstance(model, keras.Model), f"A compiled keras.Model is asked for, and this is a {kind}.")
    ours = model.name in ("mlp", "rnn") and {"hidden_1", "recurrent"} & {layer.name for layer in model.layers}
    _hint_if(ours, "This is a net of the course, from build_mlp or build_rnn; bring one of your own.")
    _hint_if(str(guess) not in verdicts, f"Your guess must be one of {', '.join(verdicts)}.")
    _hint_if(not model.compiled, "The verdict depends on the optimizer, and there is none: call model.compile first.")
    found = diagnose(model, x, y)
    _hint_if(found.verdict != guess, f"You may be right, but diagnose says: {found.verdict}. {found.because}")
    return f"{found.verdict.capitalize()}, as you expected."
