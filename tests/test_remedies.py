"""The table of remedies: a part of it measured again and compared with data/remedies.csv."""

import sys

import numpy as np
import pytest

import vgp_lib as vgp

table = sys.modules["vgp_lib.remedies"]  # the attribute vgp_lib.remedies is the function


def test_every_remedy_is_stored_with_its_present_words():
    stored = {row["remedy"]: row["does_not_mend"] for row in vgp.remedies()}
    assert stored == {name: words for name, (*_, words) in table.REMEDIES.items()}


def test_every_remedy_is_stored_for_both_depths():
    depths = {name: {int(row["hidden_layers"]) for row in vgp.remedies() if row["remedy"] == name} for name in stored()}
    assert depths.pop("2 layers") == {2}
    assert set(map(frozenset, depths.values())) == {frozenset({10, 30})}


def stored(hidden_layers=None):
    return {row["remedy"]: row for row in vgp.remedies(hidden_layers)}


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("nothing: sigmoid, Glorot, Adam", 10),
        ("layer normalization", 10),
        ("ReLU + residual + batch norm.", 10),
        ("ReLU + He + dropout 0.2", 10),
        ("ReLU + He", 30),
    ],
)
def test_a_remedy_measured_again_gives_the_stored_row(name, depth):
    (row,), kept = table.measure([name], [depth]), stored(depth)[name]
    for ratio in ("gradient_ratio", "delta_ratio"):  # before training, where processors agree
        assert row[ratio] == pytest.approx(float(kept[ratio]), rel=0.05)
    assert abs(row["solved"] - int(kept["solved"])) <= 6
    low, high = float(kept["loss_p10"]), float(kept["loss_p90"])
    assert low * 0.5 - 1e-3 <= row["loss"] <= high * 1.5 + 1e-3


def test_dropout_lets_a_little_more_through_as_keras_scales_what_it_keeps():
    # Keras divides by 1 - rate what it keeps, so the mean square grows by 1.25 a layer: by 2.7 in nine layers, in norm.
    with_dropout, without = (
        float(stored(10)[name]["delta_ratio"]) for name in ("dropout 0.2", next(iter(table.REMEDIES)))
    )
    assert 2.7 / 1.5 < with_dropout / without < 2.7 * 1.5


def test_the_table_prints_one_line_per_remedy_and_selects_a_depth():
    rows = vgp.remedies(30)
    assert {int(row["hidden_layers"]) for row in rows} == {30}
    lines = repr(rows).splitlines()
    assert len(lines) == len(rows) + 1
    assert all(row["remedy"] in line for row, line in zip(rows, lines[1:], strict=True))


def test_store_and_read_give_the_same_back(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "REMEDIES_CSV", tmp_path / "remedies.csv")
    row = {"remedy": "x", "hidden_layers": 10, "loss": 0.12345, "loss_p10": np.float64(1e-7), "loss_p90": 1.0}
    row |= {"solved": 3, "gradient_ratio": 1.0, "delta_ratio": 2.0, "does_not_mend": "y"}
    table.store([row])
    (again,) = vgp.remedies()
    assert again["loss"] == "0.123" and again["loss_p10"] == "1e-07" and again["solved"] == "3"


def test_wrong_use_names_the_mend(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"hidden_layers is 11; the table has rows for \[2, 10, 30\]"):
        vgp.remedies(11)
    monkeypatch.setattr(table, "REMEDIES_CSV", tmp_path / "gone.csv")
    with pytest.raises(FileNotFoundError, match="git checkout"):
        vgp.remedies()
