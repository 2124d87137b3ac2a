"""The ledger and the table of remedies: read, chosen, printed."""

import re

import pytest

import vgp_lib as vgp
from vgp_lib import data
from vgp_lib.classroom.ledger import Ledger


def test_a_notebook_s_part_prints_a_line_for_each_claim_and_the_count():
    part = vgp.claims("02")
    assert {row["id"][:2] for row in part} == {"02"}
    sentences = {row["id"]: row["sentence"] for row in part}
    *lines, last = repr(part).splitlines()
    assert len(lines) == len(sentences) and last.startswith(f"{len(sentences)} claims: ")
    assert all(line.split()[1] in ("holds", "false") and sentences[line.split()[0]] in line for line in lines)


def test_a_condition_is_said_at_the_end_of_the_line():
    row = {"id": "01-one", "sentence": "It is.", "verdict": "holds only if slow"}
    other = {"id": "01-two", "sentence": "It is not.", "verdict": "false"}
    assert repr(Ledger([row, other])).splitlines() == [
        "01-one           holds  It is. (Only if slow.)",
        "01-two           false  It is not.",
        "2 claims: 0 hold, 1 false, 1 hold only under a condition",
    ]


def test_the_count_adds_up_over_all_notebooks():
    everything = vgp.claims()
    verdicts = {row["id"]: row["verdict"] for row in everything}.values()
    hold, false = (sum(verdict == word for verdict in verdicts) for word in ("holds", "false"))
    rest = len(verdicts) - hold - false
    last = f"{len(verdicts)} claims: {hold} hold, {false} false, {rest} hold only under a condition"
    assert repr(everything).splitlines()[-1] == last
    assert sum(len(vgp.claims(f"0{number}")) for number in range(1, 8)) == len(everything)


def test_a_single_claim_prints_who_says_it_and_for_each_case_its_band_and_what_was_expected():
    claim = vgp.claims("03-optimizer")
    lines = [line.strip() for line in repr(claim).splitlines()]
    assert lines[1] == f"Said by: {claim[0]['source']}." and len(lines) == 2 + len(claim)
    (line,) = [line for line in lines if line.startswith("Adam: ")]
    (row,) = [row for row in claim if row["case"] == "Adam"]
    low, median, high = (f"{float(row[name]):.2g}" for name in ("p10", "median", "p90"))
    assert line == (
        f"Adam: {row['experiment']}: {median}, 80 % of the seeds {low} to {high}; expected {row['expectation']}"
    )


def test_a_depth_prints_one_line_per_remedy_in_straight_columns():
    rows = vgp.remedies(30)
    assert {int(row["hidden_layers"]) for row in rows} == {30}
    _, head, *lines = repr(rows).splitlines()
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        assert line.startswith(row["remedy"]) and f" {row['solved']}/32  " in line
        assert line[head.index("what stays wrong") :] == row["still_open"]


def test_chosen_remedies_print_under_their_kinds_with_both_depths_in_a_line():
    rows = vgp.remedies(kinds={"pairs": ["ReLU + He"], "activation": ["tanh", "2 layers"]})
    assert [row["kind"] for row in rows] == 2 * ["pairs"] + 3 * ["activation"]
    depths, head, *lines = repr(rows).splitlines()
    assert re.findall(r"(\d+) hidden", depths) == ["2", "10", "30"] and head.count("solved") == 3
    assert [line.split("   ")[0].strip() for line in lines] == ["pairs", "ReLU + He", "activation", "tanh", "2 layers"]
    measured = {(row["remedy"], row["hidden_layers"]): row["solved"] for row in rows}
    assert re.findall(r"(\d+)/32", lines[1]) == [measured["ReLU + He", "10"], measured["ReLU + He", "30"]]
    last = head.index("what stays wrong")
    texts = {row["remedy"]: row["still_open"] for row in rows}
    assert [line[last:] for line in lines if line.startswith(" ")] == list(texts.values())


def test_wrong_use_names_what_there_is():
    with pytest.raises(ValueError, match=r"'09'.*'01', '02'"):
        vgp.claims("09")
    with pytest.raises(ValueError, match=r"hidden_layers is 11; the table has rows for \[2, 10, 30\]"):
        vgp.remedies(11)
    with pytest.raises(ValueError, match=r"kinds has \['tan'\]; the table has .*'tanh'"):
        vgp.remedies(30, {"activation": ["tan"]})


@pytest.mark.parametrize("read", [vgp.claims, vgp.remedies])
def test_a_missing_table_says_how_to_get_it_back(read, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "TABLES", tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"{read.__name__}\.csv is missing; git checkout"):
        read()
