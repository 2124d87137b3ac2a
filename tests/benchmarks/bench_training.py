"""Time `vgp_lib.train` beside `model.fit`, PyTorch and JAX, and see how its time grows: `python bench_training.py`.

All train the same net: two moons, 10 hidden ReLU layers of 10 units, Adam, 100 epochs in batches of 32 that are drawn
anew each epoch, and record the loss of every epoch; `train` also records gradients, updates and weights. Every
measurement runs in a fresh process that imports only what it needs, and starts after the imports, with the drawing of
the initial weights. requirements-bench.txt pins PyTorch and JAX, which are needed here only. A process that dies is
reported, and the rest goes on; the exit code is 1 if one with `train` died or if someone's nets did not learn.
"""

import argparse
import csv
import functools
import itertools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

LAYERS, UNITS, EPOCHS, BATCH, RATE = 10, 10, 100, 32, 1e-3
MOONS = pathlib.Path(__file__).resolve().parents[2] / "data" / "moons.csv"
LIMIT = 900  # seconds; a process that takes longer counts as dead
COMPETITORS = {  # name: (function, seeds)
    "model.fit": ("fit", 1),
    "PyTorch, eager loop": ("torch", 1),
    "JAX, 1 seed": ("jax", 1),
    "JAX, 32 seeds": ("jax", 32),
    "train, 1 seed": ("train", 1),
    "train, 32 seeds": ("train", 32),
}
CALLS = ("first", "warm", "second experiment")
RATIOS = {  # name: (competitor, call, competitor, call, factor, target)
    "train first 32 / one model.fit": ("train, 32 seeds", "first", "model.fit", "first", 1, "≤ 0.40"),
    "train first 32 / JAX first 32": ("train, 32 seeds", "first", "JAX, 32 seeds", "first", 1, "≤ 0.60"),
    "train warm 32 / JAX warm 32": ("train, 32 seeds", "warm", "JAX, 32 seeds", "warm", 1, "≤ 0.85"),
    "model.fit / train warm, per seed": ("model.fit", "warm", "train, 32 seeds", "warm", 32, "≥ 300"),
    "second experiment / warm, 32": ("train, 32 seeds", "second experiment", "train, 32 seeds", "warm", 1, "≤ 1.2"),
    "train warm 32 / train warm 1": ("train, 32 seeds", "warm", "train, 1 seed", "warm", 1, "≤ 16"),
}
SCALING = {
    "seeds": [1, 4, 16, 32, 64, 128, 256],
    "hidden_layers": [2, 5, 10, 20, 40],
    "units": [10, 25, 50, 100, 200],
    "epochs": [25, 50, 100, 200, 400],
}
QUICK = {"seeds": [1, 4, 16], "hidden_layers": [2, 5], "units": [10, 25], "epochs": [10, 20]}
MEMORY = [{"epochs": 0, "seeds": 1}, {"seeds": 1}, {"seeds": 32}, {"seeds": 256}, {"hidden_layers": 40}, {"units": 200}]


# What the child processes do: each function returns what is printed as JSON.


def load_data():
    """Read what `vgp_lib.load_moons` reads to train on, without vgp_lib: beside TensorFlow, PyTorch may crash."""
    import numpy as np

    with MOONS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    rows.sort(key=lambda row: int(row["row"]))
    table = np.array([[row["x1"], row["x2"], row["label"]] for row in rows], dtype=float)
    return table[:, :2].astype("float32"), table[:, 2].astype("float32")


def import_keras():
    """Import vgp_lib and Keras, but not JAX: TensorFlow would, if it is there, and take 100 MB more."""
    sys.modules["jax"] = None
    import vgp_lib  # before Keras: it silences TensorFlow

    del sys.modules["jax"]
    import keras

    return vgp_lib, keras


