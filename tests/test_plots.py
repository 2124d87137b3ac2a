import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, to_hex
from matplotlib.container import BarContainer
from matplotlib.patches import Circle, StepPatch
from matplotlib.text import Annotation, Text

import vgp_lib as vgp
from vgp_lib import plots

RANDOM = np.random.default_rng(0)
EPOCHS = np.array([3.0, 2.0, 0.5, 0.25])
SEEDS = RANDOM.lognormal(size=(4, 21))  # (points, seeds)
POINTS, LABELS = RANDOM.normal(size=(12, 2)), np.arange(12) % 2
SNAPSHOTS = RANDOM.normal(size=(5, 2, 3))
Z = np.linspace(-2, 2, 9)
PAIRS = {"tanh": (np.tanh(Z), 1 - np.tanh(Z) ** 2), "relu": (np.maximum(Z, 0), np.where(Z > 0, 1.0, 0.0))}


def left_of_centre(x):
    """A model in the eyes of boundary: the probability of class 1 falls from left to right."""
    return 1 / (1 + np.exp(3 * x[:, :1]))


PLOTS = {
    "curves": lambda **ax: plots.curves({"a": EPOCHS}, **ax),
    "layers": lambda **ax: plots.layers({"a": EPOCHS}, **ax),
    "points": lambda **ax: plots.points(POINTS, LABELS, **ax),
    "boundary": lambda **ax: plots.boundary(left_of_centre, POINTS, LABELS, **ax),
    "weights": lambda **ax: plots.weights(SNAPSHOTS, **ax),
    "histogram": lambda **ax: plots.histogram(EPOCHS, **ax),
    "prediction": lambda **ax: plots.prediction(SEEDS.T, EPOCHS, [EPOCHS / 2, EPOCHS * 2], **ax),
    "layer_curves": lambda **ax: plots.layer_curves(SEEDS, **ax),
    "layer_histograms": lambda **ax: plots.layer_histograms(SEEDS, **ax),
    "network": lambda **ax: plots.network(EPOCHS, **ax),
    "chain": lambda **ax: plots.chain("xzL", ["w", "loss"], ["w", "1"], **ax),
    "unrolled": lambda **ax: plots.unrolled(**ax),
    "ellipse": lambda **ax: plots.ellipse([[2, 1], [0, 0.5]], **ax),
}
every_plot = pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)


def data_of(line):
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def band_of(collection):
    """Return the lower and the upper edge of a filled band, point by point."""
    vertices = collection.get_paths()[0].vertices
    return np.array(
        [[edge(vertices[vertices[:, 0] == x, 1]) for edge in (np.min, np.max)] for x in np.unique(vertices[:, 0])]
    ).T


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# What all have in common


@every_plot
def test_plot_returns_new_axes_that_can_be_drawn(plot):
    ax = plot()
    assert isinstance(ax, plt.Axes) and plt.get_fignums() == [ax.figure.number]
    ax.figure.canvas.draw()


@every_plot
def test_given_axes_are_drawn_on_and_no_figure_is_opened(plot):
    figure, (left, right) = plt.subplots(1, 2)
    assert plot(ax=right) is right and right.has_data() and not left.has_data()
    assert plt.get_fignums() == [figure.number]


def test_activations_draw_on_given_axes():
    figure, (left, right, other) = plt.subplots(1, 3)
    assert [*plots.activations(Z, PAIRS, axes=(left, right))] == [left, right]
    assert left.has_data() and right.has_data() and not other.has_data()
    assert plt.get_fignums() == [figure.number]


def test_activations_open_one_figure_with_two_axes():
    left, right = plots.activations(Z, PAIRS)
    assert left.figure is right.figure and len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    ("plot", "xlabel", "ylabel"),
    [
        ("curves", "epoch", "loss"),
        ("layers", "layer (1 is next to the input)", "kernel gradient, per sample"),
        ("layer_curves", "epoch", "kernel gradient"),
        ("layer_histograms", "activation", ""),
        ("points", "$x_1$", "$x_2$"),
        ("boundary", "$x_1$", "$x_2$"),
        ("weights", "epoch", "weight − initial weight"),
        ("histogram", "", "count"),
    ],
)
def test_axes_are_labelled(plot, xlabel, ylabel):
    ax = PLOTS[plot]()
    assert (ax.get_xlabel(), ax.get_ylabel()) == (xlabel, ylabel)


@every_plot
def test_title_is_set_on_request(plot):
    assert plot().get_title() == ""
    assert plot(title="What we see").get_title() == "What we see"


# Styles


def test_seven_successive_styles_differ_in_colour_in_line_and_in_marker():
    looks = [plots.style(index) for index in range(7)]
    for key in ("color", "linestyle", "marker"):
        assert len({look[key] for look in looks}) == 7
    assert plots.style(7) == looks[0]


