"""The playground in a real browser, from a file, without a network: its numbers against Keras, and its every button.

Page and Keras have identical weights: `_page.build` draws what the page draws. Floating-point sums differ in their
order only, so the tolerances are those of float32.
"""

import contextlib
import pathlib
import re
import urllib.parse

import keras
import live
import numpy as np
import pytest
from helpers import tape_gradients
from offline import offline_page

import vgp_lib as vgp
from vgp_lib.classroom import _page
from vgp_lib.engine._backpropagation import l2_norm
from vgp_lib.engine.theory import kernel_variance

axe_package = pytest.importorskip("axe_playwright_python", reason="the package axe-playwright-python is missing")
AXE = pathlib.Path(axe_package.__file__).parent / "axe.min.js"
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SKETCH = {"views": ["product"]}  # a page with little to do


@pytest.fixture(scope="module")
def engine(browser, tmp_path_factory):
    """A page for its engine's sake."""
    with offline_page(browser) as page:
        page.goto(live.write_page(tmp_path_factory.mktemp("engine"), SKETCH).as_uri())
        yield page
        assert page.complaints == []


# The numbers. Each check is a function of a page, for it is tried on broken pages, too.


def distance(ours, theirs):
    """The length of the difference of two arrays; where the second is not finite, the first must be the same."""
    ours, theirs = (np.ravel(np.asarray(values, "float64")) for values in (ours, theirs))
    assert ours.shape == theirs.shape
    finite = np.isfinite(theirs)
    np.testing.assert_array_equal(ours[~finite], theirs[~finite])
    return l2_norm(ours[finite] - theirs[finite])


MEASURE = """setting => {
    const {engine} = VGP, {x, y, n} = engine.data[setting.data], net = engine.build(setting, setting.seed);
    const weights = net.layers.map(layer => Array.from(layer.kernel)), report = engine.inspect(net, {x, y, n});
    const answer = Array.from(engine.forward(net, x, n).subarray(0, n), z => 1 / (1 + Math.exp(-z)));
    const gradients = engine.gradients(net, engine.backward(net, y, n)).map(values => Array.from(values));
    return {weights, report, answer, gradients, loss: engine.score(engine.forward(net, x, n), y, n)};
}"""


def check_measured(page, setting):
    """Weights, forward and backward pass of a net, on the whole data."""
    found, model = page.evaluate(MEASURE, setting), _page.build(**setting)
    x, y = live.data(setting["data"])
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for ours, layer in zip(found["weights"], dense, strict=True):
        np.testing.assert_allclose(ours, np.ravel(layer.kernel), rtol=1e-6, atol=1e-7 * setting["scale"])
    answer = np.ravel(model(x, training=True))
    np.testing.assert_allclose(found["answer"], answer, rtol=1e-5, atol=1e-6)
    report = vgp.inspect_layers(model, x, y)
    for name in ("delta_rms", "kernel_gradient_rms"):
        np.testing.assert_allclose(found["report"][name], getattr(report, name), rtol=1e-5, err_msg=name)
    hidden = slice(0, -1)  # the page shows neither spread nor dead units of the output layer
    spread = found["report"]["sample_spread"][hidden]  # of activations near 1, which float32 rounds at 6e-8
    np.testing.assert_allclose(spread, report.sample_spread[hidden], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found["report"]["dead"][hidden], report.dead[hidden], atol=1e-12)
    gradients = tape_gradients(model, model.trainable_variables, x, y)
    for ours, theirs, variable in zip(found["gradients"], gradients, model.trainable_variables, strict=True):
        own = report.kernel_gradient_rms[report.names.index(variable.path.split("/")[0].split("_norm")[0])]
        # The samples' parts cancel each other in part, their rounding errors do not.
        assert distance(ours, theirs) <= 1e-5 * l2_norm(theirs) + 1e-6 * own, variable.path
    assert found["loss"]["accuracy"] == pytest.approx(np.mean((answer > 0.5) == (y > 0.5)), abs=1e-12)
    loss = float(np.mean(keras.losses.binary_crossentropy(y[:, None], model(x, training=True))))
    assert found["loss"]["loss"] == pytest.approx(loss, rel=1e-5)


