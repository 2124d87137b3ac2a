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
from vgp_lib.data import load_moons, make_first_bit, make_spirals
from vgp_lib.engine.diagnosis import diagnose
from vgp_lib.engine.theory import elementwise, predict_profile
from vgp_lib.engine.training import train
from vgp_lib.layers import gradient_by_lag, inspect_layers
from vgp_lib.models import build_mlp, build_rnn
from vgp_lib.updates import power_of_ten


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
def gradient_of_three_weights(function):
    """01 B: dL/dw₁ of the net with three weights, as a function of (w1, w2, w3, a0, y)."""
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
    _slips(got, {"The sign is turned around: L falls when ŷ comes closer to y.": -truth})
    for name, value in factors.items():
        _slips(got, {f"A factor {name} too many.": truth * value, f"The factor {name} is missing.": truth / value})
    hint = f"With w1, w2, w3 = {points[0, :3].round(2)} finite differences give {truth[0]:.2g}, and you {got[0]:.2g}."
    _hint_if(not np.allclose(got, truth, rtol=1e-4), f"{hint} Multiply the factors that you pass on the way back.")
    return "Finite differences agree; and every further layer adds one more w σ′(z)."


@_exercise
def depth_for_a_thousandth(depth):
    """01 C: the smallest number of sigmoid layers with a gradient ratio below 1e-3, median of 16 seeds."""
    depth = _number(depth, whole=True, least=1, most=20)
    _hint_if(depth == 1, "One hidden layer is the first and the last at once: its gradient ratio is 1.")
    ratio, before = (_median_ratio(partial(build_mlp, n), 16, "gradient_ratio") for n in (depth, depth - 1))
    _hint_if(ratio >= 1e-3, f"Your ratio is about {ratio:.1g}: more layers.")
    _hint_if(before < 1e-3, f"Your ratio is about {ratio:.1g}, and one layer less is enough.")
    return "Five steps of 0.236 leave 0.0007: that is all the depth a thousandth allows."


def _first_step(optimizer, start, *gradients):
    """Let an optimizer take a step from weights that are all `start`; return them, an array per gradient."""
    variables = [keras.Variable(np.full(len(gradient), start, "float32")) for gradient in gradients]
    optimizer.apply([gradient.astype("float32") for gradient in gradients], variables)
    return [variable.numpy() for variable in variables]


def unknown_nets():
    """Return what exercise 02 A asks about: three nets of ten tanh layers, compiled and partly trained, a dict."""
    small, adam = keras.initializers.RandomNormal(stddev=0.05), keras.optimizers.Adam(0.01)
    recipes = {
        "A": ("glorot_uniform", 4, keras.optimizers.SGD(1e-6), 20),
        "B": (small, 1, keras.optimizers.SGD(0.1), 60),
        "C": ("glorot_uniform", 1, adam, 150),
    }
    nets, (x, y, *_) = {}, load_moons()
    for name, (initializer, seed, optimizer, steps) in recipes.items():
        nets[name] = build_mlp(activation="tanh", kernel_initializer=initializer, seed=seed)
        nets[name].compile(optimizer=optimizer, loss="binary_crossentropy")
        for _ in range(steps):
            nets[name].train_on_batch(x, y)
    return nets


@_exercise
def what_is_wrong(a, b, c):
    """02 A: what is the matter with each of the three unknown nets."""
    answers, words, (x, y, *_) = {"A": a, "B": b, "C": c}, ("vanishing", "learning rate", "finished"), load_moons()
    for name, answer in answers.items():
        _hint_if(not isinstance(answer, str) or answer not in words, f"Net {name}: say one of {', '.join(words)}.")
    for name, net in unknown_nets().items():
        loss = float(np.mean(keras.losses.binary_crossentropy(y[:, None], net(x))))
        ratio = inspect_layers(net, x, y).gradient_ratio
        truth = "finished" if loss < 0.1 else "vanishing" if ratio < 0.01 else "learning rate"
        hints = {
            "finished": f"its loss is {loss:.1g}. Is there anything left to learn?",
            "vanishing": "compare the kernel gradients (per sample) of its first and its last hidden layer.",
            "learning rate": "its first layer gets a good part of the gradient. How far does a step move the weights?",
        }
        hint = f"with a loss of {loss:.2g} it has not finished." if answers[name] == "finished" else hints[truth]
        _hint_if(answers[name] != truth, f"Net {name}: {hint}")
    return "The loss names the net that has finished, the layers name the one with the vanishing gradient."