@pytest.mark.parametrize(
    "lines",
    [
        lambda values: plots.curves(values).lines,
        lambda values: plots.layers(values).lines,
        lambda values: plots.activations(np.arange(4), {key: (a, a) for key, a in values.items()})[0].lines,
    ],
    ids=["curves", "layers", "activations"],
)
def test_successive_lines_differ_in_colour_in_line_and_in_marker(lines):
    drawn = lines({str(index): EPOCHS + index for index in range(7)})
    assert len({to_hex(line.get_color()) for line in drawn}) == 7
    assert len({line.get_marker() for line in drawn}) == 7
    assert len({str(line._dash_pattern) for line in drawn}) == 7  # get_linestyle calls all custom dashes "--"


def test_finish_writes_labels_scale_and_legend_only_on_request():
    _, ax = plt.subplots()
    ax.plot([1, 2], label="a line")
    assert plots.finish(ax, legend=False) is ax
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("", "", "", "linear")
    assert ax.get_legend() is None
    plots.finish(ax, "t", "x", "y", log=True)
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("t", "x", "y", "log")
    assert legend_of(ax) == ["a line"]


# Curves and layers


def test_curves_draw_each_array_against_1_2_3():
    ax = plots.curves({"up": -EPOCHS, "down": EPOCHS})
    for line, y in zip(ax.lines, (-EPOCHS, EPOCHS), strict=True):
        np.testing.assert_array_equal(data_of(line), [[1, 2, 3, 4], y])
    assert legend_of(ax) == ["up", "down"] and ax.get_yscale() == "linear" and not ax.collections


def test_curves_draw_against_x_if_given():
    x = np.array([0, 10, 20, 40])
    ax = plots.curves({"one": EPOCHS, "seeds": SEEDS}, x=x, xlabel="step", ylabel="accuracy")
    for line in ax.lines:
        np.testing.assert_array_equal(line.get_xdata(), x)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "accuracy")


@pytest.mark.parametrize("log", [False, True])
def test_curves_of_many_seeds_are_their_median_with_the_10_to_90_percent_band(log):
    ax = plots.curves({"seeds": SEEDS}, log=log)
    ordered = np.sort(SEEDS, axis=1)  # of 21 seeds the quantiles are the 3rd, the 11th and the 19th
    np.testing.assert_allclose(ax.lines[0].get_ydata(), ordered[:, 10])
    np.testing.assert_allclose(band_of(ax.collections[0]), [ordered[:, 2], ordered[:, 18]])
    assert to_hex(ax.collections[0].get_facecolor()[0]) == to_hex(ax.lines[0].get_color())
    assert ax.get_yscale() == ("log" if log else "linear")


def test_nan_of_one_seed_does_not_hide_the_others():
    seeds = SEEDS.copy()
    seeds[2, 0] = np.nan
    assert plots.curves({"seeds": seeds}).lines[0].get_ydata()[2] == pytest.approx(np.median(seeds[2, 1:]))


@pytest.mark.parametrize("log", [False, True])
def test_a_point_where_all_seeds_are_nan_is_left_out_without_a_warning(log):
    seeds = SEEDS.copy()
    seeds[2] = np.nan
    drawn = plots.curves({"seeds": seeds}, log=log).lines[0].get_ydata()
    assert np.isnan(drawn).tolist() == [False, False, True, False]


def test_zeros_are_not_drawn_on_a_log_axis():
    values = np.array([1.0, 0.0, 1e-3, 0.0])
    ax = plots.curves({"a": values}, log=True)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1, np.nan, 1e-3, np.nan])
    assert values[1] == 0  # the caller's array keeps them
    ax.figure.canvas.draw()


def test_zeros_are_drawn_on_a_linear_axis():
    np.testing.assert_array_equal(plots.curves({"a": [1.0, 0.0]}).lines[0].get_ydata(), [1, 0])


@pytest.mark.parametrize("values", [np.zeros(4), np.zeros((4, 5))], ids=["one run", "seeds"])
def test_nothing_but_zeros_on_a_log_axis_gives_empty_axes_without_a_warning(values):
    ax = plots.curves({"vanished": values}, log=True)
    assert np.isnan(ax.lines[0].get_ydata()).all()
    ax.figure.canvas.draw()


def test_a_point_where_all_seeds_are_zero_is_left_out_of_a_log_axis_without_a_warning():
    seeds = SEEDS.copy()
    seeds[1] = 0
    drawn = plots.curves({"seeds": seeds}, log=True).lines[0].get_ydata()
    assert np.isnan(drawn).tolist() == [False, True, False, False]


def test_seeds_that_vanished_count_in_the_median_of_a_log_axis():
    seeds = np.array([[1.0, 2, 3, 4, 5], [0, 0, 0, 1e-9, 1e-8], [0, 0, 1e-9, 1e-8, 1e-7]])
    np.testing.assert_array_equal(plots.curves({"seeds": seeds}, log=True).lines[0].get_ydata(), [3, np.nan, 1e-9])


def test_layers_draw_seeds_by_rows_on_a_log_axis():
    ax = plots.layers({"one net": EPOCHS, "seeds": SEEDS.T})
    np.testing.assert_array_equal(data_of(ax.lines[0]), [[1, 2, 3, 4], EPOCHS])
    np.testing.assert_allclose(data_of(ax.lines[1]), [[1, 2, 3, 4], np.median(SEEDS, axis=1)])
    assert ax.get_yscale() == "log" and legend_of(ax) == ["one net", "seeds"]


