"""Every figure of the course. Functions take measured arrays and an optional `ax`, and return the `Axes`."""

import warnings
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import MaxNLocator

from vgp_lib.engine._arguments import integer

# Okabe and Ito's colours keep apart under colour blindness; a marker and a line style beside them do so in grey.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "x", "P")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_GREY = "#777777"
_POWER = "$10^{{{x:g}}}$"  # a tick of an axis of logarithms
LINE = 0.27  # the least loss of a straight line on the moons
_BASELINES = {"fifty-fifty: ln 2": (np.log(2), (4, 3)), f"a straight line: {LINE}": (LINE, (6, 2, 1, 2))}


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

    `values` is a dict from label to array of shape (points,) or (points, seeds). A `log` axis leaves out zeros.
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


def layers(values, ylabel="kernel gradient, per sample", title=None, ax=None):
    """Draw a quantity per layer on a log axis, input side left.

    `values` is a dict from label to array of shape (layers,) or (seeds, layers), as `inspect_layers` gives them.
    """
    transposed = {label: np.asarray(array, dtype=float).T for label, array in values.items()}
    return curves(transposed, xlabel="layer (1 is next to the input)", ylabel=ylabel, log=True, title=title, ax=ax)


def prediction(measured, predicted, band, ylabel="kernel gradient", ax=None, title=None):
    """Draw per-layer values, measured and predicted, relative to the last hidden layer.

    `measured` has the shape (seeds, hidden layers), `predicted` (hidden layers,), such as `Profile.delta_rms`, and
    `band` (2, hidden layers): where 80 % of single nets are predicted, such as `Band.delta_rms`.
    """
    measured = np.asarray(measured, dtype=float)
    at = np.arange(1, len(predicted) + 1)
    ax = _axes(ax)
    ax.fill_between(at, *band, color=_GREY, alpha=0.2, linewidth=0, label="80 % of the nets, predicted")
    ax.plot(at, predicted, color="black", linestyle="--", label="root mean square, predicted")
    with np.errstate(divide="ignore", invalid="ignore"):  # a dead net has no line
        relative = measured / measured[:, -1:]
    return layers({"measured": relative}, f"{ylabel}, last layer = 1", title, ax)


def remedies(rows, title=None):
    """Draw how many of 32 seeds every remedy solves: one panel for each number of hidden layers; return their axes.

    `rows` are as of `vgp_lib.remedies()`. Their order is kept, from the top; those of one `kind` stand under its name.
    """
    depths = sorted({int(row["hidden_layers"]) for row in rows})
    kinds = {row["remedy"]: row.get("kind", "") for row in rows}
    order = list(dict.fromkeys(kinds.values()))
    names = sorted(kinds, key=lambda name: order.index(kinds[name]))
    at = {name: -(rank + order.index(kinds[name])) for rank, name in enumerate(names)}
    heads = {kind: 1 + max(at[name] for name in names if kinds[name] == kind) for kind in order if kind}
    axes = panels(len(depths), 3.6, 0.25 * (len(at) + len(heads)) + 1, sharey=True)
    for ax, depth in zip(axes, depths, strict=True):
        solved = {row["remedy"]: int(row["solved"]) for row in rows if int(row["hidden_layers"]) == depth}
        colors = [style(order.index(kinds[name]))["color"] for name in solved]
        bars = ax.barh([at[name] for name in solved], list(solved.values()), color=colors, zorder=2)
        ax.bar_label(bars, padding=2, fontsize="small")
        ax.set(xlim=(0, 36), yticks=[*at.values(), *heads.values()], yticklabels=[*at, *heads])
        plt.setp(ax.get_yticklabels()[len(at) :], weight="bold")
        finish(ax, f"{depth} hidden layers", "seeds solved, of 32").tick_params(axis="y", length=0)
    if title:
        axes[0].figure.suptitle(title)
    return axes


def points(x, y, ax=None, title=None, legend=True):
    """Scatter points of shape (samples, 2); class 0 and class 1 differ in colour and in marker."""
    ax = _axes(ax, 4.5, 3.2)
    for label in (0, 1):
        look = {"color": _COLORS[label], "marker": _MARKERS[label], "edgecolor": "white", "s": 18}
        ax.scatter(*x[np.ravel(y) == label].T, label=f"class {label}", **look)
    ax.set_aspect("equal")
    return finish(ax, title, "$x_1$", "$x_2$", legend=legend)