def measured_settings():
    """All activations with and without normalization and skips; over these, the other sliders in turn."""
    settings = []
    for index, activation in enumerate(live.VALUES["activation"]):
        for kind, (normalization, residual) in enumerate([(False, False), (True, False), (False, True), (True, True)]):
            initializer = live.VALUES["kernel_initializer"][(index + kind) % 5]
            setting = live.FIRST | {"activation": activation, "kernel_initializer": initializer, "units": 7 + kind}
            setting |= {"hidden_layers": 1 + (index + kind) % 6, "seed": index, "data": ["moons", "spirals"][index % 2]}
            setting["scale"] = 20 if initializer == "random_normal" else [1, 0.5, 1.4][index % 3]
            settings.append(setting | {"batch_normalization": normalization, "residual": residual})
    deep = {"hidden_layers": 30, "activation": "relu", "kernel_initializer": "he_normal"}
    wide = {"hidden_layers": 3, "units": 50, "activation": "tanh", "kernel_initializer": "orthogonal"}
    return [*settings, live.FIRST, live.FIRST | deep, live.FIRST | wide]


@pytest.mark.parametrize("setting", measured_settings(), ids=lambda setting: describe(setting))
def test_forward_delta_and_gradients_are_those_of_keras(engine, setting):
    check_measured(engine, setting)


def describe(setting):
    kind = "".join(sign for name, sign in (("batch_normalization", "-bn"), ("residual", "-skips")) if setting[name])
    return f"{setting['hidden_layers']}-{setting['activation']}-{setting['kernel_initializer']}{kind}"


TRAIN = """([setting, batches]) => {
    const {engine} = VGP, {x, y} = engine.data[setting.data], net = engine.build(setting, setting.seed);
    const optimizer = engine.makeOptimizer(setting.optimizer, setting.learning_rate);
    for (let step = 0; step < 10; step++) {
        const from = 32 * (step % batches), rows = [from, from + 32];
        engine.step(net, optimizer, x.subarray(2 * rows[0], 2 * rows[1]), y.subarray(...rows), 32);
    }
    return net.layers.flatMap(({kernel, bias, gamma, beta, mean, variance}) =>
        [kernel, bias, gamma, beta, mean, variance].filter(Boolean).map(values => Array.from(values)));
}"""


def check_trained(page, setting):
    """Ten steps on the same batches as Keras's `fit`: how far every array has come, moving averages included."""
    model, (x, y) = _page.build(**setting), live.data(setting["data"])
    before = model.get_weights()
    model.compile(live.optimizer(setting), "binary_crossentropy")
    model.fit(x[:160], y[:160], batch_size=32, epochs=2, shuffle=False, verbose=0)
    ours = page.evaluate(TRAIN, [setting, 5])
    for values, old, new, variable in zip(ours, before, model.get_weights(), model.weights, strict=True):
        moved = l2_norm(new - old)
        rounding = 1e-7 * l2_norm(new)  # of ten additions in float32
        assert distance(values, new) <= 1e-4 * moved + rounding, (variable.path, distance(values, new), moved)


@pytest.mark.parametrize("kind", ["plain", "normalized", "deep"])
@pytest.mark.parametrize("optimizer", live.VALUES["optimizer"])
def test_ten_steps_are_those_of_keras(engine, optimizer, kind):
    setting = live.FIRST | {"optimizer": optimizer, "learning_rate": 0.1 if optimizer == "SGD" else 0.003, "seed": 2}
    if kind != "deep":  # ten sigmoid layers, whose gradients are so small that an optimizer's epsilon shows
        setting |= {"hidden_layers": 2, "activation": "tanh", "kernel_initializer": "lecun_normal"}
    check_trained(engine, setting | {"batch_normalization": kind == "normalized"})


@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop"])
def test_out_of_float32_s_range_an_optimizer_goes_as_keras_s(engine, optimizer):
    """The square of a gradient of 1e20 is infinite there; what follows is a verdict's business."""
    gradients = np.array([1e20, -3e15, 1e-30, 0.5], "float32")
    variable, theirs = keras.Variable(np.ones(4, "float32")), getattr(keras.optimizers, optimizer)(0.3)
    with np.errstate(all="ignore"):
        for _ in range(3):
            theirs.apply([keras.ops.convert_to_tensor(gradients)], [variable])
    ours = engine.evaluate(
        """([name, found]) => {
            const optimizer = VGP.engine.makeOptimizer(name, 0.3), weights = new Float32Array(4).fill(1);
            for (let step = 0; step < 3; step++) optimizer.step([weights], [Float32Array.from(found)]);
            return Array.from(weights);
        }""",
        [optimizer, gradients.tolist()],
    )
    np.testing.assert_allclose(ours, variable.numpy(), rtol=1e-4)


