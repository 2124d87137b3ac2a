"""The claims and remedies: stored as they stand, and a part of them measured again.

`python -m evidence` measures them all again; tests/evidence, that they notice a wrong library.
"""

import pathlib
import re
from collections import Counter

import keras
import numpy as np
import pytest

import vgp_lib as vgp
from evidence import __main__ as command
from evidence import claims, diagnosis, real_programs, remedies, tables
from vgp_lib import data

ROOT = pathlib.Path(__file__).parents[1]
CLAIMS = {claim.id: claim for claim in claims.CLAIMS}
# Without training, but of many or large nets.
SLOW = {
    "01-ladder", "02-deep-relu", "03-slope", "03-width", "04-leaky", "04-never", "04-tanh", "05-above-one",
    "05-band", "05-beyond", "05-bn-one", "05-dropout", "05-loss", "05-predicted", "05-quarter", "05-scale",
    "05-skip-one", "05-small", "06-above", "06-below", "06-bound", "06-direction", "06-lstm", "06-orthogonal",
    "06-random", "06-singular",
}  # fmt: skip
CHEAP = [claim.id for claim in claims.CLAIMS if not claim.trains and claim.id not in SLOW]


def no_training(*arguments, **others):
    raise InterruptedError


def stored(hidden_layers):
    return {row["remedy"]: row for row in vgp.remedies(hidden_layers)}


# The claims


def test_ids_are_unique_and_name_their_notebook():
    assert len(CLAIMS) == len(claims.CLAIMS)
    assert {name[:2] for name in CLAIMS} == {"01", "02", "03", "04", "05", "06", "07"}


def test_every_claim_is_stored_with_its_present_words():
    kept = {row["id"]: [row[name] for name in claims.WORDS] for row in vgp.claims()}
    present = {claim.id: [getattr(claim, name) for name in claims.WORDS] for claim in claims.CLAIMS}
    assert list(kept.items()) == list(present.items())


def test_every_stored_verdict_follows_from_the_stored_numbers():
    holds = {name: {} for name in CLAIMS}
    for row in vgp.claims():
        low, median, high = (float(row[name]) for name in ("p10", "median", "p90"))
        assert low <= median <= high, row
        holds[row["id"]][row["case"]] = CLAIMS[row["id"]].expects(low, high)
        assert row["holds"] == str(holds[row["id"]][row["case"]]), row
    assert {row["id"]: row["verdict"] for row in vgp.claims()} == {k: claims.verdict(v) for k, v in holds.items()}


@pytest.mark.parametrize("name", CHEAP)
def test_a_cheap_claim_measured_again_agrees(name, monkeypatch):
    monkeypatch.setattr(claims, "train", no_training)
    assert claims.deviation(CLAIMS[name], CLAIMS[name].rows(), vgp.claims()) == ""


def test_the_claims_of_trained_nets_are_marked(monkeypatch):
    monkeypatch.setattr(claims, "train", no_training)
    for claim in claims.CLAIMS:
        if claim.trains:
            with pytest.raises(InterruptedError):
                claim.measure()


def claim(measured, name="99-x"):
    return claims.Claim(name, "s", "t", "e", 0, 1, lambda: measured)


@pytest.mark.parametrize(
    ("cases", "verdict"),
    [
        ({"": True}, "holds"),
        ({"": False}, "false"),
        ({"a": True, "b": True}, "holds"),
        ({"a": False, "b": False}, "false"),
        ({"a": True, "b": False, "c": True}, "holds only if a or c"),
    ],
)
def test_the_verdict_follows_from_the_cases(cases, verdict):
    rows = claim({case: [0.5] if holds else [2.0] for case, holds in cases.items()}).rows()
    assert {row["verdict"] for row in rows} == {verdict}
    assert {row["case"]: row["holds"] for row in rows} == cases


@pytest.mark.parametrize("values", [[np.nan] * 32, [0.5] * 28 + [2.0] * 4, [-1.0] * 4 + [0.5] * 28])
def test_nan_or_more_than_a_tenth_of_the_seeds_outside_does_not_hold(values):
    assert claim({"": values}).rows()[0]["verdict"] == "false"