def test_layer_ticks_are_whole_numbers():
    ax = plots.layers({"a": EPOCHS})
    ticks = ax.get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))


def test_layers_take_another_label():
    assert plots.layers({"a": EPOCHS}, ylabel="delta").get_ylabel() == "delta"


# Points and boundary


@pytest.mark.parametrize("column", [False, True])
def test_points_are_two_classes_of_different_colour_and_marker(column):
    ax = plots.points(POINTS, LABELS[:, None] if column else LABELS)
    for label, drawn in enumerate(ax.collections):
        np.testing.assert_array_equal(drawn.get_offsets(), POINTS[label == LABELS])
    one, other = ax.collections
    assert to_hex(one.get_facecolor()[0]) != to_hex(other.get_facecolor()[0])
    assert len(one.get_paths()[0].vertices) != len(other.get_paths()[0].vertices)
    assert legend_of(ax) == ["class 0", "class 1"] and ax.get_aspect() == 1


def test_boundary_line_is_where_the_model_gives_one_half():
    ax = plots.boundary(left_of_centre, POINTS, LABELS)
    shades, line = (drawn for drawn in ax.collections if hasattr(drawn, "levels"))
    assert line.levels.tolist() == [0.5] and len(shades.levels) == 11
    np.testing.assert_allclose(line.get_paths()[0].vertices[:, 0], 0, atol=1e-3)
    (low, high), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert ((low, bottom) < POINTS.min(axis=0)).all() and ((high, top) > POINTS.max(axis=0)).all()


def test_boundary_shades_are_the_models_probabilities():
    ax = plots.boundary(left_of_centre, POINTS, LABELS)
    shades = next(drawn for drawn in ax.collections if hasattr(drawn, "levels"))
    left, right = POINTS.min(axis=0)[0] - 0.3, POINTS.max(axis=0)[0] + 0.3
    assert shades.zmin == pytest.approx(left_of_centre(np.array([[right]])).item())
    assert shades.zmax == pytest.approx(left_of_centre(np.array([[left]])).item())


def test_points_and_boundary_have_no_legend_if_it_would_hide_the_line():
    assert plots.points(POINTS, LABELS, legend=False).get_legend() is None
    assert plots.boundary(left_of_centre, POINTS, LABELS, legend=False).get_legend() is None
    assert legend_of(plots.boundary(left_of_centre, POINTS, LABELS)) == ["class 0", "class 1"]


@pytest.mark.parametrize("constant", [0.2, 0.7])
def test_model_that_never_decides_has_no_boundary_line(constant):
    ax = plots.boundary(lambda x: np.full((len(x), 1), constant), POINTS, LABELS)
    assert [len(drawn.levels) for drawn in ax.collections if hasattr(drawn, "levels")] == [11]
    ax.figure.canvas.draw()


# Weights, activations, histogram, reference


@pytest.mark.parametrize("inputs", [1, 2, 8])
def test_weights_are_drawn_as_their_distance_from_the_first_snapshot(inputs):
    snapshots = RANDOM.normal(size=(5, inputs, 3))
    ax = plots.weights(snapshots)
    expected = (snapshots - snapshots[0]).transpose(1, 2, 0).reshape(-1, 5)
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines], expected)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(5))
    assert legend_of(ax) == [f"weights of input {index + 1}" for index in range(inputs)]


def test_weights_of_one_input_share_a_style_which_differs_from_the_others():
    lines = plots.weights(SNAPSHOTS).lines
    looks = [(line.get_color(), line.get_linestyle()) for line in lines]
    assert looks[0] == looks[1] == looks[2] and looks[3] == looks[4] == looks[5]
    assert looks[0][0] != looks[3][0] and looks[0][1] != looks[3][1]


def test_activations_stand_left_and_their_derivatives_right():
    left, right = plots.activations(Z, PAIRS)
    for place, ax in enumerate((left, right)):
        for line, pair in zip(ax.lines, PAIRS.values(), strict=True):
            np.testing.assert_array_equal(data_of(line), [Z, pair[place]])
    assert [ax.get_title() for ax in (left, right)] == ["activation φ(z)", "derivative φ′(z)"]
    assert [ax.get_xlabel() for ax in (left, right)] == ["z", "z"]
    assert legend_of(left) == ["tanh", "relu"] and right.get_legend() is None


def test_histogram_counts_powers_of_ten_and_marks_the_median():
    values = np.array([1e-9, 1e-6, 1e-6, 1e-5, 1e-3])
    ax = plots.histogram(values, title="t", xlabel="gradient")
    (bars,) = (drawn for drawn in ax.containers if isinstance(drawn, BarContainer))
    assert {bar.get_x(): bar.get_height() for bar in bars}[-9] == 1
    assert sum(bar.get_height() for bar in bars) == 5 and max(bar.get_height() for bar in bars) == 2
    assert ax.lines[0].get_xdata() == pytest.approx([-6, -6])
    assert legend_of(ax) == ["median $10^{-6.0}$"] and ax.get_xlabel() == "gradient"