UPDATES = """setting => {
    const {engine} = VGP, net = engine.build(setting, setting.seed);
    engine.inspect(net, engine.data[setting.data]);
    return engine.updateRatios(net, setting, engine.data[setting.data]);
}"""


@pytest.mark.parametrize("optimizer", live.VALUES["optimizer"])
@pytest.mark.parametrize("kind", [{}, {"activation": "relu", "batch_normalization": True, "residual": True}])
def test_update_ratios_are_those_of_the_library(engine, optimizer, kind):
    setting = live.FIRST | {"hidden_layers": 6, "optimizer": optimizer, "learning_rate": 0.01, "data": "spirals"} | kind
    x, y = live.data("spirals")
    expected = vgp.update_ratios(_page.build(**setting), x, y, live.optimizer(setting))
    np.testing.assert_allclose(engine.evaluate(UPDATES, setting), expected, rtol=1e-4)


@pytest.mark.parametrize(("gain", "seed"), [(1, 0), (0.4, 3), (2.5, 7)])
def test_the_gradient_by_lag_is_that_of_the_library(engine, gain, seed):
    ours = engine.evaluate("([gain, seed]) => VGP.engine.recurrent(gain, seed, VGP_CONSTANTS.sequences)", [gain, seed])
    x, y, *_ = _page.load()["sequences"]
    model = vgp.build_rnn()
    cell, output = model.get_layer("recurrent").cell, model.get_layer("output")
    cell.kernel.assign(_page.draw("glorot_uniform", 1, (1, 10), seed, 0))
    cell.recurrent_kernel.assign(_page.draw("orthogonal", gain, (10, 10), seed, 1))
    output.kernel.assign(_page.draw("glorot_uniform", 1, (10, 1), seed, 2))
    np.testing.assert_allclose(ours, vgp.gradient_by_lag(model, x, y), rtol=1e-4)  # chaos from a gain of 1.5 on