def test_three_of_32_seeds_may_lie_outside():
    assert claim({"": [-1.0] * 3 + [0.5] * 26 + [2.0] * 3}).rows()[0]["verdict"] == "holds"


OLD = {"": [0.4, 0.5, 0.6]}


@pytest.mark.parametrize(
    ("trains", "measured", "line"),
    [
        (False, {"": [0.4, 0.52, 0.6]}, ""),
        (False, {"": [0.4, 0.53, 0.6]}, "99-x: median 0.53, stored 0.5 [0.4, 0.6]"),
        (True, {"": [0.4, 0.74, 0.9]}, ""),
        (True, {"": [0.4, 0.76, 0.9]}, "99-x: median 0.76, stored 0.5 [0.4, 0.6]"),
        (True, {"": [0.2, 0.29, 0.6]}, "99-x: median 0.29, stored 0.5 [0.4, 0.6]"),
        (True, {"": [np.nan] * 3}, "99-x: holds False, stored True; verdict false, stored holds; median nan, stored 0"),
        (True, {"": [0.4, 0.5, 1.6]}, "99-x: holds False, stored True; verdict false, stored holds"),
        (False, {"": [0.4, 0.5, 0.6], "b": [0.5]}, "99-x: the cases are ['', 'b'], stored are ['']"),
    ],
)
def test_what_deviates_is_told(trains, measured, line, monkeypatch):
    monkeypatch.setattr(claims, "_TRAINED", {"99-x"} if trains else set())
    rows = command.tables.rounded(claim(OLD).rows())
    kept = [{name: str(value) for name, value in row.items()} for row in rows]
    told = claims.deviation(claim(measured), claim(measured).rows(), kept)
    assert told.startswith(line) and bool(told) == bool(line)
    kept[0]["sentence"] = "another"
    assert "the sentence is stored as 'another'" in claims.deviation(claim(OLD), claim(OLD).rows(), kept)


def test_every_correction_of_the_course_rests_on_claims_of_the_ledger():
    lines = (data.TABLES / "corrections.md").read_text(encoding="utf-8").splitlines()
    _, _, *rows = [line for line in lines if line.startswith("|")]
    named = [set(re.findall(r"\b0[1-7]-[a-z-]+", row)) for row in rows]
    assert all(named) and len(set.union(*named)) > 20 and set.union(*named) <= CLAIMS.keys()


# The remedies


def test_every_remedy_is_stored_once_for_its_depths_and_with_its_present_words():
    kept = [(row["remedy"], int(row["hidden_layers"]), row["still_open"]) for row in vgp.remedies()]
    assert kept == [(name, depth, remedies.REMEDIES[name][-1]) for name, depth in remedies.settings()]
    depths = {name: [depth for other, depth, _ in kept if other == name] for name in remedies.REMEDIES}
    assert depths.pop("2 layers") == [2]
    assert all(pair == [10, 30] for pair in depths.values())


def test_the_cheapest_remedy_measured_again_agrees():
    assert remedies.deviation(remedies.measure("2 layers", 2), vgp.remedies()) == ""


def test_dropout_lets_a_little_more_through_as_keras_scales_what_it_keeps():
    # Keras divides by 1 - rate what it keeps, so the mean square grows by 1.25 a layer: by 2.7 in nine layers, in norm.
    rows = stored(10)
    pair = (float(rows[name]["delta_ratio"]) for name in ("dropout 0.2", "nothing: sigmoid, Glorot, Adam"))
    assert 2.7 / 1.5 < next(pair) / next(pair) < 2.7 * 1.5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"gradient_ratio": 1.06}, "gradient_ratio 1.06, stored 1"),
        ({"delta_ratio": np.nan}, "delta_ratio nan, stored 2"),
        ({"loss": 0.31}, "loss 0.31, stored 0.1 [0.05, 0.2]"),
        ({"solved": 25}, "25 solved, stored 32"),
        ({"still_open": "all"}, "still open is stored as 'y'"),
        ({"hidden_layers": 30}, "0 rows are stored"),
    ],
)
def test_a_remedy_that_deviates_is_told(change, told):
    row = {"remedy": "x", "hidden_layers": 10, "loss": 0.1, "loss_p10": 0.05, "loss_p90": 0.2, "solved": 32}
    row |= {"gradient_ratio": 1.0, "delta_ratio": 2.0, "still_open": "y"}
    kept = [{name: str(value) for name, value in line.items()} for line in command.tables.rounded([row])]
    again = row | change
    assert remedies.deviation(again, kept) == (told and f"x, {again['hidden_layers']} layers: {told}")


