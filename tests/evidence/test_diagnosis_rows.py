"""Runs of the diagnosis benchmark, held out while the thresholds were chosen: each gets its stored verdict again."""

import csv

import pytest

import vgp_lib as vgp
from evidence import zoo
from vgp_lib.data import TABLES

VERDICTS = ("healthy", "vanishing", "exploding", "dead")


def held_out(count):
    with (TABLES / "diagnosis_benchmark.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row["half"] == "held out" and row["state"] == "start" and row["label"] in VERDICTS]
    shallow = [row for row in chosen if int(row["depth"]) <= 12]
    return [row for label in VERDICTS for row in [row for row in shallow if row["label"] == label][:count]]


@pytest.mark.parametrize("row", held_out(2), ids=lambda row: f"{row['label']} {row['configuration']}")
def test_runs_of_the_benchmark_get_the_stored_verdict_again(row):

    config = next(c for c in zoo.configurations() if str(c["program"]) == row["program"] and agrees(c, row))
    trainer = zoo.Trainer(config)
    trainer.start(config, 100 * int(row["configuration"]) + int(row["seed"]))
    x, y = zoo.data(config["data"])
    assert vgp.diagnose(trainer.model, x, y, optimizer=trainer.optimizer).verdict == row["verdict"]


def agrees(config, row):
    return all(str(config[name]) == row[name] for name in ("initializer", "learning_rate", "data", "bias"))