@_exercise
def two_snapshots(mean_gradient, weight):
    """02 B: the mean gradient of an epoch of SGD(0.1), and where Adam's first step ends for a larger gradient."""
    mean_gradient, step, total = _number(mean_gradient), 0.5 - _number(weight), (0.5 - 0.395) / 0.1
    slips = {
        "SGD: that is the sum over the epoch. How many batches of 32 are 200 points?": total,
        "SGD: the last 8 points make a seventh step.": total / 6,
        "SGD: no step is a quarter of a step; the last 8 points make a whole one.": total / 6.25,
        "SGD: divide by the number of steps, not by the size of a batch.": total / 32,
        "SGD: the weight fell, so the gradient was positive.": -total / 7,
        "SGD: that is the mean step; divide it by the learning rate.": 0.1 * total / 7,
    }
    _slips(mean_gradient, slips)
    _hint_if(not np.isclose(mean_gradient, total / 7, rtol=0.01), "SGD: (old − new) / 0.1 is a sum. Of how many?")
    slips = {
        "Adam: a gradient a hundred times as large, a step a hundred times as long? Adam divides by its size.": 0.1,
        "Adam: that is SGD's step, the learning rate times the gradient.": 0.002,
        "Adam: a step goes against the gradient.": -0.001,
    }
    _slips(step, slips)
    measured = 0.5 - _first_step(keras.optimizers.Adam(0.001), 0.5, np.array([2.0]))[0].item()
    _hint_if(not np.isclose(step, measured, rtol=0.01), "Adam: put g = 0.02 and g = 2 into η g / (|g| + ε′).")
    return "Seven steps make a sum; and Adam's first step does not tell a gradient of 2 from one of 0.02."


def _predicted_ratio(layers, weights="glorot_uniform"):
    return predict_profile("sigmoid", weights, [2] + layers * [10], load_moons().x_train).delta_ratio


@_exercise
def deepest_sigmoid(depth):
    """03 A: the largest number of sigmoid layers with a predicted delta ratio of at least 1e-2."""
    depth = _number(depth, whole=True, least=1, most=12)
    here, deeper = (_predicted_ratio(layers) for layers in (depth, depth + 1))
    _hint_if(here < 1e-2, f"Too deep: {depth - 1} steps leave {here:.1g}.")
    _hint_if(deeper >= 1e-2, "One more layer is allowed: L layers have L - 1 steps between them.")
    return "Three steps of 0.236 leave 0.013. No net was run."