def boundary(model, x, y, ax=None, title=None, legend=True):
    """Draw the probability of class 1 that a trained model gives, as shades, its 0.5 contour, and the points."""
    ax = points(x, y, ax, title, legend)
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

    z has the shape (points,); `values` is a dict from label to a pair of arrays of that shape.
    """
    axes = panels(2, 4.0, 3.2) if axes is None else axes
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
    ax.xaxis.set_major_formatter(_POWER)
    return finish(ax, title, xlabel, "count")


def reference(ax, value, label, dashes=(4, 3)):
    """Add a grey dashed horizontal line with its name: a chance level, a threshold, a prediction."""
    ax.axhline(value, color=_GREY, linestyle=(0, dashes), linewidth=1.2, label=label, zorder=0)
    return finish(ax)


def baselines(ax):
    """Add to a figure of training losses on the moons what nothing learned gives, and the best straight boundary."""
    for label, (value, dashes) in _BASELINES.items():
        reference(ax, value, label, dashes)
    return ax


def panels(columns, width=3.2, height=3.0, sharey=False, sharex=False):
    """Return an array of shape (columns,) of axes, at most 4 for a phone, each of `width` x `height` inches."""
    look = {"figsize": (columns * width, height), "sharex": sharex, "sharey": sharey, "layout": "constrained"}
    return plt.subplots(1, integer("columns", columns, 1, 4), squeeze=False, **look)[1][0]


def layer_curves(values, x=None, names=None, xlabel="epoch", ylabel="kernel gradient", title=None, ax=None):
    """Draw one line per layer on a log axis, from light (input side) to dark; the first and the last are named.

    `values` has the shape (points, layers), `x` (points,); `names` are one per layer, such as `Runs.layer_names`.
    """
    values = _array("values", values, "points", "layers")
    at = np.arange(1, len(values) + 1) if x is None else _array("x", x, len(values))
    names = _names(names, values.shape[1])
    lines = np.where((values > 0) & (values < np.inf), values, np.nan).T  # a zero has no place on a log axis
    ax = _axes(ax)
    for line, color in zip(lines, plt.cm.cividis(np.linspace(0.85, 0, len(lines))), strict=True):
        ax.plot(at, line, color=color)
    ends = [index for index in sorted({0, len(lines) - 1}) if (lines[index] > 0).any()]
    ends = sorted((lines[end][lines[end] > 0][-1], at[lines[end] > 0][-1], names[end]) for end in ends)
    for (y, right, name), side in zip(ends, ("top", "bottom") if len(ends) > 1 else ("center",), strict=False):
        ax.annotate(name, (right, y), (5, 0), textcoords="offset points", va=side, fontsize="small")
    return finish(ax, title, xlabel, ylabel, log=True)


def layer_histograms(values, xlabel="activation", log=False, title=None, ax=None):
    """Draw one histogram per layer, input side at the top, each scaled to its own highest bar.

    `values` holds one array per layer. With `log`: of their sizes' powers of ten, and the share of zeros at the right.
    """
    rows = [row[np.isfinite(row)] for row in map(np.ravel, values)]
    names = _names(None, len(rows))
    shown = [np.log10(np.abs(row[row != 0])) if log else row for row in rows]
    bins = np.histogram_bin_edges(np.concatenate(shown), 60)
    ax = _axes(ax, 6.0, 0.36 * len(rows) + 1)
    for index, color in enumerate(plt.cm.cividis(np.linspace(0.85, 0, len(rows)))):
        counts, base = np.histogram(shown[index], bins)[0], len(rows) - 1 - index
        ax.stairs(base + 0.85 * counts / max(1, counts.max()), bins, baseline=base, fill=True, color=color)
        ax.axhline(base, color=_GREY, linewidth=0.5)
        if log and (rows[index] == 0).any():
            zeros = f"{100 * np.mean(rows[index] == 0):.0f} % zeros"
            ax.text(1.01, base, zeros, transform=ax.get_yaxis_transform(), fontsize="small")
    if log:
        ax.xaxis.set(major_locator=MaxNLocator(6, integer=True), major_formatter=_POWER)
    ax.set(yticks=range(len(rows)), yticklabels=names[::-1], ylim=(-0.1, len(rows)))
    return finish(ax, title, xlabel)


def network(values, inputs=2, units=10, title=None, ax=None):
    """Draw a dense net from left to right, every layer coloured by its delta on a log scale: dark is small.

    `values` has the shape (layers,), the output last; where it is 0 or nan, the layer is white and hatched.
    """
    values = _array("values", values, "layers")
    sizes = [integer("inputs", inputs, 1, 16), *[integer("units", units, 1, 16)] * (len(values) - 1), 1]
    columns = [[(at, row - (size - 1) / 2) for row in range(size)] for at, size in enumerate(sizes)]
    edges = [(a, b) for left, right in pairwise(columns) for a in left for b in right]
    good = (values > 0) & (values < np.inf)
    powers = np.log10(values[good]) if good.any() else np.zeros(1)
    low, high = np.floor(powers.min()), max(np.ceil(powers.max()), np.floor(powers.min()) + 1)
    ax = _axes(ax, 6.5, 3.4)
    ax.add_collection(LineCollection(edges, colors="0.8", linewidths=0.4, zorder=1))
    look = {"s": (72 * min(0.17, 3.6 / len(sizes), 2.0 / max(sizes))) ** 2, "edgecolors": "black", "linewidths": 0.6}
    at = np.concatenate(columns).T
    colors = np.repeat([np.nan, *np.where(good, values, np.nan)], sizes)
    ax.scatter(*at[:, :inputs], facecolors="white", **look)
    ax.scatter(*at[:, inputs:][:, np.isnan(colors[inputs:])], facecolors="white", hatch="//////", **look)
    dots = ax.scatter(*at, c=colors, norm="log", vmin=10.0**low, vmax=10.0**high, cmap="cividis", **look)
    missing = ", ".join(sorted({f"{value:g}" for value in values[~good]}))
    label = f"delta, per sample\n(hatched: {missing})" if missing else "delta, per sample"
    ax.figure.colorbar(dots, ax=ax, fraction=0.05, pad=0.02, label=label).ax.minorticks_off()
    for index in np.linspace(0, len(values) - 1, min(len(values), 4)).round().astype(int):
        text = f"{values[index]:.1g}".replace("e-0", "e-")
        ax.text(index + 1, 0.03, text, transform=ax.get_xaxis_transform(), ha="center")
    ticks = range(1, len(values)) if len(values) < 16 else range(5, len(values) - 2, 5)
    ax.set_xticks([0, *ticks, len(values)], ["inputs", *ticks, "output"], fontsize=9)
    ax.tick_params(length=0)
    ax.set(ylim=(-0.66 * max(sizes), 0.52 * max(sizes)), yticks=[], frame_on=False, title=title or "")
    return ax


def chain(nodes, forward, backward, title=None, ax=None):
    """Draw a chain of quantities: above, how each gives the next; below, dashed, the local derivative on the way back.

    `nodes` holds n labels, `forward` and `backward` n - 1 each; mathtext such as r"$z_1$" is understood.
    """
    if len(nodes) < 2 or {len(forward), len(backward)} != {len(nodes) - 1}:
        given = f"{len(nodes)} nodes, {len(forward)} forward and {len(backward)} backward labels"
        raise ValueError(f"{given} given; give n nodes (at least 2), n - 1 forward and n - 1 backward labels")
    ax, circles = _row(ax, nodes, 1.5, title)
    for (left, right), there, back in zip(pairwise(circles), forward, backward, strict=True):
        _connect(ax, left, right, there, 0.32)
        _connect(ax, right, left, back, -0.32)
    return ax


def unrolled(steps=4, title=None, ax=None):
    """Draw a recurrent net unrolled in time and, dashed, the gradient's way back, with its factor at each step."""
    names = [f"$h_{step}$" for step in range(1, integer("steps", steps, 2, 7) + 1)]
    ax, states = _row(ax, [*names, "$L$"], 2.1, title)
    for step, (left, right) in enumerate(pairwise(states), start=1):
        _connect(ax, _circle(ax, left.center[0], 0.3, f"$x_{step}$", "white"), left)
        _connect(ax, left, right)
        _connect(ax, right, left, r"$\times\,U^T \varphi'$" if step < steps else "", 0.32)
    return ax


