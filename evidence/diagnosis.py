"""Score `vgp.diagnose` and the rules of other tools on a zoo of labelled runs.

The zoo and its labels are in zoo.py. One half of it served to choose the thresholds, the other, drawn separately, is
held out. Every run is diagnosed once, with its live optimizer, at initialization, early, or at the
end of its budget; every healthy run once more after twice its budget, if it has converged by then. One failing run of
every configuration is treated with the line that `diagnose` proposes, and trained again. The rules of other tools see
the same states: exact float64 gradients, and five further steps where they want a history.

Writes data/diagnosis_benchmark.csv, a row per run, and prints the tables. Its columns: the configuration; `label`, the
outcome or mechanism, and `right`, the verdicts that count as right; `score` and `twin`, the shares of ln 2 that the run
and its twin removed; `state`, when it was diagnosed; what `diagnose` said, in how many seconds; what the rules said;
`cured`, whether the proposed line made the run fit; `converged`, the verdict on a healthy net after twice its budget.
"""

import multiprocessing
import os
import time
import warnings

import keras
import numpy as np

import vgp_lib as vgp
from evidence import tables, zoo

VERDICTS = ("healthy", "vanishing", "exploding", "dead")
WORKERS = 2  # a process a core
RULES = ("AutoTrainer", "SageMaker", "DeepDiagnosis", "TheDeepChecker", "update rule", "slowest 10^-3.5")


def work(job):
    """Train, label and diagnose all runs of some programs; a row (dict) per run."""
    programs, quick = job
    configurations = zoo.configurations()
    rows, twins = [], {}
    for program in programs:
        configs = [config for config in configurations if config["program"] == program]
        trainer = zoo.Trainer(configs[0])
        for number, config in enumerate(configs[: 2 if quick else None]):
            twin = twin_score(twins, config)
            rows += [one_run(trainer, config, 4 * program + number, seed, twin) for seed in range(zoo.SEEDS)]
            treat(config, rows[-zoo.SEEDS :], twin)
        print(f"program {program}: {sum(row['program'] == program for row in rows)} runs", flush=True)
    return rows


def twin_score(twins, config):
    """Best score of the shallow twin over the optimizer's learning rates."""
    name = "moons" if config["data"] == "unscaled" else config["data"]
    net = {"depth": 2, "units": 10, "activation": "tanh", "shape": "plain", "initializer": "glorot_uniform", "bias": 0}
    kind = config["optimizer"], config["batch_size"]
    key = (*kind, name)
    base = net | {"optimizer": kind[0], "batch_size": kind[1], "data": name}
    if key not in twins:
        rates = zoo.OPTIMIZERS[kind[0]][1]
        if kind not in twins:
            twins[kind] = zoo.Trainer(base | {"learning_rate": rates[0]})
        scores = []
        for rate in rates:
            twins[kind].start(base | {"learning_rate": rate}, 1)
            budget = zoo.BUDGETS[kind[1]][1]
            scores.append(zoo.score(twins[kind].train(base, budget).astype("float64"), budget))
        twins[key] = max(scores)
    return twins[key]


def one_run(trainer, config, number, seed, twin):
    x, y = zoo.data(config["data"])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        losses, states = trainer.run(config, 100 * number + seed)
        measured = [zoo.measure(config, weights, x, y) for weights, _ in states]
        outcome, right = zoo.label(config, losses, twin, measured)
    budget = zoo.BUDGETS[config["batch_size"]][1]
    row = config | {
        "configuration": number, "seed": seed, "label": outcome, "right": " ".join(sorted(right)),
        "score": round(zoo.score(losses, budget), 4), "twin": round(twin, 4), "state": ("start", "early", "end")[seed],
    }  # fmt: skip
    row |= examine(trainer, config, states[seed], measured[seed])
    converged = outcome == "healthy" and zoo.score(losses, 2 * budget) >= 0.9 * twin
    row["converged"] = ""
    if converged:
        trainer.restore(states[-1])
        row["converged"] = diagnosis(trainer.model, config, trainer.optimizer)[0].verdict
    return row


def diagnosis(model, config, optimizer):
    x, y = zoo.data(config["data"])
    start = time.perf_counter()
    found = vgp.diagnose(model, x, y, optimizer=optimizer)
    seconds = time.perf_counter() - start
    return found, seconds


def examine(trainer, config, state, now):
    """What diagnose and the rules say of one state."""
    x, y = zoo.data(config["data"])
    trainer.restore(state)
    found, seconds = diagnosis(trainer.model, config, trainer.optimizer)
    row = {"verdict": found.verdict, "layer": found.layer or "", "seconds": round(seconds, 2)}
    row["try_next"] = found.try_next
    count = len(trainer.model.trainable_variables)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.restore(state)
        history = [state[0]]
        for _ in range(5):
            trainer.train(config | {"batch_size": 200}, 1)
            history.append(trainer.state()[0])
        later = zoo.measure(config, history[-1], x, y)
        kernels = [i for i in range(count) if history[0][i].ndim == 2]
        change = [np.abs(history[1][i] - history[0][i]).mean() / np.abs(history[0][i]).mean() for i in kernels]
        for rule, verdict in rules(now, later, np.array(change), config["activation"] == "relu").items():
            row[rule] = verdict
    return row