def timed(function, *arguments):
    """Call; return the seconds it took and what it returned."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def fit(seeds, repetition):
    x, y = load_data()
    vgp, keras = import_keras()

    def call(seed):
        keras.utils.set_random_seed(seed)
        model = vgp.build_mlp(LAYERS, UNITS, activation="relu")
        model.compile(keras.optimizers.Adam(RATE), loss="binary_crossentropy", metrics=["accuracy"])
        return [model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0).history["loss"][-1]]

    return call_in_turn((call, 100 + repetition), (call, 200 + repetition))


def torch(seeds, repetition):
    import torch
    from torch import nn

    x, y = (torch.from_numpy(array) for array in load_data())
    torch.set_num_threads(1)  # such small nets only lose by sharing their work

    def call(seed):
        torch.manual_seed(seed)
        widths = [2] + [UNITS] * LAYERS
        hidden = [part for size in itertools.pairwise(widths) for part in (nn.Linear(*size), nn.ReLU())]
        model = nn.Sequential(*hidden, nn.Linear(UNITS, 1))
        for layer in model[::2]:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        history = []
        for _ in range(EPOCHS):
            total = 0.0
            for batch in torch.randperm(len(x)).split(BATCH):
                loss = nn.functional.binary_cross_entropy_with_logits(model(x[batch])[:, 0], y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
            history.append(total / len(x))
        return history[-1:]

    return call_in_turn((call, 100 + repetition), (call, 200 + repetition))


def jax(seeds, repetition):
    """All epochs of all seeds in one program; a shorter last batch is filled up with samples of weight 0."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    x, y = load_data()
    steps = math.ceil(len(x) / BATCH)
    real = (np.arange(steps * BATCH) < len(x)).astype("float32").reshape(steps, BATCH)
    widths = [2] + [UNITS] * LAYERS + [1]

    def loss(weights, x, y, real):
        for kernel, bias in weights[:-1]:
            x = jax.nn.relu(x @ kernel + bias)
        kernel, bias = weights[-1]
        logit = (x @ kernel + bias)[:, 0]
        return jnp.sum((jnp.logaddexp(0.0, logit) - y * logit) * real) / jnp.sum(real)

    def step(state, batch):
        (weights, mean, square, count), (samples, real) = state, batch
        value, gradient = jax.value_and_grad(loss)(weights, jnp.asarray(x)[samples], jnp.asarray(y)[samples], real)
        count += 1
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
        rate = RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = jax.tree.map(lambda w, m, s: w - rate * m / (jnp.sqrt(s) + 1e-7), weights, mean, square)
        return (weights, mean, square, count), value * jnp.sum(real)

    def run(key, orders):
        draw, keys = jax.nn.initializers.glorot_uniform(), jax.random.split(key, LAYERS + 1)
        sizes = zip(keys, widths, widths[1:], strict=False)
        weights = [(draw(key, (rows, columns)), jnp.zeros(columns)) for key, rows, columns in sizes]
        zeros = jax.tree.map(jnp.zeros_like, weights)

        def epoch(state, order):
            state, losses = jax.lax.scan(step, state, (order, real))
            return state, jnp.sum(losses) / len(x)

        (weights, *_), history = jax.lax.scan(epoch, (weights, zeros, zeros, 0.0), orders)
        return history, weights

    program = jax.jit(jax.vmap(run))

    def call(first):
        generator = np.random.default_rng(first)
        orders = np.broadcast_to(np.arange(len(x), dtype="int32"), (seeds, EPOCHS, len(x)))
        orders = generator.permuted(orders, axis=-1)
        orders = np.concatenate([orders, orders[..., : real.size - len(x)]], axis=-1)
        keys = jax.vmap(jax.random.key)(first + jnp.arange(seeds))
        history, weights = program(keys, orders.reshape(seeds, EPOCHS, steps, BATCH))
        jax.block_until_ready(weights)
        return np.asarray(history)[:, -1].tolist()

    return call_in_turn((call, 1000 * repetition), (call, 1000 * repetition + seeds))


def train(seeds, repetition):
    start, call = 1000 * repetition, trainer()
    second = functools.partial(call, rate=2 * RATE, kernel_initializer="he_normal")
    return call_in_turn((call, start, seeds), (call, start + seeds, seeds), (second, start + 2 * seeds, seeds))