def ellipse(matrix, title=None, ax=None):
    """Draw the unit circle and its image under a matrix of shape (2, 2), with the singular values at its semi-axes."""
    matrix, angle = _array("matrix", matrix, 2, 2), np.linspace(0, 2 * np.pi, 201)
    ax, circle = _axes(ax, 4.0, 4.0), np.stack([np.cos(angle), np.sin(angle)])
    ax.plot(*circle, color=_GREY, linestyle="--", label="unit circle")
    ax.plot(*matrix @ circle, color=_COLORS[0], label="its image")
    directions, sizes, _ = np.linalg.svd(matrix)
    reach = 1.4 * max(1, sizes[0])
    look = {"ha": "center", "va": "center", "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}}
    for direction, size, color in zip(directions.T, sizes, (_COLORS[1], "black"), strict=True):
        direction = direction if direction.sum() > 0 else -direction
        _arrow(ax, (0, 0), direction * size, color)
        ax.text(*direction * (size + 0.13 * reach), f"{size:.2f}", color=color, **look)
    finish(ax, title, legend=False).set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.legend(frameon=False, fontsize="small", ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    return ax


def cone(points, normal):
    """Draw points around 0 beside what ReLU makes of them, both with the line through 0 orthogonal to `normal`.

    `points` has the shape (samples, 2), `normal`, the arrow, (2,). The titles tell the share of points on its side.
    """
    points, normal = _array("points", points, "samples", 2), _array("normal", normal, 2)
    reach = 1.1 * np.abs(points).max()
    x, y = reach * normal / max(np.linalg.norm(normal), 1e-12)
    axes = panels(2, sharex=True, sharey=True)
    for ax, name, shown in zip(axes, ("before", "after ReLU"), (points, np.maximum(points, 0)), strict=True):
        positive, at_zero = shown @ normal > 0, 100 * np.mean(~shown.any(axis=1))
        for index, side in enumerate((positive, ~positive)):
            ax.scatter(*shown[side].T, color=_COLORS[index], marker=_MARKERS[index], s=14, alpha=0.7, linewidths=0)
        ax.plot([2 * y, -2 * y], [-2 * x, 2 * x], color="black")
        _arrow(ax, (0, 0), (x / 2, y / 2))
        finish(ax, f"{name}: {100 * positive.mean():.0f} % positive" + (f"\n{at_zero:.0f} % at 0" if at_zero else ""))
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    return axes


def clipping(gradients):
    """Draw what Keras's three kinds of clipping at 1 make of a gradient of two layers with one weight each.

    `gradients` is such as [[4.0], [1.0]]; the titles of the three axes tell by how many degrees clipping turns it.
    """
    before = _array("gradients", np.reshape(gradients, -1), 2)
    axes = panels(3, width=2.4, height=3.2, sharey=True)
    each, whole = np.clip(before, -1, 1), before / max(1, np.linalg.norm(before))
    ends = (1.15 * min(-1, *before), 1.15 * max(1, *before))
    for ax, name, after in zip(axes, ("clipvalue", "clipnorm", "global_clipnorm"), (each, each, whole), strict=True):
        shape = Rectangle((-1, -1), 2, 2) if after is each else Circle((0, 0), 1)
        ax.add_patch(shape).set(facecolor="0.92", edgecolor="black", linestyle=":", label="allowed")
        for vector, color, line, text in ((before, _GREY, "--", "before"), (after, _COLORS[1], "-", "after")):
            ax.plot([0, vector[0]], [0, vector[1]], color=color, linestyle=line, label=text)
            _arrow(ax, (0, 0), vector, color, line)
        turn = np.degrees(abs(np.arctan2(*after) - np.arctan2(*before)))
        finish(ax, f"{name}\nturned by {turn:.0f}°", "gradient of layer 1", legend=False)
        ax.set(xlim=ends, ylim=ends, aspect="equal")
    axes[0].set_ylabel("gradient of layer 2")
    axes[1].legend(frameon=False, fontsize="small", ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    return axes


def _array(name, values, *shape):
    """Return a float array of that shape, in which a word stands for any length; refuse another."""
    values = np.asarray(values, dtype=float)
    fits = [isinstance(want, str) or got == want for got, want in zip(values.shape, shape, strict=False)]
    if len(values.shape) != len(shape) or not all(fits) or not values.size:
        raise ValueError(f"{name} has shape {values.shape}; give an array of shape ({', '.join(map(str, shape))})")
    return values


def _names(names, depth):
    names = [f"layer {index + 1}" for index in range(depth)] if names is None else list(names)
    if len(names) != depth or not depth:
        raise ValueError(f"{len(names)} names for {depth} layers given; give one name per layer")
    return names


def _row(ax, names, height, title):
    """Return axes that count inches, and the circles in their upper part."""
    gap = min(1.4, 6.5 / len(names))
    ax = finish(_axes(ax, gap * len(names), height), title)
    ax.set(xlim=(0, gap * len(names)), ylim=(0, height), aspect="equal")
    ax.set_axis_off()
    return ax, [_circle(ax, gap * (index + 0.5), height - 0.75, name) for index, name in enumerate(names)]


def _circle(ax, x, y, text, color="#DCE9F3"):
    ax.text(x, y, text, ha="center", va="center", fontsize=11, zorder=3)
    return ax.add_patch(Circle((x, y), 0.25, facecolor=color, edgecolor="black"))


def _arrow(ax, start, end, color="black", line="-", **more):
    look = {"arrowstyle": "-|>", "mutation_scale": 12, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=look | {"color": color, "linestyle": line} | more)


def _connect(ax, start, end, text="", height=0.0):
    """Draw an arrow between two circles, in a bow of that height with its text; to the left, dashed and orange."""
    (x, y), (to, _) = start.center, end.center
    bend = f"arc3,rad={2 * height / (x - to) if height else 0}"
    look = (_COLORS[1], "--") if to < x else ("black", "-")
    _arrow(ax, start.center, end.center, *look, patchA=start, patchB=end, connectionstyle=bend)
    ax.text((x + to) / 2, y + 1.2 * height, text, ha="center", va="bottom" if height > 0 else "top")