def predicted_settings():
    settings, depths = [], [1, 2, 5, 10, 20, 40]
    for index, activation in enumerate(live.VALUES["activation"]):
        for kind, initializer in enumerate(live.VALUES["kernel_initializer"]):
            net = {"activation": activation, "kernel_initializer": initializer, "scale": [1, 0.3, 2, 0.7][kind % 4]}
            net["scale"] *= 20 if initializer == "random_normal" else 1
            net |= {"hidden_layers": depths[(index + kind) % 6], "units": [10, 2, 50, 7][(index + 2 * kind) % 4]}
            ways = {"batch_normalization": kind % 2 == 1, "residual": (index + kind // 2) % 2 == 1}
            settings.append(live.FIRST | net | ways | {"data": ["moons", "spirals"][kind % 2]})
    return settings


def test_the_mean_field_line_is_that_of_the_library(engine):
    for setting in predicted_settings():
        x, _ = live.data(setting["data"])
        kernel = _page.initializer(setting["kernel_initializer"], setting["scale"])
        net = {name: setting[name] for name in ("activation", "batch_normalization", "residual")}
        widths = [2] + [setting["units"]] * setting["hidden_layers"]
        expected = vgp.predict_profile(kernel_initializer=kernel, widths=widths, x=x, **net)
        ours = engine.evaluate("setting => VGP.engine.predict(setting, VGP.engine.data[setting.data])", setting)
        for name in ("delta_rms", "kernel_gradient_rms"):
            np.testing.assert_allclose(ours[name], getattr(expected, name), rtol=1e-6, err_msg=f"{name}: {setting}")


FEW = [
    live.FIRST | {"seed": 5, **changes}
    for changes in (
        {"hidden_layers": 5},
        {"hidden_layers": 6, "units": 2, "activation": "relu", "learning_rate": 3.0},
        {"hidden_layers": 4, "activation": "relu", "kernel_initializer": "lecun_normal", "scale": 18, "residual": True},
        {"hidden_layers": 1, "units": 8, "activation": "leaky_relu", "learning_rate": 1.0},
        {"hidden_layers": 2, "activation": "tanh", "kernel_initializer": "orthogonal", "optimizer": "Adam"},
        {"hidden_layers": 3, "activation": "gelu", "scale": 10, "batch_normalization": True, "data": "spirals"},
        {"hidden_layers": 2, "activation": "elu", "optimizer": "RMSprop", "learning_rate": 0.0001, "data": "spirals"},
        {"hidden_layers": 4, "activation": "selu", "residual": True, "optimizer": "Adam", "learning_rate": 0.01},
    )
]


def check_verdict(page, setting):
    """The whole verdict, but for a number that Python estimates and the page computes."""
    (ours,) = page.evaluate(live.VERDICTS, [setting])
    assert live.without_shuffled(ours) == live.without_shuffled(live.diagnose(setting))


def test_verdicts_are_those_of_the_library(engine):
    """A few whose rehearsal in Keras does not take long; hundreds are compared by tests/evidence."""
    for setting in FEW:
        check_verdict(engine, setting)
    words = {found["verdict"] for found in engine.evaluate(live.VERDICTS, FEW)}
    assert words == {"healthy", "vanishing", "exploding", "dead"}


# What a page with a fault would show: the checks above must see it.

NORMALIZED = live.FIRST | {"hidden_layers": 2, "batch_normalization": True}
SMALL = live.FIRST | {"hidden_layers": 3, "activation": "tanh", "units": 4}
FAULTS = {
    "slope of an activation": ("(z, a) => a * fround(1 - a)]", "(z, a) => a * fround(1 - a * a)]"),
    "gradient of a bias": ("bias[j] += delta[d]", "bias[j] += 2 * delta[d]"),
    "Adam's epsilon": ('"epsilon":1e-07', '"epsilon":1e-08'),
    "momentum of the moving average": ('"momentum":0.99', '"momentum":0.9'),
    "a threshold": ('"faint":0.01', '"faint":0.5'),
}
CHECKS = {
    "slope of an activation": (check_measured, live.FIRST),
    "gradient of a bias": (check_measured, SMALL),
    "Adam's epsilon": (check_trained, live.FIRST | {"optimizer": "Adam", "learning_rate": 0.003}),
    "momentum of the moving average": (check_trained, NORMALIZED),
    "a threshold": (check_verdict, live.FIRST | {"hidden_layers": 1, "learning_rate": 0.0001}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_page_is_seen(browser, tmp_path, fault):
    old, new = FAULTS[fault]
    check, setting = CHECKS[fault]
    script = _page.script()
    assert old in script
    for text, sound in ((script, True), (script.replace(old, new), False)):
        with offline_page(browser) as page:
            page.goto(live.write_page(tmp_path, SKETCH, script=text).as_uri())
            if sound:
                check(page, setting)
            else:
                with pytest.raises(AssertionError):
                    check(page, setting)


# The instrument, as a user has it.

WATCH = """window.painted = 0;
document.addEventListener("vgp-painted", ({detail}) => { window.painted++; window.band = detail.band; }, true);"""
NO_WORKER = "window.Worker = class { constructor() { throw new Error('no Worker here'); } };"
PICTURES = """() => Object.fromEntries(Array.from(document.querySelectorAll(".figure"), figure =>
    [figure.dataset.part, figure.innerHTML]))"""
VERDICT = re.compile("^(HEALTHY|VANISHING|EXPLODING|DEAD)")
TINY = "#layers=1&units=2&activation=tanh"  # trains fast


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page with the whole instrument."""
    return live.write_page(tmp_path_factory.mktemp("whole")).as_uri()


@pytest.fixture
def open_page(browser):
    """Return a function that opens an address offline, once painted; nothing may complain until the test is over."""
    with contextlib.ExitStack() as pages:
        opened = []

        def visit(address, scripts=(), **options):
            page = pages.enter_context(
                offline_page(browser, **({"viewport": {"width": 1280, "height": 900}} | options))
            )
            for script in (WATCH, *scripts):
                page.add_init_script(script)
            opened.append(page)
            page.goto(address)
            page.wait_for_function("window.painted > 0")
            return page

        yield visit
        assert [page.complaints for page in opened] == [[]] * len(opened)


def part(page, name):
    return page.locator(f"[data-part={name}]")


def key(page, name):
    return page.locator(f"[data-key={name}]")


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def address(page):
    """The address after the sliders have come to rest, as a dict."""
    page.wait_for_timeout(400)
    return dict(urllib.parse.parse_qsl(page.evaluate("location.hash.slice(1)")))


def move(control):
    """Change a control by the keyboard, as far as it goes."""
    control.focus()
    kind = control.evaluate("control => control.type")
    control.press({"checkbox": "Space", "range": "ArrowRight"}.get(kind, "ArrowDown"))


SKETCHES = [vgp.playground(views=[name]).options for name in _page.SKETCHES]


@pytest.mark.parametrize("options", [{"address": True}, *SKETCHES], ids=["whole", *_page.SKETCHES])
def test_every_slider_moves_the_picture(open_page, tmp_path, options):
    page = open_page(live.write_page(tmp_path, options).as_uri())
    controls = page.locator("[data-key]")
    assert controls.count() == (len(live.WHOLE) if "address" in options else 1)
    for index in range(controls.count()):
        if "address" in options:  # the band comes later than the rest
            page.wait_for_function("window.band")
        before, painted = page.evaluate(PICTURES), page.evaluate("window.painted")
        move(controls.nth(index)) if "address" in options else controls.nth(index).press("Home")
        page.wait_for_function("before => window.painted > before", arg=painted)
        after, name = page.evaluate(PICTURES), controls.nth(index).get_attribute("data-key")
        changed = {part for part in after if after[part] != before[part]}
        if name in ("optimizer", "learning_rate"):
            assert changed == {"updates"}  # an untrained net does not depend on them
        elif "address" in options:
            assert changed >= {"ladder", "spread", "updates"}, name
        else:
            assert changed == set(after), name


def test_the_keyboard_reaches_everything_and_moves_the_sliders(open_page, file):
    page = open_page(file)
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("(({dataset}) => dataset.key ?? dataset.do ?? dataset.part)(document.activeElement)")
        )
    assert [name for name in reached if name in live.WHOLE][: len(live.WHOLE)] == live.WHOLE
    buttons = ["sick", "ReLU", "exploding", "He, thirty layers", "train", "one epoch", "back to the start"]
    assert set(reached) >= {*buttons, "train 32 seeds", "shows"}
    slider = page.get_by_role("slider", name="hidden layers")
    slider.focus()
    for pressed, value in [("ArrowRight", "11"), ("ArrowLeft", "10"), ("End", "40"), ("Home", "1")]:
        page.keyboard.press(pressed)
        assert slider.get_attribute("aria-valuetext") == value
        assert page.locator("output").first.inner_text() == value
    seen = "control => getComputedStyle(control).outlineStyle"
    assert slider.evaluate(seen) == "solid"


@pytest.mark.parametrize(
    ("preset", "changes", "verdict"),
    [
        ("sick", {}, "VANISHING"),
        ("ReLU", {"activation": "relu"}, "HEALTHY"),
        ("exploding", {"activation": "relu", "initializer": "he_normal", "scale": "4"}, "EXPLODING"),
        (
            "He, thirty layers",
            {"layers": "30", "activation": "relu", "initializer": "he_normal", "optimizer": "Adam"}
            | {"learning_rate": "0.003"},
            "HEALTHY",
        ),
    ],
)
def test_a_preset_is_a_whole_setting(open_page, file, preset, changes, verdict):
    page = open_page(file + "#units=7&residual=true&data=spirals")
    button(page, preset).click()
    first = {"hidden_layers": "layers", "kernel_initializer": "initializer"}
    expected = {first.get(name, name): str(value).replace("False", "false") for name, value in live.FIRST.items()}
    assert address(page) == expected | changes
    part(page, "verdict").get_by_text(verdict).wait_for(timeout=60_000)


def test_the_address_is_read_kept_and_read_again(open_page, file):
    page = open_page(file + "#layers=7&activation=relu&initializer=orthogonal&batch_normalization=true&units=1&scale=x")
    assert key(page, "hidden_layers").get_attribute("aria-valuetext") == "7"
    assert key(page, "activation").input_value() == "relu" and key(page, "batch_normalization").is_checked()
    assert key(page, "kernel_initializer").input_value() == "orthogonal"
    assert key(page, "units").get_attribute("aria-valuetext") == "10"  # 1 is not among the values, nor is x
    move(key(page, "hidden_layers"))
    kept = address(page)
    assert kept["layers"] == "8" and kept["batch_normalization"] == "true" and kept["scale"] == "1"
    page.evaluate("location.hash = location.hash.replace('layers=8', 'layers=3').replace('=relu', '=gelu')")
    page.wait_for_function("document.querySelector('[data-key=hidden_layers]').getAttribute('aria-valuetext') === '3'")
    assert key(page, "activation").input_value() == "gelu"
    other = open_page(page.url)
    assert other.evaluate(PICTURES)["ladder"] and address(other) == address(page)


CODED = [
    live.FIRST | {"hidden_layers": 2},
    *(
        live.FIRST
        | {"hidden_layers": 3, "kernel_initializer": name, "scale": scale, "optimizer": optimizer, "data": "spirals"}
        | {"learning_rate": rate, "batch_normalization": scale == 1, "residual": scale != 1, "seed": 4}
        for name, scale, optimizer, rate in [
            ("he_normal", 1, "Adam", 1.0),
            ("glorot_uniform", 1.4, "RMSprop", 0.0001),
            ("lecun_normal", 0.3, "SGD", 10.0),
            ("orthogonal", 2.5, "SGD", 0.3),
            ("random_normal", 20, "Adam", 0.003),
        ]
    ),
]


@pytest.mark.parametrize(
    "setting", CODED, ids=lambda setting: f"{setting['kernel_initializer']}-{setting['optimizer']}"
)
def test_the_python_that_it_shows_makes_the_same_kind_of_net(engine, setting):
    code = engine.evaluate("setting => VGP.engine.toPython(setting)", setting)
    exec(compile(code.split("print(vgp.inspect_layers")[0], "the page's code", "exec"), names := {})
    compile(code, "the page's code", "exec")
    model, page_s = names["model"], _page.build(**setting)
    assert [layer.name for layer in model.layers] == [layer.name for layer in page_s.layers]
    for ours, theirs in zip(model.layers, page_s.layers, strict=True):
        assert getattr(ours, "activation", None) is getattr(theirs, "activation", None)
        if isinstance(ours, keras.layers.Dense):
            assert ours.kernel.shape == theirs.kernel.shape and ours.use_bias == theirs.use_bias
            fans = ours.kernel.shape
            expected = _page.initializer(setting["kernel_initializer"], setting["scale"])
            given = kernel_variance(without_seed(ours.kernel_initializer), *fans)
            np.testing.assert_allclose(given, kernel_variance(expected, *fans), rtol=1e-5)
    assert type(names["optimizer"]).__name__ == setting["optimizer"]
    np.testing.assert_allclose(float(names["optimizer"].learning_rate), setting["learning_rate"])
    x, _ = live.data(setting["data"])
    np.testing.assert_array_equal(names["data"].x_train, x)


def without_seed(initializer):
    return type(initializer).from_config(initializer.get_config() | {"seed": None})


def test_link_and_python_are_copied(open_page, file):
    page = open_page(file + TINY, permissions=["clipboard-read", "clipboard-write"])
    address(page)
    page.locator("summary").click()
    for name, expected in [("copy link", page.url), ("copy as Python", part(page, "code").text_content())]:
        button(page, name).click()
        page.wait_for_function("text => navigator.clipboard.readText().then(copied => copied === text)", arg=expected)
        assert part(page, "copied").inner_text() == "Copied."
    assert 'activation="tanh"' in expected


TRAINED = """([setting, seed, epochs]) => {
    const losses = [];
    let last;
    for (const found of VGP.engine.training(setting, seed, VGP.engine.data[setting.data], epochs))
        if (found) losses.push((last = found).loss);
    return {losses, accuracy: last.accuracy, said: VGP.engine.short(last.loss)};
}"""


def test_training_pauses_steps_and_begins_again_with_the_same_numbers(open_page, file):
    page = open_page(file + TINY)
    address(page)  # at rest
    said, setting = part(page, "trained"), live.FIRST | {"hidden_layers": 1, "units": 2, "activation": "tanh"}
    seen = []
    for _ in range(2):
        for epoch in (1, 2, 3):
            button(page, "one epoch").click()
            said.get_by_text(re.compile(f"Seed 0 after {epoch} epochs?:")).wait_for()
        seen.append([said.inner_text(), page.evaluate(PICTURES)["losses"], page.evaluate(BOUNDARY)])
        button(page, "back to the start").click()
        assert said.inner_text() == "" and page.evaluate(PICTURES)["losses"] != seen[-1][1]
    assert seen[0] == seen[1]
    expected = page.evaluate(TRAINED, [setting, 0, 3])
    assert f"loss {expected['said']}, accuracy {round(100 * expected['accuracy'])} %" in seen[0][0]
    page.locator("[data-do=train]").click()
    said.get_by_text("after 100 epochs").wait_for()
    expected = page.evaluate(TRAINED, [setting, 0, 100])
    assert f"loss {expected['said']}, accuracy {round(100 * expected['accuracy'])} %" in said.inner_text()
    move(key(page, "hidden_layers"))  # another net: what was trained is void
    page.wait_for_function("document.querySelector('[data-part=trained]').textContent === ''")


def test_training_pauses_where_it_is_and_goes_on(open_page, file):
    page = open_page(file + "#layers=10&units=30&activation=tanh")  # takes some seconds
    address(page)
    train, said = page.locator("[data-do=train]"), part(page, "trained")
    train.click()
    page.wait_for_function("document.querySelector('[data-part=losses]').getAttribute('aria-label').includes('after')")
    assert train.inner_text() == "pause"
    train.click()
    assert train.inner_text() == "train this seed"
    said.get_by_text("Seed 0 after").wait_for()
    paused = said.inner_text()
    page.wait_for_timeout(200)
    assert said.inner_text() == paused
    button(page, "one epoch").click()
    epochs = int(re.search(r"after (\d+) epoch", paused)[1])
    assert epochs < 99
    said.get_by_text(f"after {epochs + 1} epochs").wait_for()


BOUNDARY = "document.querySelector('[data-part=boundary]').toDataURL()"


@pytest.mark.parametrize("scripts", [[], [NO_WORKER]], ids=["in Workers", "without Workers"])
def test_band_verdict_and_32_trained_seeds_with_workers_and_without(open_page, file, scripts):
    page = open_page(file + TINY + "&learning_rate=1", scripts)
    page.wait_for_function("window.band")
    setting = live.FIRST | {"hidden_layers": 1, "units": 2, "activation": "tanh", "learning_rate": 1}
    (expected,) = page.evaluate(live.VERDICTS, [setting])
    part(page, "verdict").get_by_text(VERDICT).wait_for(timeout=30_000)
    assert part(page, "verdict").inner_text() == (
        f"{expected['verdict'].upper()}\n{expected['because']}\nTry next: {expected['try_next']}"
    )
    runs = [page.evaluate(TRAINED, [setting, seed, 100]) for seed in range(32)]
    button(page, "train 32 seeds").click()
    part(page, "trained").get_by_text("Of 32 seeds").wait_for(timeout=60_000)
    solved, median = sum(run["accuracy"] > 0.95 for run in runs), np.median([run["losses"][-1] for run in runs])
    short = page.evaluate("value => VGP.engine.short(value)", median)
    said = " ".join(part(page, "trained").inner_text().split())
    assert f"{solved} have an accuracy above 95 %, and 0 end in nan or infinity. Last loss, median: {short}." in said
    assert not page.locator("progress").is_visible() and "median of 32 seeds" in page.evaluate(PICTURES)["losses"]


def one_digit(value):
    """0.3, 20, 6e-7: as the page writes them."""
    text = f"{value:.0e}"
    return f"{float(text):g}" if 1e-3 <= float(text) < 1e4 else re.sub(r"e([+-])0*", r"e\1", text).replace("+", "")


@pytest.mark.parametrize(
    ("address_", "changes"),
    [
        ("layers=3&activation=tanh", {"hidden_layers": 3, "activation": "tanh"}),
        ("layers=10", {}),
        ("layers=10&activation=relu&scale=5", {"activation": "relu", "scale": 5}),
    ],
    ids=["level", "vanishing", "exploding"],
)
def test_the_band_is_that_of_32_nets(open_page, file, address_, changes):
    page = open_page(f"{file}#{address_}")
    page.wait_for_function("window.band")
    address(page)
    setting = live.FIRST | changes
    inspect = "s => VGP.engine.inspect(VGP.engine.build(s, s.seed), VGP.engine.data[s.data]).delta_rms"
    reports = [page.evaluate(inspect, setting | {"seed": seed}) for seed in range(32)]
    low, high = np.quantile([report[0] / report[-2] for report in reports], [0.1, 0.9])
    assert f"80 % of 32 seeds between {one_digit(low)} and {one_digit(high)}." in part(page, "words").inner_text()


# Moves a slider five times, one step a frame; returns what is said meanwhile.
DRAG = """async slider => {
    const said = [];
    for (let step = 0; step < 5; step++) {
        slider.value = Number(slider.value) + 1;
        slider.dispatchEvent(new Event("input", {bubbles: true}));
        said.push(document.querySelector("[data-part=words]").textContent);
        await new Promise(requestAnimationFrame);
    }
    return said;
}"""


def test_what_the_picture_shows_is_said_when_the_sliders_rest(open_page, file):
    page = open_page(file)
    words = part(page, "words")
    page.wait_for_function("document.querySelector('[data-part=words]').textContent.includes('80 %')")
    assert (
        words.get_attribute("role") == "status"
        and "delta, first over last hidden layer: about 1e-6" in words.inner_text()
    )
    slider, before = key(page, "hidden_layers"), words.inner_text()
    assert slider.evaluate(DRAG) == [before] * 5  # a voice would not keep up with a slider
    page.wait_for_function("before => document.querySelector('[data-part=words]').textContent !== before", arg=before)
    assert part(page, "ladder").get_attribute("aria-label") == words.inner_text()
    part(page, "shows").select_option("kernel gradient")
    words.get_by_text(re.compile("^kernel gradient, first over last")).wait_for()


@pytest.mark.parametrize(
    ("hash", "words"),
    [
        ("#layers=40&activation=relu&initializer=he_normal&scale=30", "Out of the range of float32"),
        (
            "#layers=20&units=2&activation=relu&initializer=he_normal&seed=1",
            "delta is exactly 0 in 20 of 20 hidden layers",
        ),
        ("#layers=1&units=2&activation=gelu&scale=30&batch_normalization=true&residual=true", "first over last hidden"),
        ("#layers=20&scale=30&activation=relu&batch_normalization=true&residual=true&data=spirals", "first over last"),
    ],
)
def test_the_ends_of_the_sliders_are_said_in_words(open_page, file, hash, words):
    page = open_page(file + hash)
    part(page, "words").get_by_text(words).wait_for()


def violations(page):
    page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {"runOnly": {"type": "tag", "values": LEVELS}}
    found = page.evaluate("options => axe.run(options).then(result => result.violations)", options)
    return [(rule["id"], rule["nodes"][0]["html"][:90]) for rule in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_both_colour_schemes(open_page, file, tmp_path, scheme):
    page = open_page(file + TINY, color_scheme=scheme)
    address(page)
    page.locator("summary").click()
    button(page, "one epoch").click()
    part(page, "trained").get_by_text("after 1 epoch").wait_for()
    part(page, "verdict").get_by_text(VERDICT).wait_for(timeout=30_000)
    assert violations(page) == []
    sketches = live.write_page(tmp_path, *SKETCHES).as_uri()
    assert violations(open_page(sketches, color_scheme=scheme)) == []


def test_a_phone_scrolls_only_downwards(open_page, file, tmp_path):
    phone = {"viewport": {"width": 360, "height": 780}, "has_touch": True, "is_mobile": True}
    sketches = live.write_page(tmp_path, *SKETCHES).as_uri()
    for address_, name in ((file + "#layers=40&units=50&activation=leaky_relu", "ladder"), (sketches, "product")):
        page = open_page(address_, **phone)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert part(page, name).bounding_box()["width"] > 280
        for control in page.locator("input, select, button").all():
            box = control.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 360


@pytest.mark.parametrize(("motion", "low", "high"), [("reduce", 1, 2), ("no-preference", 3, 1000)])
def test_whoever_wants_little_motion_sees_the_end_of_a_training_only(open_page, file, motion, low, high):
    page = open_page(file + "#layers=4&activation=tanh", reduced_motion=motion)
    address(page)
    page.evaluate("""window.drawn = 0;
        const figure = document.querySelector('[data-part=losses]');
        new MutationObserver(() => window.drawn++).observe(figure, {childList: true});""")
    page.locator("[data-do=train]").click()
    part(page, "trained").get_by_text("after 100 epochs").wait_for(timeout=30_000)
    assert low <= page.evaluate("window.drawn") <= high
    assert page.evaluate("document.getAnimations().length") == 0