def trainer():
    """Import all that `train` needs; return a function that calls it with changes of the setting."""
    data = load_data()
    vgp, keras = import_keras()

    def call(first, seeds, epochs=EPOCHS, rate=RATE, **net):
        net = {"hidden_layers": LAYERS, "units": UNITS, "activation": "relu"} | net
        chosen, optimizer = range(first, first + seeds), keras.optimizers.Adam(rate)
        runs = vgp.train(lambda: vgp.build_mlp(**net), data, optimizer, epochs, BATCH, chosen, progress=False)
        return runs.loss[-1].tolist() if len(runs.loss) else []

    return call


def call_in_turn(*calls):
    """Time a first call, a warm one with other seeds, and perhaps a second experiment; losses of the first two."""
    seconds, losses = zip(*(timed(*call) for call in calls), strict=True)
    return {"seconds": dict(zip(CALLS, seconds, strict=False)), "losses": losses[0] + losses[1]}


def scale(**setting):
    """Time a first and a warm call of `train`."""
    call = trainer()
    call(0, 1, epochs=1, hidden_layers=1)  # wakes TensorFlow
    first, *warm = (timed(functools.partial(call, **setting), 1000 * number)[0] for number in range(3))
    return first, min(warm)


def memory(**setting):
    """Peak memory of this process in MB."""
    import resource

    trainer()(0, **setting)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


# What the parent process does; it imports nothing large, for a child's peak memory counts from its parent's.


def child(name, deaths, function, *arguments, **keywords):
    """Call a function of this file in a fresh process; if it dies, note under its name how, and return nothing."""
    command = [sys.executable, __file__, "--child", json.dumps([function, arguments, keywords])]
    # Else JAX hides the error: a remark on its traceback comes last.
    environment = os.environ | {"JAX_TRACEBACK_FILTERING": "off"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT, env=environment)
        code, errors = done.returncode, done.stderr
        if code == 0:
            return json.loads(done.stdout.splitlines()[-1])
        end = f"signal {-code}" if code < 0 else f"exit code {code}"
    except subprocess.TimeoutExpired as expired:
        end, errors = f"no result in {LIMIT} s", expired.stderr or b""
    errors = errors.decode(errors="replace").strip()
    deaths[name] = f"died ({end}) {errors.splitlines()[-1][:100] if errors else ''}".rstrip()
    print(errors, f"  {name}: {deaths[name]}", sep="\n", file=sys.stderr, flush=True)
    return None


def spread(values, digits=3):
    low, middle, high = (f"{f(values):#.{digits}g}".rstrip(".") for f in (min, statistics.median, max))
    return f"{middle} ({low}–{high})"


def compete(repetitions, deaths):
    """Let the competitors run in turn; return what each measured, one entry per repetition."""
    measured = {name: [] for name in COMPETITORS}
    for repetition in range(repetitions):
        for name, (function, seeds) in COMPETITORS.items():
            run = None if name in deaths else child(name, deaths, function, seeds, repetition)
            if run:
                measured[name].append(run)
                seconds = ", ".join(f"{call} {s:.2f} s" for call, s in run["seconds"].items())
                print(f"  {repetition + 1}/{repetitions} {name}: {seconds}", file=sys.stderr, flush=True)
    # Who died once is out: a median of the other repetitions would hide it.
    return {name: runs for name, runs in measured.items() if name not in deaths}


def sweep(grid, deaths):
    """Time `train` along each axis, one process per value; return (value, first, warm) of those that lived."""
    scaling = {name: [] for name in grid}
    for name, values in grid.items():
        for value in values:
            seconds = child(f"train, {name} {value}", deaths, "scale", **{"seeds": 32, name: value})
            if seconds:
                scaling[name].append((value, *seconds))
                first, warm = seconds
                print(f"  {name} {value}: first {first:.2f} s, warm {warm:.3f} s", file=sys.stderr, flush=True)
    return scaling


def last_loss(runs):
    return statistics.median(loss for run in runs for loss in run["losses"])


def time_table(measured, deaths):
    rows = [["median (min–max)", *(f"{call}, s" for call in CALLS), "last loss, median of seeds"]]
    for name in COMPETITORS:
        if name in deaths:
            rows.append([name, *["-"] * len(CALLS), deaths[name]])
            continue
        cells = [[run["seconds"][call] for run in measured[name] if call in run["seconds"]] for call in CALLS]
        rows.append([name, *(spread(cell) if cell else "" for cell in cells), f"{last_loss(measured[name]):.2g}"])
    return rows


