import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer

from vgp_lib import plots

RANDOM = np.random.default_rng(0)
EPOCHS = np.array([3.0, 2.0, 0.5, 0.25])
SEEDS = RANDOM.lognormal(size=(4, 21))  # (points, seeds)
POINTS, LABELS = RANDOM.normal(size=(12, 2)), np.arange(12) % 2
SNAPSHOTS = RANDOM.normal(size=(5, 2, 3))
Z = np.linspace(-2, 2, 9)
PAIRS = {"tanh": (np.tanh(Z), 1 - np.tanh(Z) ** 2), "relu": (np.maximum(Z, 0), np.where(Z > 0, 1.0, 0.0))}
REMEDIES = [
    {"remedy": name, "hidden_layers": str(depth), "loss": loss, "loss_p10": loss / 2, "loss_p90": loss * 2}
    for name, depth, loss in [("a", 10, 0.1), ("b", 10, 0.4), ("a", 30, 0.6), ("b", 30, 0.5)]
]


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
    "remedies": lambda **ax: plots.remedies(REMEDIES, **ax),
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
        ("layers", "layer (1 is next to the input)", "kernel gradient, L2 norm"),
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
    assert ax.xaxis.get_major_formatter()(-3, 0) == "$10^{-3}$"


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


def test_remedies_puts_the_best_at_the_top_and_a_band_on_every_loss():
    ax = plots.remedies(REMEDIES)
    # judged by its worst depth: b (0.5) before a (0.6), so b lies higher
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    losses = [data_of(container[0])[0] for container in ax.containers]
    np.testing.assert_array_equal(losses, [[0.1, 0.4], [0.6, 0.5]])
    assert ax.get_xscale() == "log" and len(legend_of(ax)) == 3