def test_histogram_ticks_are_powers_of_ten():
    ax = plots.histogram(np.array([1e-4, 1e-2]))
    assert ax.xaxis.get_major_formatter()(-3, 0).replace("−", "-") == "$10^{-3}$"


def test_reference_is_a_named_horizontal_line_behind_the_data():
    _, ax = plt.subplots()
    (data,) = ax.plot([1, 2])
    assert plots.reference(ax, 0.7, "chance") is ax
    line = ax.lines[-1]
    assert list(line.get_ydata()) == [0.7, 0.7] and line.get_zorder() < data.get_zorder()
    assert legend_of(ax) == ["chance"]
    assert line.is_dashed()


# The prediction beside the measurement


def test_prediction_draws_the_measured_values_relative_to_the_last_layer():
    measured = np.array([[1.0, 2.0, 4.0], [3.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    predicted = np.array([0.5, 0.8, 1.0])
    ax = plots.prediction(measured, predicted, [predicted / 2, predicted * 2])
    dashed, line = ax.get_lines()
    np.testing.assert_array_equal(data_of(dashed)[1], predicted)
    np.testing.assert_allclose(data_of(line)[1], np.median(measured / measured[:, -1:], axis=0))
    np.testing.assert_allclose(band_of(ax.collections[0]), [predicted / 2, predicted * 2])
    assert ax.get_yscale() == "log" and len(legend_of(ax)) == 3


# The remedies

REMEDIES = [  # remedy, kind, hidden layers, solved
    {"remedy": remedy, "kind": kind, "hidden_layers": depth, "solved": solved}
    for remedy, kind, depth, solved in [
        ("none", "nothing", "10", "0"),
        ("tanh", "activation", "10", "32"),
        ("ReLU", "activation", "10", "30"),
        ("2 layers", "nothing", "2", "31"),
        ("ReLU", "activation", "30", "7"),
        ("none", "nothing", "30", "0"),
    ]
]


def bars_of(ax):
    """Return from height to length, written number and colour of every bar."""
    (bars,) = (drawn for drawn in ax.containers if isinstance(drawn, BarContainer))
    middles = [bar.get_y() + bar.get_height() / 2 for bar in bars]
    looks = [
        (bar.get_width(), text.get_text(), to_hex(bar.get_facecolor()))
        for bar, text in zip(bars, ax.texts, strict=True)
    ]
    return dict(zip(np.round(middles, 9), looks, strict=True))


def ticks_of(ax):
    return {text.get_text(): text.get_position()[1] for text in ax.get_yticklabels()}


def test_remedies_have_a_panel_per_depth_and_a_bar_with_its_number_per_remedy():
    axes = plots.remedies(REMEDIES, title="t")
    assert [ax.get_title() for ax in axes] == ["2 hidden layers", "10 hidden layers", "30 hidden layers"]
    at = ticks_of(axes[0])
    nothing, activation = plots.style(0)["color"].lower(), plots.style(1)["color"].lower()
    assert bars_of(axes[0]) == {at["2 layers"]: (31, "31", nothing)}
    assert bars_of(axes[1]) == {
        at["none"]: (0, "0", nothing),
        at["tanh"]: (32, "32", activation),
        at["ReLU"]: (30, "30", activation),
    }
    assert bars_of(axes[2]) == {at["none"]: (0, "0", nothing), at["ReLU"]: (7, "7", activation)}
    assert axes[0].figure.get_suptitle() == "t" and {ax.get_xlabel() for ax in axes} == {"seeds solved, of 32"}
    assert [*axes[2].get_yticks()] == [*axes[0].get_yticks()] and len({ax.get_xlim() for ax in axes}) == 1


def test_remedies_keep_their_order_below_the_name_of_their_kind():
    labels = sorted(plots.remedies(REMEDIES)[0].get_yticklabels(), key=lambda text: -text.get_position()[1])
    expected = ["nothing", "none", "2 layers", "activation", "tanh", "ReLU"]
    assert [text.get_text() for text in labels] == expected
    assert [text.get_text() for text in labels if text.get_weight() == "bold"] == ["nothing", "activation"]
    assert [text.get_position()[1] for text in labels] == [1, 0, -1, -2, -3, -4]


def test_remedies_without_kinds_have_no_headings():
    axes = plots.remedies([{key: text for key, text in row.items() if key != "kind"} for row in REMEDIES])
    assert ticks_of(axes[0]) == {"none": 0, "tanh": -1, "ReLU": -2, "2 layers": -3}


# The baselines of the moons


def test_baselines_are_two_named_lines_of_different_dashes():
    _, ax = plt.subplots()
    assert plots.baselines(ax) is ax
    assert [line.get_ydata()[0] for line in ax.lines] == [np.log(2), 0.27]
    assert legend_of(ax) == ["fifty-fifty: ln 2", "a straight line: 0.27"]
    assert len({str(line._dash_pattern) for line in ax.lines}) == 2 and all(line.is_dashed() for line in ax.lines)


def test_no_straight_boundary_has_a_lower_loss_than_the_baseline_says():
    linear_model, metrics = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.metrics")
    moons = vgp.load_moons()
    straight = linear_model.LogisticRegression(C=1e8, tol=1e-8).fit(moons.x_train, moons.y_train)
    loss = metrics.log_loss(moons.y_train, straight.predict_proba(moons.x_train))
    assert plots._BASELINES[f"a straight line: {loss:.2f}"][0] == round(loss, 2)


# Panels


@pytest.mark.parametrize("columns", [1, 3])
def test_panels_are_a_row_of_axes_of_the_given_size(columns):
    row = plots.panels(columns, width=2.0, height=2.5)
    assert isinstance(row, np.ndarray) and row.shape == (columns,)
    assert row[0].figure.get_size_inches().tolist() == [2.0 * columns, 2.5] and len(plt.get_fignums()) == 1
    assert len({ax.get_subplotspec().rowspan.start for ax in row}) == 1
    assert row[0].figure.get_layout_engine() is not None


@pytest.mark.parametrize("shared", ["x", "y"])
def test_panels_share_an_axis_only_on_request(shared):
    for share in (False, True):
        left, right = plots.panels(2, **{f"share{shared}": share})
        for axis in "xy":
            joined = getattr(left, f"get_shared_{axis}_axes")().joined(left, right)
            assert joined == (share and axis == shared)


# Layers while they learn, and their histograms


def brightness(color):
    return np.dot(plt.matplotlib.colors.to_rgb(color), [0.299, 0.587, 0.114])


def test_layer_curves_draw_every_layer_darker_than_the_one_before():
    values = np.array([[1e-6, 1e-3, 1.0], [1e-5, 1e-3, 0.5]])
    ax = plots.layer_curves(values, x=[0, 10], ylabel="delta")
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines], values.T)
    np.testing.assert_array_equal([line.get_xdata() for line in ax.lines], [[0, 10]] * 3)
    light = [brightness(line.get_color()) for line in ax.lines]
    assert light[0] - 0.2 > light[1] > light[2] + 0.2 and light[0] < 0.8  # readable in grey, and on white
    assert (ax.get_yscale(), ax.get_ylabel(), ax.get_legend()) == ("log", "delta", None)
    assert plots.layer_curves(values).lines[0].get_xdata().tolist() == [1, 2]


def labelled(ax):
    return {text.get_text(): text.xy for text in ax.texts}


def test_layer_curves_name_the_first_and_the_last_layer_at_the_ends_of_their_lines():
    values = np.array([[1e-6, 1e-3, 1.0], [1e-5, 1e-3, 0.5], [0, 1e-3, np.nan], [0, 1e-3, np.inf]])
    assert labelled(plots.layer_curves(values)) == {"layer 1": (2, 1e-5), "layer 3": (2, 0.5)}
    assert [*labelled(plots.layer_curves(values, names=["a", "b", "c"]))] == ["a", "c"]
    assert labelled(plots.layer_curves(values[:2, :1])) == {"layer 1": (2, 1e-5)}


def test_a_layer_that_never_has_a_gradient_has_no_line_and_no_name():
    ax = plots.layer_curves([[0, 1e-3], [0, 1e-2]])
    assert np.isnan(ax.lines[0].get_ydata()).all() and [*labelled(ax)] == ["layer 2"]


def ridge(ax):
    return [patch.get_data() for patch in ax.patches if isinstance(patch, StepPatch)]


def test_layer_histograms_stand_above_each_other_input_side_at_the_top():
    values = [RANDOM.normal(size=(40, 5)), RANDOM.normal(size=300) * 3]
    ax = plots.layer_histograms(values, title="t")
    names = dict(zip([text.get_text() for text in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert names == {"layer 1": 1, "layer 2": 0}
    for (heights, edges, base), row, floor in zip(ridge(ax), values, (1, 0), strict=True):
        counts = np.histogram(row, edges)[0]
        assert base == floor and counts.sum() == np.size(row)
        np.testing.assert_allclose((heights - base) / 0.85, counts / counts.max())
    assert brightness(ax.patches[0].get_facecolor()[:3]) > brightness(ax.patches[1].get_facecolor()[:3]) + 0.3
    assert not ax.texts


def test_layer_histograms_of_sizes_are_of_powers_of_ten_and_tell_the_zeros():
    ax = plots.layer_histograms([[-1e-3, 1e-2, 0], [1e-5, np.nan, np.inf]], log=True)
    for (heights, edges, base), powers in zip(ridge(ax), ([-3, -2], [-5]), strict=True):
        np.testing.assert_allclose((heights - base) / 0.85, np.histogram(powers, edges)[0])
    assert [(text.get_text(), text.get_position()[1]) for text in ax.texts] == [("33 % zeros", 1)]
    assert ax.xaxis.get_major_formatter()(-3, 0).replace("−", "-") == "$10^{-3}$"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["layer 2", "layer 1"]


@pytest.mark.parametrize("log", [False, True])
def test_histograms_of_layers_that_are_dead_are_drawn_without_a_warning(log):
    plots.layer_histograms([np.zeros(4), np.zeros(4)], log=log).figure.canvas.draw()


# The network


def dots_of(ax):
    """Return inputs, hatched units and coloured units."""
    return [drawn for drawn in ax.collections if not isinstance(drawn, LineCollection)]


def test_network_has_a_column_of_circles_per_layer_coloured_by_its_value():
    values = np.array([1e-6, 2e-4, 0.3])
    ax = plots.network(values, inputs=3, units=4)
    inputs, hatched, dots = dots_of(ax)
    assert inputs.get_offsets()[:, 0].tolist() == [0, 0, 0] and len(hatched.get_offsets()) == 0
    shown = np.isfinite(dots.get_array().filled(np.nan))
    np.testing.assert_array_equal(dots.get_array()[shown], [1e-6] * 4 + [2e-4] * 4 + [0.3])
    np.testing.assert_array_equal(dots.get_offsets()[shown, 0], [1] * 4 + [2] * 4 + [3])
    assert dots.get_offsets().mask[~shown].all()  # what has no value is not drawn again
    (edges,) = (drawn for drawn in ax.collections if isinstance(drawn, LineCollection))
    assert len(edges.get_segments()) == 3 * 4 + 4 * 4 + 4
    assert [text.get_text() for text in ax.get_xticklabels()] == ["inputs", "1", "2", "output"]


def test_network_tells_its_values_in_powers_of_ten_readable_in_grey():
    ax = plots.network([3e-6, 2e-4, 0.3])
    *_, dots = dots_of(ax)
    assert isinstance(dots.norm, LogNorm) and (dots.norm.vmin, dots.norm.vmax) == pytest.approx((1e-6, 1))
    light = [brightness(dots.cmap(dots.norm(value))) for value in (3e-6, 2e-4, 0.3)]
    assert light[0] + 0.2 < light[1] < light[2] - 0.2
    bar = ax.figure.axes[1]
    ax.figure.canvas.draw()
    assert "$\\mathdefault{10^{-6}}$" in [text.get_text() for text in bar.get_yticklabels()]
    assert len(bar.yaxis.get_minorticklocs()) == 0
    assert bar.get_ylabel() == "delta, per sample"
    assert {text.get_text(): text.get_position()[0] for text in ax.texts} == {"3e-6": 1, "0.0002": 2, "0.3": 3}


def test_network_hatches_layers_without_a_value_and_says_so():
    ax = plots.network([0, 1e-3, np.nan, 1], units=3)
    _, hatched, _ = dots_of(ax)
    np.testing.assert_array_equal(np.asarray(hatched.get_offsets())[:, 0], [1] * 3 + [3] * 3)
    assert hatched.get_hatch() and to_hex(hatched.get_facecolor()[0]) == "#ffffff"
    assert ax.figure.axes[1].get_ylabel() == "delta, per sample\n(hatched: 0, nan)"


@pytest.mark.parametrize("units", [1, 3, 16])
def test_network_writes_its_values_below_the_circles(units):
    ax = plots.network(LADDER, units=units)
    ax.figure.canvas.draw()
    dots = dots_of(ax)[-1]
    radius = np.sqrt(dots.get_sizes()[0]) / 2 * ax.figure.dpi / 72
    lowest = ax.transData.transform(dots.get_offsets())[:, 1].min() - radius
    assert all(text.get_window_extent().y1 < lowest for text in ax.texts)


@pytest.mark.parametrize("values", [[0, 0], [np.nan], [1, 1], [1e-38, 1e38]])
def test_network_of_odd_values_is_drawn_without_a_warning(values):
    ax = plots.network(values, inputs=1, units=1)
    ax.figure.canvas.draw()
    norm = dots_of(ax)[-1].norm
    assert norm.vmin < norm.vmax and {f"{end:e}"[:5] for end in (norm.vmin, norm.vmax)} == {"1.000"}


# Drawings


def arrows_of(ax):
    """Return start and end of every arrow."""
    return [(*text.xyann, *text.xy) for text in ax.texts if isinstance(text, Annotation)]


def words_of(ax):
    return {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}


def circles_of(ax):
    return [patch.center for patch in ax.patches if isinstance(patch, Circle)]


def test_chain_has_an_arrow_on_and_an_arrow_back_between_neighbours():
    ax = plots.chain(["x", "z", "L"], ["times w", "loss"], ["w", "p - y"])
    x, z, loss = circles_of(ax)
    assert x[0] < z[0] < loss[0] and {x[1], z[1], loss[1]} == {x[1]}
    assert arrows_of(ax) == [(*x, *z), (*z, *x), (*z, *loss), (*loss, *z)]
    words = words_of(ax)
    assert [words[name] for name in ("x", "z", "L")] == [x, z, loss]
    for name, (left, right), above in [
        ("times w", (x, z), True),
        ("loss", (z, loss), True),
        ("w", (x, z), False),
        ("p - y", (z, loss), False),
    ]:
        assert words[name][0] == pytest.approx((left[0] + right[0]) / 2)
        assert (words[name][1] - x[1]) * (1 if above else -1) > 0.32  # the height of the arrow's bow
    there, back = [text.arrow_patch for text in ax.texts if isinstance(text, Annotation)][:2]
    assert {there.get_linestyle()} <= {"-", "solid"} and {back.get_linestyle()} <= {"--", "dashed"}


def test_unrolled_goes_on_in_time_and_back_with_the_factor():
    ax = plots.unrolled(3)
    circles = circles_of(ax)
    words = words_of(ax)
    states, inputs, end = [words[f"$h_{t}$"] for t in (1, 2, 3)], [words[f"$x_{t}$"] for t in (1, 2, 3)], words["$L$"]
    assert sorted(circles) == sorted([*states, *inputs, end])
    assert all(x[0] == h[0] and x[1] < h[1] for x, h in zip(inputs, states, strict=True))
    ways = list(itertools.pairwise([*states, end]))
    expected = [(*x, *h) for x, h in zip(inputs, states, strict=True)] + [(*a, *b) for a, b in ways]
    assert sorted(arrows_of(ax)) == sorted(expected + [(*b, *a) for a, b in ways])
    factors = [text for text in ax.texts if text.get_text() == r"$\times\,U^T \varphi'$"]
    between = [(a[0] + b[0]) / 2 for a, b in ways[:-1]]  # the way from the loss to the last state is no step in time
    assert [text.get_position()[0] for text in factors] == pytest.approx(between)
    assert "$h_4$" in words_of(plots.unrolled()) and "$h_5$" not in words_of(plots.unrolled())


@pytest.mark.parametrize("matrix", [[[1.5, 0.8], [0.2, 0.6]], [[1, 1], [0, 1]]])
def test_ellipse_is_the_image_of_the_circle_with_its_singular_values(matrix):
    matrix = np.array(matrix)
    ax = plots.ellipse(matrix)
    circle, image = (np.stack(data_of(line)) for line in ax.lines)
    np.testing.assert_allclose(np.hypot(*circle), 1)
    np.testing.assert_allclose(image, matrix @ circle)
    sizes = np.linalg.svd(matrix, compute_uv=False)
    assert [*words_of(ax)] == [f"{size:.2f}" for size in sizes]
    assert all(np.hypot(*at) > size for at, size in zip(words_of(ax).values(), sizes, strict=True))
    for (*start, x, y), size in zip(arrows_of(ax), sizes, strict=True):
        assert start == [0, 0] and np.hypot(x, y) == pytest.approx(size)
        assert np.linalg.norm(np.linalg.solve(matrix, [x, y])) == pytest.approx(1)  # the tip lies on the ellipse
    assert legend_of(ax) == ["unit circle", "its image"] and ax.get_aspect() == 1
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


CLOUD = np.array([[1.0, 1], [-1, 2], [-2, -1], [2, -0.5], [-3, 1]])  # the last one changes its side


def test_cone_draws_the_points_and_what_relu_leaves_with_the_line_and_its_sides():
    left, right = plots.cone(CLOUD, [1, 0.9])
    for ax, shown, positive in ((left, CLOUD, [0, 1, 3]), (right, np.maximum(CLOUD, 0), [0, 1, 3, 4])):
        plus, minus = (np.asarray(drawn.get_offsets()) for drawn in ax.collections)
        np.testing.assert_array_equal(plus, shown[positive])
        np.testing.assert_array_equal(minus, np.delete(shown, positive, axis=0))
        line = np.stack(data_of(ax.lines[0]), axis=1)
        np.testing.assert_allclose(line @ [1, 0.9], 0, atol=1e-12)
        np.testing.assert_allclose(line.sum(axis=0), 0, atol=1e-12)
        ((*start, x, y),) = arrows_of(ax)
        assert start == [0, 0] and y == pytest.approx(0.9 * x) and x > 0
        assert len(ax.collections[0].get_paths()[0].vertices) != len(ax.collections[1].get_paths()[0].vertices)
    assert left.get_title() == "before: 60 % positive"
    assert right.get_title() == "after ReLU: 80 % positive\n20 % at 0"
    assert left.get_xlim() == right.get_xlim() == left.get_ylim() and left.get_aspect() == 1


def test_clipping_turns_the_gradient_unless_its_whole_norm_is_limited():
    axes = plots.clipping([np.array([4.0]), np.array([1.0])])
    ends = [[tuple(float(number) for number in arrow[2:]) for arrow in arrows_of(ax)] for ax in axes]
    whole = tuple(np.array([4, 1]) / np.sqrt(17))
    assert ends == [[(4, 1), (1, 1)], [(4, 1), (1, 1)], [(4, 1), pytest.approx(whole)]]
    assert [ax.get_title().split("\n") for ax in axes] == [
        ["clipvalue", "turned by 31°"],
        ["clipnorm", "turned by 31°"],
        ["global_clipnorm", "turned by 0°"],
    ]
    assert [type(ax.patches[0]).__name__ for ax in axes] == ["Rectangle", "Rectangle", "Circle"]
    assert legend_of(axes[1]) == ["allowed", "before", "after"]
    assert len({line.get_linestyle() for line in axes[0].lines}) == 2


def test_clipping_leaves_a_small_gradient_and_its_sign():
    for ax in plots.clipping([[-0.6], [0.7]]):
        np.testing.assert_allclose([arrow[2:] for arrow in arrows_of(ax)], [[-0.6, 0.7]] * 2)
    axes = plots.clipping([[-3], [0.4]])
    np.testing.assert_allclose([arrows_of(ax)[1][2:] for ax in axes[:2]], [[-1, 0.4]] * 2)
    assert axes[0].patches[0].get_width() == 2 and axes[2].patches[0].get_radius() == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.layer_curves(EPOCHS), r"values has shape \(4,\); give an array of shape \(points, layers\)"),
        (lambda: plots.layer_curves(SEEDS, x=[1, 2]), r"x has shape \(2,\); give an array of shape \(4\)"),
        (lambda: plots.layer_curves(SEEDS, names=["a"]), "1 names for 21 layers given; give one name per layer"),
        (lambda: plots.layer_histograms([]), "0 names for 0 layers"),
        (lambda: plots.network(SEEDS), r"values has shape \(4, 21\); give an array of shape \(layers\)"),
        (lambda: plots.network([]), r"values has shape \(0,\)"),
        (lambda: plots.network(EPOCHS, units=100), "units is 100; give an integer of at least 1 and at most 16"),
        (lambda: plots.network(EPOCHS, inputs=0), "inputs is 0; give an integer of at least 1"),
        (lambda: plots.panels(5), "columns is 5; give an integer of at least 1 and at most 4"),
        (lambda: plots.unrolled(20), "steps is 20; give an integer of at least 2 and at most 7"),
        (lambda: plots.chain("xzL", "ab", "a"), "3 nodes, 2 forward and 1 backward labels given; give n nodes"),
        (lambda: plots.chain("x", "", ""), "1 nodes, 0 forward and 0 backward labels given; give n nodes"),
        (lambda: plots.ellipse(np.eye(3)), r"matrix has shape \(3, 3\); give an array of shape \(2, 2\)"),
        (lambda: plots.cone(POINTS.T, [1, 0]), r"points has shape \(2, 12\); give an array of shape \(samples, 2\)"),
        (lambda: plots.cone(POINTS, [1, 0, 0]), r"normal has shape \(3,\); give an array of shape \(2\)"),
        (lambda: plots.clipping([[1, 2], [3, 4]]), r"gradients has shape \(4,\); give an array of shape \(2\)"),
    ],
)
def test_what_does_not_fit_is_refused_in_words_before_a_figure_is_opened(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert not plt.get_fignums()


# What is written can be read


def written(figure):
    """Return text and place of all that is written on a figure, without the ticks that it does not show."""
    figure.canvas.draw()
    hidden = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not axis.axes.axison or not low <= tick.get_loc() <= high:
                hidden |= {tick.label1, tick.label2}
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    return [(text.get_text(), text.get_window_extent(), text.get_fontsize()) for text in texts if text not in hidden]


LADDER = 10.0 ** np.linspace(-7, 0, 11)
SIX = ["$x$", "$z_1$", "$a_1$", "$z_2$", "$a_2$", "$L$"]
DRAWN = {
    "chain": lambda: plots.chain(SIX, [r"$\times w_1$", "sigmoid"] * 2 + ["loss"], [r"$\times\sigma'(z_1)$"] * 5, "t"),
    "unrolled": lambda: plots.unrolled(7, title="Seven steps"),
    "network": lambda: plots.network(LADDER, title="Ten layers"),
    "network, deep": lambda: plots.network(10.0 ** np.linspace(-20, 0, 31)),
    "network, dead": lambda: plots.network([0, 0, np.nan, 1e-5, 1], units=2),
    "network, grown": lambda: plots.network(10.0 ** np.linspace(12, 0, 16)),
    "layer_curves": lambda: plots.layer_curves(np.ones((20, 1)) * LADDER, title="Ten layers"),
    "layer_curves, close": lambda: plots.layer_curves(np.ones((20, 3))),
    "layer_histograms": lambda: plots.layer_histograms(RANDOM.normal(size=(30, 50)), title="Thirty layers"),
    "layer_histograms, log": lambda: plots.layer_histograms(np.eye(11), log=True, xlabel="delta"),
    "ellipse": lambda: plots.ellipse([[1.5, 0.8], [0.2, 0.6]], title="stretched"),
    "ellipse, flat": lambda: plots.ellipse([[3, 0], [0, 0]]),
    "ellipse, small": lambda: plots.ellipse(np.eye(2) / 100),
    "cone": lambda: plots.cone(POINTS, [1, -0.5])[0],
    "clipping": lambda: plots.clipping([[4], [1]])[0],
    "clipping, negative": lambda: plots.clipping([[-0.2], [-7]])[0],
    "remedies": lambda: plots.remedies(REMEDIES, title="Remedies")[0],
    "baselines": lambda: plots.baselines(plots.curves({"a": EPOCHS})),
}


@pytest.mark.parametrize("plot", DRAWN.values(), ids=DRAWN)
def test_what_is_written_does_not_overlap_is_not_cut_off_and_is_not_small(plot):
    figure = plot().figure
    texts = written(figure)
    assert len(texts) > 3
    for (one, place, size), (other, elsewhere, _) in itertools.combinations(texts, 2):
        assert not place.padded(-0.5).overlaps(elsewhere), (one, other)
        assert size >= 8, one
    for text, place, _ in texts:
        assert figure.bbox.padded(1).contains(*place.min) and figure.bbox.padded(1).contains(*place.max), text