def ratio_table(measured):
    rows = [["ratio within a repetition", "median (min–max)", "target", ""]]
    for name, (above, call, below, other, factor, target) in RATIOS.items():
        if above not in measured or below not in measured:
            rows.append([name, "-", target, "-"])
            continue
        pairs = zip(measured[above], measured[below], strict=True)
        values = [factor * a["seconds"][call] / b["seconds"][other] for a, b in pairs]
        sign, limit = target.split()
        met = (statistics.median(values) <= float(limit)) == (sign == "≤")
        rows.append([name, spread(values), target, "met" if met else "missed"])
    return rows


def scaling_table(scaling):
    """The exponent is the slope of log time over log value, by least squares; 1 means proportional."""
    rows = [["train", "value", "first call, s", "warm, s", "exponent of warm", "between the last two"]]
    for name, points in scaling.items():
        rows += [[name, str(value), f"{first:.2f}", f"{warm:.3f}", "", ""] for value, first, warm in points]
        if len(points) > 1:
            logs = [(math.log(value), math.log(warm)) for value, _, warm in points]
            slopes = [statistics.linear_regression(*zip(*part, strict=True)).slope for part in (logs, logs[-2:])]
            rows[-1][-2:] = [f"{slope:.2f}" for slope in slopes]
    return rows


def memory_table(settings, deaths):
    rows = [["peak memory of a fresh process with train", "MB"]]
    for setting in settings:
        setting = {"seeds": 32} | setting
        title = ", ".join(f"{name} {value}" for name, value in setting.items())
        peak = child(f"train, memory of {title}", deaths, "memory", **setting)
        rows.append([title, f"{peak:.0f}" if peak else "-"])
    return rows


def text(rows, markdown=False):
    """Lay out a table, the first row being its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if markdown:
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


def draw(scaling, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    from vgp_lib.plots import finish, style

    figure, axes = plt.subplots(2, 2, figsize=(8, 5), layout="constrained", sharey=True)
    for ax, (name, points) in zip(axes.flat, scaling.items(), strict=True):
        if not points:
            continue
        values, first, warm = zip(*points, strict=True)
        ax.loglog(values, first, label="first call", **style(1))
        ax.loglog(values, warm, label="warm call", **style(0))
        linear = [warm[-1] * value / values[-1] for value in values]
        ax.loglog(values, linear, color="#777777", linestyle=":", label="proportional")
        ax.set_xticks(values, [str(value) for value in values])
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.minorticks_off()
        finish(ax, xlabel=name.replace("_", " "), ylabel="seconds", legend=ax is axes.flat[0])
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repetition and a small scaling")
    parser.add_argument("--repetitions", type=int, default=5, help="of the competition (5; with --quick always 1)")
    parser.add_argument("--figure", type=pathlib.Path, help="draw the scaling into this file")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the tables into this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        function, positional, keywords = json.loads(arguments.child)
        print(json.dumps(globals()[function](*positional, **keywords)))
        return 0
    deaths = {}  # name: how it died
    measured = compete(1 if arguments.quick else arguments.repetitions, deaths)
    scaling = sweep(QUICK if arguments.quick else SCALING, deaths)
    peaks = memory_table(MEMORY[: 3 if arguments.quick else None], deaths)
    tables = [time_table(measured, deaths), ratio_table(measured), scaling_table(scaling), peaks]
    print("\n" + "\n".join(text(table) for table in tables))
    for name, death in deaths.items():
        print(f"{name}: {death}")
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(text(table, markdown=True) for table in tables), encoding="utf-8")
    if arguments.figure:
        draw(scaling, arguments.figure)
    # One seed in thirty never learns, so that the median over a competitor's seeds tells a broken loop.
    broken = [name for name, runs in measured.items() if not last_loss(runs) < 0.05]
    learned = f"{len(measured)} of {len(COMPETITORS)} lived, all with a median loss below 0.05."
    print(f"NOT COMPARABLE: these did not learn: {broken}" if broken else learned)
    return int(bool(broken) or any(name.startswith("train") for name in deaths))


if __name__ == "__main__":
    sys.exit(main())