@_exercise
def shallow_spirals(units, learning_rate, steps, price):
    """03 B: units, rate of Adam and full-batch steps with which two sigmoid layers solve the spirals, and the price."""
    units, steps = _number(units, whole=True, least=1, most=50), _number(steps, whole=True, least=1, most=1500)
    adam, price = keras.optimizers.Adam(_number(learning_rate, least=1e-6, most=10)), _number(price, whole=True)
    spirals, build = make_spirals(seed=0), partial(build_mlp, 2, units)
    weights, deep = build().count_params(), 500 * build_mlp(4).count_params()
    slips = {"That is one step's price: multiply by the steps.": weights}
    _slips(price, slips | {"Biases count as well: one for each unit.": steps * (weights - 2 * units - 1)}, rtol=1e-6)
    _hint_if(price != weights * steps, "Not the price: add n inputs × m units + m biases over all layers, times steps.")
    run = train(build, spirals, adam, steps, len(spirals.x_train), seeds=8, progress=False)
    plots.boundary(run.model(0), spirals.x_train, spirals.y_train, title="your net, first seed")
    solved, loss = np.sum(run.accuracy[-1] > 0.95), np.median(run.loss, axis=1)
    falling = loss[-1] < 0.9 * loss[len(loss) // 2]
    advice = "still falling: more steps, or longer ones" if falling else "flat: more steps, more units, or another rate"
    _hint_if(solved < 7, f"{solved} of 8 seeds solve the spirals. The loss is {advice}.")
    return f"{solved} of 8 seeds solve the spirals for a price of {price}; the four ReLU layers cost {deep}."


@_exercise
def hundred_steps(sgd, adam):
    """03 C: how far 100 steps of SGD(1.0) and of Adam(0.01) move a weight whose gradient stays 1e-6."""
    for answer, optimizer in ((sgd, keras.optimizers.SGD(1.0)), (adam, keras.optimizers.Adam(0.01))):
        answer, weight, name = abs(_number(answer)), keras.Variable(0.0), type(optimizer).__name__
        for _ in range(100):
            optimizer.apply([np.float32(1e-6)], [weight])
        moved = abs(float(weight))
        slips = {f"{name}: that is one step; there are 100.": moved / 100}
        slips |= {"Adam divides by the size of the gradient, so its steps are nearly as long as the rate.": 1e-6}
        _slips(answer, slips, rtol=0.6)
        _hint_if(not 0.3 < answer / moved < 3, f"{name}: the distance is 100 × one step. How long is its step?")
    return f"Keras's Adam moves it by {moved:.1g}, SGD ten thousand times less: that is the first of 8 layers."


@_exercise
def dead_units(model, layer, count, reason):
    """04 A: the patient, its hidden layer with most dead units, how many, and when most of its dead units died."""
    layer, count = _number(layer, whole=True, least=0, most=10), _number(count, whole=True, least=0)
    x, y, *_ = load_moons()
    nets = {"birth": build_mlp(activation="relu", seed=2), "bias": build_mlp(activation="relu", seed=2)}
    nets |= {"learning rate": model}
    nets["bias"].get_layer("hidden_1").bias.assign(np.full(10, -0.1))
    dead = {name: np.round(10 * inspect_layers(net, x, y).dead[:-1]).astype(int) for name, net in nets.items()}
    (birth, _, end), total = dead.values(), {name: counts.sum() for name, counts in dead.items()}
    _hint_if(len(end) != 10 or end.sum() <= birth.sum(), "This is not the patient after its step: run the cell again.")
    worst = np.argmax(end)
    _hint_if(layer == worst, "The layer next to the input has the number 1; Python counts from 0.")
    _hint_if(layer != worst + 1, f"Another layer has more dead units at the end than layer {layer}.")
    slips = {
        "Those are dead in the whole net; count in one layer.": end.sum(),
        "So many were dead at birth; count at the end.": birth[worst],
        "Those are the living ones; count the dead.": 10 - end[worst],
    }
    _slips(count, slips)
    _hint_if(count != end[worst], "A unit is dead if it gives 0 for every sample: (activations == 0).all(axis=0).")
    _hint_if(str(reason) not in nets, f"The reason must be one of {', '.join(nets)}.")
    said = f"At birth {total['birth']} units are dead, with the biases {total['bias']}, and after the step {end.sum()}."
    _hint_if(reason != "birth", f"{said} Which of the three events has the largest part in these {end.sum()}?")
    return f"{said} The step looks guilty; most were dead before it."


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
def gelu_ratio(ratio):
    """04 C: the delta ratio of ten GELU layers with Glorot's weights, from the slope ½ at 0."""
    ratio = _number(ratio)
    slips = {
        "Ten layers have nine steps between them, not ten.": 0.5**10,
        "Factors multiply, they do not add.": 0.5 * 9,
        "That is one step; how many lie between the first and the last layer?": 0.5,
        "That is the sigmoid's ladder; GELU's slope at 0 is larger.": 0.25**9,
        "That is ReLU's, where half of the units are off; here every unit has the slope ½.": 0.5**4.5,
        "Turn it around: the first layer stands above the fraction bar, and it has less.": 2.0**9,
    }
    _slips(ratio, slips)
    measured = _median_ratio(partial(build_mlp, activation="gelu"), 16)
    hint = f"Yours is too {'large' if ratio > measured else 'small'}. Each step multiplies delta by weight × slope."
    _hint_if(not 0.5 < ratio / measured < 2, hint)
    return f"16 nets have {measured:.1g} in the median. So Keras's default weights are too small for GELU."


@_exercise
def variance_for_leaky_relu(v):
    """05 A: the variance of the weights of a layer of 100 inputs that keeps the mean square under leaky ReLU, 0.2."""
    v, z = _number(v), np.random.default_rng(0).normal(size=1_000_000)
    kept = np.mean(np.where(z > 0, z, 0.2 * z) ** 2)  # of z's mean square, which is 1
    truth = 1 / (100 * kept)
    slips = {
        "That is He's variance, right for a slope of 0. Here the negative half passes on something, too.": 2 / 100,
        "Mean squares are asked for: the slope of 0.2 must be squared.": 2 / 1.2 / 100,
        "That is the standard deviation; the variance is its square.": truth**0.5,
        "That is n times v; divide by the number of inputs.": 100 * truth,
        "That keeps z itself; but φ lets only a part of its square through.": 1 / 100,
        "Only half of the z are positive, and only half are negative: a factor of 2 is missing.": truth / 2,
        "Turn it around: what φ takes away, the weights must give back.": kept / 100,
    }
    _slips(v, slips, rtol=0.008)
    hint = f"With your v, a layer multiplies the mean square by {100 * v * kept:.2g}; it should be 1."
    _hint_if(not np.isclose(v, truth, rtol=0.008), hint)
    return "A million simulated z agree: φ keeps (1 + 0.2²)/2 of their mean square, and n v makes up for it."


@_exercise
def scale_of_the_sigmoid(sigma_w):
    """05 B: the smallest whole σ_w with which 12 sigmoid layers are predicted a delta ratio of at least a tenth."""
    sigma_w = _number(sigma_w, whole=True, least=1, most=100)
    sizes = (keras.initializers.VarianceScaling(size**2, mode="fan_in") for size in (sigma_w, max(sigma_w - 1, 0.5)))
    ratio, smaller = (_predicted_ratio(12, weights) for weights in sizes)
    _hint_if(ratio < 0.1, f"About {ratio:.1g} of delta is left after eleven steps: larger weights.")
    _hint_if(smaller >= 0.1, f"Enough is left, about {ratio:.1g}. But a smaller whole number will do, too.")
    return f"Theory agrees: {ratio:.2g} is left with your σ_w, and {smaller:.2g} with one less."


@_exercise
def thirty_layers(net):
    """05 C: settings of `build_mlp` with which 14 of 16 nets of thirty GELU layers solve the moons."""
    build = _net(net, hidden_layers=30, units=10, activation="gelu")
    run = train(build, load_moons(), keras.optimizers.Adam(0.001), batch_size=40, seeds=16, progress=False)
    plots.baselines(plots.curves({"your net, 16 seeds": run.loss}))
    solved = np.sum(run.accuracy[-1] > 0.95)
    if solved < 14:
        raise NotCorrect(f"Not yet. {solved} of 16 seeds solve it. {_fate(_median_ratio(build, 4))}")
    return f"{solved} of 16 seeds solve it. GELU was not the problem: the scale was."


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
def clipped_norm(norm):
    """06 B: the norm of the first of three gradients, of norms 3, 4 and 12, after clipping their global norm to 1."""
    norm, gradients = _number(norm), [np.full(1, size) for size in (3.0, 4.0, 12.0)]
    truth = -_first_step(keras.optimizers.SGD(1.0, global_clipnorm=1.0), 0.0, *gradients)[0].item()
    slips = {
        "That is clipnorm: every layer is cut on its own, and the direction of the whole is lost.": 1,
        "That is the gradient before; together the three are longer than 1.": 3,
        "That is the global norm before; clipping divides every gradient by it.": 13,
        "That is the factor for all three; the first gradient has the norm 3.": 1 / 13,
        "Norms do not add up: their squares do.": 3 / 19,
        "That is the sum of the squares; the global norm is its root.": 3 / 169,
        "You divide by the largest norm; all three together are a little longer.": 3 / 12,
        "That is the norm of the third gradient.": 12 / 13,
    }
    _slips(norm, slips)
    hint = f"All three are divided by their global norm. What is it? A norm of 12 becomes {4 * truth:.2g}."
    _hint_if(not np.isclose(norm, truth, rtol=0.02), hint)
    return "All are divided by the global norm, 13, so their proportions stay: the direction is kept."


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
def choose_cures(cures):
    """07 B: one changed setting for each sick patient of 7.3, no two the same, with which 6 of 8 seeds are solved."""
    named = isinstance(cures, dict) and sorted(cures) == [*"ABDEF"]
    _hint_if(not named, 'A dict with a change for each of A, B, D, E, F is asked for, such as {"A": {"units": 20}, …}.')
    _attempted(*cures.values())
    he, (x, y, *_) = {"activation": "relu", "kernel_initializer": "he_normal"}, load_moons()
    wide, sgd = keras.initializers.RandomNormal(stddev=2.0), keras.optimizers.SGD
    patients = {  # depth, settings, optimizer
        "A": (12, {}, sgd(0.1)),
        "B": (10, {"activation": "relu", "kernel_initializer": wide}, sgd(0.1)),
        "D": (12, he | {"units": 3}, sgd(0.1)),
        "E": (24, {"activation": "gelu"}, keras.optimizers.Adam(0.001)),
        "F": (8, {}, sgd(1.0, momentum=0.9)),
    }
    builds = {}
    for name, (depth, net, _) in patients.items():
        _net(cures[name], hidden_layers=depth)  # has hints for what is no such dict
        _hint_if(len(cures[name]) != 1, f"{name}: change exactly one setting, such as {{'activation': 'tanh'}}.")
        builds[name] = _net(net | cures[name], hidden_layers=depth)
        twins = [other for other in builds if other != name and cures[other] == cures[name]]
        _hint_if(twins, f"{twins} and {name} get the same change; another one is asked for.")
    for name, build in builds.items():
        optimizer = patients[name][2]
        run = train(build, (x, y), optimizer, epochs=300, batch_size=len(x), seeds=8, progress=False)
        solved = np.sum(run.accuracy[-1] > 0.95)
        if solved < 6:
            found = diagnose(build(seed=3), x, y, optimizer=optimizer)
            raise NotCorrect(f"Not yet. {name}: {solved} of 8 seeds solved. Seed 3: {found.verdict}. {found.because}")
    return "Five patients, five changes, and at least 6 of 8 seeds of each are solved."


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
