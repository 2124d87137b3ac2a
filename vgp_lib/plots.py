"""Every figure of the course. Functions take measured arrays and an optional `ax`, and return the `Axes`."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours keep apart under colour blindness; a marker and a line style beside them do so in grey.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "x", "P")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_GREY = "#777777"


def style(index):
    """Return colour, line style and marker number `index` of the course, as keyword arguments of `Axes.plot`."""
    index %= len(_COLORS)
    return {"color": _COLORS[index], "linestyle": _LINES[index], "marker": _MARKERS[index]}


def finish(ax, title=None, xlabel=None, ylabel=None, log=False, legend=True):
    """Give the axes the course's look: labels, light grid, logarithmic y axis on request. Return the axes."""
    ax.set(**{key: text for key, text in {"title": title, "xlabel": xlabel, "ylabel": ylabel}.items() if text})
    if log:
        ax.set_yscale("log")
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    if legend and ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize="small")
    return ax


def _axes(ax, width=6.0, height=3.5):
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def curves(values, x=None, xlabel="epoch", ylabel="loss", log=False, title=None, ax=None):
    """Draw one line per entry of `values` against x; where seeds are given, their median with the 10-90 % band.

    Args:
        values: dict from label to array of shape (points,) or (points, seeds).
        x: array of shape (points,); 1, 2, … if not given.
        log: draw y on a log axis; zeros are then left out, for they have no place on it.
    """
    ax = _axes(ax)
    for index, (label, array) in enumerate(values.items()):
        array = np.asarray(array, dtype=float)
        at = np.arange(1, len(array) + 1) if x is None else np.asarray(x)
        look = style(index) | {"markevery": max(1, len(at) // 12), "markersize": 5}
        low = middle = high = array
        if array.ndim == 2:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # where all seeds are nan, nothing is drawn
                low, middle, high = np.nanquantile(array, [0.1, 0.5, 0.9], axis=1)
        ax.plot(at, np.where(middle > 0, middle, np.nan) if log else middle, label=label, **look)
        if array.ndim == 2 and (not log or (array > 0).any()):
            low = np.maximum(low, array[array > 0].min()) if log else low
            ax.fill_between(at, low, high, where=high >= low, color=look["color"], alpha=0.18, linewidth=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return finish(ax, title, xlabel, ylabel, log)


def layers(values, ylabel="kernel gradient, L2 norm", title=None, ax=None):
    """Draw a quantity per layer on a log axis, input side left.

    `values` is a dict from label to array of shape (layers,) or (seeds, layers), as `inspect_layers` gives them.
    """
    transposed = {label: np.asarray(array, dtype=float).T for label, array in values.items()}
    return curves(transposed, xlabel="layer (1 is next to the input)", ylabel=ylabel, log=True, title=title, ax=ax)


def prediction(measured, predicted, band, ylabel="kernel gradient", ax=None, title=None):
    """Draw per-layer values, measured and predicted, relative to the last hidden layer.

    Args:
        measured: array of shape (seeds, hidden layers); median and 10-90 % band are drawn.
        predicted: array of shape (hidden layers,), such as `Profile.delta_rms`.
        band: array of shape (2, hidden layers), where 80 % of single nets are predicted, such as `Band.delta_rms`.
    """
    measured = np.asarray(measured, dtype=float)
    at = np.arange(1, len(predicted) + 1)
    ax = _axes(ax)
    ax.fill_between(at, *band, color=_GREY, alpha=0.2, linewidth=0, label="80 % of the nets, predicted")
    ax.plot(at, predicted, color="black", linestyle="--", label="root mean square, predicted")
    with np.errstate(divide="ignore", invalid="ignore"):  # a dead net has no line
        relative = measured / measured[:, -1:]
    return layers({"measured": relative}, f"{ylabel}, last layer = 1", title, ax)


def remedies(rows, ax=None, title=None):
    """Draw the last loss of every remedy, best at the top, one marker for each number of hidden layers.

    `rows` is what `vgp_lib.remedies()` gives: dicts with remedy, hidden_layers, loss, loss_p10 and loss_p90.
    """
    depths = sorted({int(row["hidden_layers"]) for row in rows})
    worst = {}
    for row in rows:
        worst[row["remedy"]] = max(worst.get(row["remedy"], 0), float(row["loss"]))
    names = sorted(worst, key=worst.get, reverse=True)
    ax = _axes(ax, 7.0, 0.24 * len(names) + 1)
    for index, depth in enumerate(depths):
        chosen = [row for row in rows if int(row["hidden_layers"]) == depth]
        at = [names.index(row["remedy"]) + 0.3 * (index - (len(depths) - 1) / 2) for row in chosen]
        loss, low, high = (np.array([float(row[key]) for row in chosen]) for key in ("loss", "loss_p10", "loss_p90"))
        look = style(index) | {"linestyle": "none", "markersize": 5}
        ax.errorbar(loss, at, xerr=[loss - low, high - loss], label=f"{depth} hidden layers", elinewidth=1.2, **look)
    ax.axvline(np.log(2), color=_GREY, linestyle=(0, (4, 3)), linewidth=1.2, label="ln 2", zorder=0)
    ax.set(xscale="log", yticks=range(len(names)), yticklabels=names)
    return finish(ax, title, xlabel="training loss")


def points(x, y, ax=None, title=None):
    """Scatter points of shape (samples, 2); class 0 and class 1 differ in colour and in marker."""
    ax = _axes(ax, 4.5, 3.2)
    for label in (0, 1):
        look = {"color": _COLORS[label], "marker": _MARKERS[label], "edgecolor": "white", "s": 18}
        ax.scatter(*x[np.ravel(y) == label].T, label=f"class {label}", **look)
    ax.set_aspect("equal")
    return finish(ax, title, "$x_1$", "$x_2$")


def boundary(model, x, y, ax=None, title=None):
    """Draw the probability of class 1 that a trained model gives, as shades, its 0.5 contour, and the points."""
    ax = points(x, y, ax, title)
    low, high = x.min(axis=0) - 0.3, x.max(axis=0) + 0.3
    grid = np.meshgrid(np.linspace(low[0], high[0], 80), np.linspace(low[1], high[1], 80))
    probability = np.asarray(model(np.stack(grid, axis=-1).reshape(-1, 2))).reshape(80, 80)
    ax.contourf(*grid, probability, levels=np.linspace(0, 1, 11), cmap="cividis", alpha=0.45, zorder=0)
    if probability.min() < 0.5 < probability.max():
        ax.contour(*grid, probability, levels=[0.5], colors="black", linewidths=1.5)
    return ax


def weights(snapshots, ax=None, title=None):
    """Draw every weight of the first layer against the epochs, as its distance from where it began.

    `snapshots` has the shape (epochs + 1, inputs, units), as of `WeightSnapshots`; the line style tells the input.
    """
    ax = _axes(ax)
    moved = np.asarray(snapshots) - snapshots[0]
    for index in range(moved.shape[1]):
        lines = ax.plot(moved[:, index], **style(index) | {"marker": ""}, linewidth=1, alpha=0.8)
        lines[0].set_label(f"weights of input {index + 1}")
    return finish(ax, title, "epoch", "weight − initial weight")


def activations(z, values, axes=None):
    """Draw activations (left) and their derivatives (right) against z; return the two axes.

    Args:
        z: array of shape (points,).
        values: dict from label to a pair of arrays of z's shape: the activation and its derivative.
    """
    if axes is None:
        axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")[1]
    for index, (label, pair) in enumerate(values.items()):
        for ax, array in zip(axes, pair, strict=True):
            ax.plot(z, array, label=label, **style(index), markevery=max(1, len(z) // 12), markersize=4)
    finish(axes[0], "activation φ(z)", "z")
    finish(axes[1], "derivative φ′(z)", "z", legend=False)
    return axes


def histogram(values, title=None, xlabel=None, ax=None):
    """Draw positive values as a histogram over powers of ten, with their median."""
    ax = _axes(ax)
    exponents = np.log10(values)
    ax.hist(exponents, bins=40, color=_COLORS[0], alpha=0.7)
    middle = np.median(exponents)
    ax.axvline(middle, color=_COLORS[1], linestyle="--", label=f"median $10^{{{middle:.1f}}}$")
    ax.xaxis.set_major_formatter(lambda value, _: f"$10^{{{value:g}}}$")
    return finish(ax, title, xlabel, "count")


def reference(ax, value, label):
    """Add a grey dashed horizontal line with its name: a chance level, a threshold, a prediction."""
    ax.axhline(value, color=_GREY, linestyle=(0, (4, 3)), linewidth=1.2, label=label, zorder=0)
    return finish(ax)