def rules(now, later, change, relu):
    """The published rules on one state: first what explodes, then what is dead, then what vanishes."""
    batch, mean = now["batch"], now["mean"]
    broken = not now["finite"]

    def first(exploding, dead, vanishing):
        return "exploding" if exploding else "dead" if dead else "vanishing" if vanishing else "healthy"

    ratio = batch[0] / batch[-1]
    return {
        "AutoTrainer": first(
            broken or ratio > 70, now["zeros"].mean() >= 0.7, not ratio >= 1e-3 and batch[0] < 1e-4
        ),
        "SageMaker": first(broken, relu and (now["inactive"] >= 0.5).any(), (mean < 1e-7).any()),
        "DeepDiagnosis": first(broken, (now["low"] >= 0.7).any(), (mean < 1e-7).any()),
        "TheDeepChecker": first(
            broken or (mean > 1e6).any(), (now["p95"] < 1e-5).any(), ((mean < 1e-6) | (later["mean"] < mean / 2)).any()
        ),
        "update rule": first(broken or not change.max() <= 1e-1, False, change.min() < 1e-4),
        "slowest 10^-3.5": first(broken or not change.max() < np.inf, False, change.min() < 10**-3.5),
    }  # fmt: skip


def treated(config, line):
    """The configuration with a proposed line."""
    changed = dict(config)
    line, _, optimizer = line.partition("and optimizer = ")  # two faults at once
    if optimizer:
        changed["optimizer"] = eval(optimizer, {"keras": keras})
    if line.startswith("x = "):
        changed["data"] = "moons"
    elif line.startswith("optimizer = "):
        changed["optimizer"] = eval(line.removeprefix("optimizer = "), {"keras": keras})
    elif "Add()" in line:
        changed["shape"] = "residual"
    elif "BatchNormalization" in line:
        changed["shape"] = "batch normalization"
    else:
        layer = eval(line, {"keras": keras})
        changed |= {"activation": keras.activations.serialize(layer.activation), "initializer": "he_normal", "bias": 0}
        changed["units"] = max(layer.units, config["units"])  # a narrow net gets more, any other keeps its own
    return changed


def treat(config, rows, twin):
    """Apply the proposed line to one sick and rightly judged run of the configuration; does it fit then?"""
    for row in rows:
        row["cured"] = ""
    sick = [row for row in rows if row["label"] in VERDICTS[1:] and row["verdict"] in row["right"].split()]
    if not sick:
        return
    changed = treated(config, sick[0]["try_next"])
    budget = zoo.BUDGETS[config["batch_size"]][1]
    trainer = zoo.Trainer(changed)
    trainer.start(changed, sick[0]["configuration"])
    score = zoo.score(trainer.train(changed, budget).astype("float64"), budget)
    sick[0]["cured"] = "yes" if score >= zoo.FITS * twin else "no"


def measure(quick=False):
    """Diagnose the zoo, or a sixteenth of it, and print the tables; only the whole is written."""
    os.environ["TQDM_DISABLE"] = "1"  # the workers print lines of their own
    started = time.perf_counter()
    programs = list(range(0, 64, 9)) if quick else list(range(64))
    jobs = [(programs[i::WORKERS], quick) for i in range(WORKERS)]
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        rows = [row for part in pool.map(work, jobs) for row in part]
    rows.sort(key=lambda row: (row["configuration"], row["seed"]))
    if not quick:
        tables.write("diagnosis_benchmark.csv", rows)
    report(rows)
    print(f"{len(rows)} runs in {time.perf_counter() - started:.0f} s")


def report(rows):
    for half in ("development", "held out"):
        part = [row for row in rows if row["half"] == half]
        print(f"\n{half}: {len(part)} runs")
        print(f"{'':12}" + "".join(f"{verdict:>11}" for verdict in VERDICTS))
        for outcome in (*VERDICTS, "half", "slow", "other"):
            found = [row["verdict"] for row in part if row["label"] == outcome]
            print(f"{outcome:12}" + "".join(f"{found.count(verdict):11}" for verdict in VERDICTS))
        for name in ("verdict", *RULES):
            sick = [row for row in part if row["label"] in VERDICTS[1:]]
            healthy = [row for row in part if row["label"] == "healthy"]
            right = sum(row[name] in row["right"].split() for row in sick)
            flagged = sum(row[name] != "healthy" for row in healthy)
            counts = f"{right:4}/{len(sick):<4} of the sick found, {flagged:4}/{len(healthy):<4} of the healthy flagged"
            shares = f"{right / max(len(sick), 1):7.1%} and {flagged / max(len(healthy), 1):6.1%}"
            print(f"{'diagnose' if name == 'verdict' else name:16}{shares}   ({counts})")
        strict = sum(row["verdict"] == row["label"] for row in sick)
        print(f"diagnose, without the runs' second right verdict: {strict / max(len(sick), 1):.1%}")
        converged = [row["converged"] for row in part if row["converged"]]
        print(f"converged: {sum(verdict != 'healthy' for verdict in converged)} of {len(converged)} flagged")
        cured = [row["cured"] for row in part if row["cured"]]
        print(f"cured by the proposed line: {cured.count('yes')} of {len(cured)}")
    seconds = sorted(row["seconds"] for row in rows)
    print(f"\nseconds per diagnosis: median {seconds[len(seconds) // 2]}, largest {seconds[-1]}")