# The command


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A ledger of one claim and a table of one remedy, stored in a folder of their own."""
    values = {"": [0.12345, 0.5, 0.6]}
    row = {"remedy": "x", "hidden_layers": 10, "loss": 0.12345, "loss_p10": np.float64(1e-7), "loss_p90": 1.0}
    row |= {"solved": 3, "gradient_ratio": 1.0, "delta_ratio": 2.0, "still_open": "y"}
    monkeypatch.setattr(data, "TABLES", tmp_path)
    monkeypatch.setattr(claims, "CLAIMS", (claim(values),))
    monkeypatch.setattr(remedies, "settings", lambda: [("x", 10)])
    monkeypatch.setattr(remedies, "measure", lambda name, depth: row)
    return values


def test_what_is_stored_is_rounded_read_and_compared(small, capsys):
    assert not command.main(["--store"])
    printed = capsys.readouterr().out
    assert repr(vgp.claims()) in printed and repr(vgp.remedies()) in printed
    assert vgp.claims()[0]["p10"] == "0.123"
    (again,) = vgp.remedies()
    assert again["loss"] == "0.123" and again["loss_p10"] == "1e-07" and again["solved"] == "3"
    assert command.main([]) == 0
    assert "2 claims and remedies" in capsys.readouterr().out
    small[""] = [0.3, 0.4, 0.5]
    assert command.main([]) == 1
    assert capsys.readouterr().out.startswith("99-x: median 0.4, stored 0.5 [0.123, 0.6]\n")


def test_the_benchmark_is_run_by_its_name(monkeypatch):
    asked = []
    monkeypatch.setattr(command.diagnosis, "measure", asked.append)
    for arguments in (["diagnosis"], ["diagnosis", "--quick"]):
        assert not command.main(arguments)
    assert asked == [False, True]


def told_of_programs():
    """Shares of the stored answers, and of those at first, as README tells them: "94 %"."""
    rows = [row for row in tables.read(real_programs.TABLE) if row["seconds"]]
    faulty, twins = ([row for row in rows if row["kind"] == kind] for kind in ("faulty", "twin"))
    twins = [row for row in twins if row["label"] == "sound"]
    first = (real_programs.FOLDER / "first_score.txt").read_text()

    def both(row):
        return row["verdict_right"] == "1" and row["sense_right"] != "0"

    def share(rows, right):
        return 100 * real_programs.mean_share(rows, right)

    now = [
        share(faulty, lambda row: row["verdict_right"] == "1"),
        share(faulty, both),
        share(twins, lambda row: row["flagged"] == "1"),
    ]
    names = r"all faulty +verdict right", r" +and in sense", r"twins +flagged"
    then = [float(re.search(rf"^{name} +([\d.]+)%", first, re.MULTILINE)[1]) for name in names]
    seconds = [float(row["seconds"]) for row in rows]
    return [[f"{value:.0f} %" for value in column] for column in (then, now)], seconds


def test_a_proposed_line_is_applied_as_a_whole():
    config = {"units": 10, "activation": "sigmoid", "initializer": "glorot_uniform", "bias": 1, "optimizer": None}
    line = 'keras.layers.Dense(10, activation="relu", kernel_initializer="he_normal")  # in every hidden layer'
    changed = diagnosis.treated(config, f"{line}, and optimizer = keras.optimizers.Adam(0.01)")
    assert (
        isinstance(changed["optimizer"], keras.optimizers.Adam)
        and changed["activation"] == "relu"
        and changed["units"] == 10
    )
    assert diagnosis.treated(config | {"units": 2}, line)["units"] == 10 and config["optimizer"] is None


def test_the_scores_on_our_own_zoo_are_told_as_they_were_measured():
    rows = tables.read("diagnosis_benchmark.csv")
    held_out = [row for row in rows if row["half"] == "held out"]
    sick = [row for row in held_out if row["label"] in diagnosis.VERDICTS[1:]]
    healthy = [row for row in held_out if row["label"] == "healthy"]
    readme = (ROOT / "README.md").read_text()
    notebook = (ROOT / "notebooks" / "07_your_network.ipynb").read_text()
    names = {"`diagnose`": "verdict", "AutoTrainer": "AutoTrainer", "SageMaker Debugger": "SageMaker"}
    for name, column in (names | {name: name for name in ("DeepDiagnosis", "TheDeepChecker")}).items():
        right = sum(row[column] in row["right"].split() for row in sick)
        flagged = sum(row[column] != "healthy" for row in healthy)
        counts = [f" ({right} of {len(sick)})", f" ({flagged} of {len(healthy)})"] if name == "`diagnose`" else ["", ""]
        shares = [100 * right / len(sick), 100 * flagged / len(healthy)]
        exact, round_ = (
            " | ".join(f"{share:.{digits}f} %{count}" for share, count in zip(shares, counts, strict=True))
            for digits in (1, 0)
        )
        assert re.search(rf"\| {name}(?:'s)?(?: rules)? \| {re.escape(exact)} \|", readme), (name, exact)
        assert f"| {name} | {round_} |" in notebook, (name, round_)
    cured = [row["cured"] for row in held_out if row["cured"]]
    told = f"{cured.count('yes')} of {len(cured)} lines cured"
    converged = [row["converged"] for row in rows if row["converged"]]
    words = f"Of {len(converged)} converged networks, of both halves, none is called sick"
    assert {*converged} == {"healthy"} and words in " ".join(readme.split())
    assert told in notebook and told in " ".join(readme.split())


def test_the_scores_on_strangers_programs_are_told_as_they_were_measured():
    (then, now), seconds = told_of_programs()
    for text in ((ROOT / "README.md").read_text(), (ROOT / "notebooks" / "07_your_network.ipynb").read_text()):
        for before, after in zip(then, now, strict=True):
            assert f"| {before} | {after}" in text
    median, most = np.quantile(seconds, [0.5, 0.95])
    words = f"The median took {median:.1f} s, 95 % took at most {most:.1f} s, the longest {max(seconds):.0f} s"
    assert words in (ROOT / "README.md").read_text()


def test_the_counts_on_strangers_programs_are_told_as_they_were_measured():
    rows = [row for row in tables.read(real_programs.TABLE) if row["seconds"]]
    faulty, twins = ([row for row in rows if row["kind"] == kind] for kind in ("faulty", "twin"))
    twins = [row for row in twins if row["label"] == "sound"]
    bad = [row for row in faulty if row["label"] != "sound"]
    nothing = [row for row in bad if row["try_next"].startswith("nothing")]
    assert sum(row["sense_right"] == "1" for row in nothing) == 5
    flagged = [row["program"] for row in twins if row["flagged"] == "1"]
    assert max(map(flagged.count, flagged)) == 10 and {row["verdict"] for row in twins} == {"healthy"}
    cured = []
    for label in ("gradient fault", "other fault"):
        part = [row for row in faulty if row["label"] == label and row["cured"]]
        share = real_programs.mean_share(part, lambda row: row["cured"] == "yes")
        cured.append(f"{100 * share:.0f} % ({sum(row['cured'] == 'yes' for row in part)} of {len(part)})")
    sick = Counter(row["program"] for row in faulty if row["label"] == "gradient fault")
    asked = Counter(row["program"] for row in faulty)
    most = sum(sick[program] > asked[program] / 2 for program in asked)
    numbers = {5: "five"}
    text = (ROOT / "README.md").read_text()
    for told in (
        f"({len(nothing)} of {len(bad)}); five of the six say to train longer",
        f"({len(flagged)} of {len(twins)}, ten of them seeds of one program); called sick: none",
        ", ".join(cured),
        f"Only {numbers[most]} of them have a gradient fault from most seeds",
        f"({len(rows)} diagnoses)",
    ):
        assert told in text
    assert (
        f"Only {most} of these programs have a gradient fault"
        in (ROOT / "notebooks" / "07_your_network.ipynb").read_text()
    )
