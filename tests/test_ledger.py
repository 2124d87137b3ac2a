"""The ledger and the table of remedies: read, chosen, printed."""

import pytest

import vgp_lib as vgp
from vgp_lib import data


def test_a_notebook_s_part_prints_its_sentences_and_the_count():
    part = vgp.claims("02")
    assert {row["id"][:2] for row in part} == {"02"}
    assert all(row["sentence"] in repr(part) for row in part)
    ids = {row["id"]: row["verdict"] for row in part}
    assert all(f"{name:16} {verdict.upper()}" in repr(part).splitlines() for name, verdict in ids.items())
    assert repr(part).splitlines()[-1].startswith("8 claims: ")


def test_the_count_adds_up_over_all_notebooks():
    everything = vgp.claims()
    verdicts = {row["id"]: row["verdict"] for row in everything}.values()
    hold, false = (sum(verdict == word for verdict in verdicts) for word in ("holds", "false"))
    rest = len(verdicts) - hold - false
    last = f"{len(verdicts)} claims: {hold} hold, {false} false, {rest} hold only under a condition"
    assert repr(everything).splitlines()[-1] == last
    assert sum(len(vgp.claims(f"0{number}")) for number in range(1, 8)) == len(everything)


def test_a_case_prints_its_name_its_band_and_what_was_expected():
    lines = repr(vgp.claims("03")).splitlines()
    (line,) = [line.strip() for line in lines if line.strip().startswith("Adam: ")]
    (row,) = [row for row in vgp.claims("03") if row["case"] == "Adam"]
    low, median, high = (f"{float(row[name]):.2g}" for name in ("p10", "median", "p90"))
    assert line == (
        f"Adam: {row['experiment']}: {median}, 80 % of the seeds {low} to {high}; expected {row['expectation']}"
    )


def test_a_depth_prints_one_line_per_remedy_in_straight_columns():
    rows = vgp.remedies(30)
    assert {int(row["hidden_layers"]) for row in rows} == {30}
    head, *lines = repr(rows).splitlines()
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        assert line.startswith(row["remedy"]) and f" {row['solved']}/32  " in line
        assert line[head.index("still open") :] == row["still_open"]


def test_wrong_use_names_what_there_is():
    with pytest.raises(ValueError, match=r"'09'.*'01', '02'"):
        vgp.claims("09")
    with pytest.raises(ValueError, match=r"hidden_layers is 11; the table has rows for \[2, 10, 30\]"):
        vgp.remedies(11)


@pytest.mark.parametrize("read", [vgp.claims, vgp.remedies])
def test_a_missing_table_says_how_to_get_it_back(read, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "TABLES", tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"{read.__name__}\.csv is missing; git checkout"):
        read()
