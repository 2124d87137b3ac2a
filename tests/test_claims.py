"""The ledger: measured again and compared with data/claims.csv; and red when the library is wrong."""

import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import vgp_lib as vgp
from vgp_lib import gradients, models, training

ledger = sys.modules["vgp_lib.claims"]  # the attribute vgp_lib.claims is the function


def numbers(row):
    return [float(row[name]) for name in ("p10", "median", "p90")]


@pytest.fixture(scope="module")
def measured():
    return {(row["id"], row["case"]): row for row in ledger.measure()}


def test_every_claim_is_stored_with_its_present_sentence_and_cases(measured):
    stored = [(row["id"], row["case"], row["sentence"], row["expectation"]) for row in vgp.claims()]
    assert stored == [(*key, row["sentence"], row["expectation"]) for key, row in measured.items()]


def test_every_verdict_is_measured_again(measured):
    stored = {(row["id"], row["case"]): (row["holds"], row["verdict"]) for row in vgp.claims()}
    assert stored == {key: (str(row["holds"]), row["verdict"]) for key, row in measured.items()}


def test_every_measured_median_lies_near_the_stored_band(measured):
    for stored in vgp.claims():
        low, _, high = numbers(stored)
        again = numbers(measured[stored["id"], stored["case"]])[1]
        # Trained nets differ a little between processors: a quarter on both sides, and float32's noise near 0.
        assert low * 0.75 - 1e-4 <= again <= high * 1.25 + 1e-4, stored["id"]


def test_ids_are_unique_and_name_their_notebook():
    ids = [claim.id for claim in ledger.CLAIMS]
    assert len(set(ids)) == len(ids)
    assert {name[:2] for name in ids} == {"01", "02", "03", "04", "05", "06", "07"}


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
    values = {case: [0.5] if holds else [2.0] for case, holds in cases.items()}
    rows = ledger.Claim("99-x", "s", "t", "e", 0, 1, lambda: values).rows()
    assert {row["verdict"] for row in rows} == {verdict}


@pytest.mark.parametrize("values", [[np.nan] * 32, [0.5] * 28 + [2.0] * 4, [-1.0] * 4 + [0.5] * 28])
def test_nan_or_more_than_a_tenth_of_the_seeds_outside_does_not_hold(values):
    assert ledger.Claim("99-x", "s", "t", "e", 0, 1, lambda: {"": values}).rows()[0]["verdict"] == "false"


def test_a_notebook_s_part_prints_its_sentences_and_the_count():
    part = vgp.claims("02")
    assert {row["id"][:2] for row in part} == {"02"}
    assert all(row["sentence"] in repr(part) for row in part)
    assert repr(part).splitlines()[-1].startswith("8 claims: ")


def test_unknown_notebooks_and_claims_are_refused():
    with pytest.raises(ValueError, match=r"'09'.*'01', '02'"):
        vgp.claims("09")
    with pytest.raises(ValueError, match="99-x"):
        ledger.measure("99-x")


def test_a_missing_ledger_names_the_mend(monkeypatch, tmp_path):
    monkeypatch.setattr(ledger, "CLAIMS_CSV", tmp_path / "claims.csv")
    with pytest.raises(FileNotFoundError, match="git checkout"):
        vgp.claims()


# Deliberate faults: each must turn at least one of the named claims red.


def wrong_sign(patch):
    patch.setattr(ledger, "gradient_from_update", lambda old, new, rate: (new - old) / rate)


def forgotten_learning_rate(patch):
    patch.setattr(ledger, "gradient_from_update", lambda old, new, rate: old - new)


def wrong_layer(patch):
    patch.setattr(gradients, "_first_over_last_hidden", lambda values: float(values[1] / values[-2]))


def upside_down(patch):
    patch.setattr(gradients, "_first_over_last_hidden", lambda values: float(values[-2] / values[0]))


def batch_instead_of_samples(patch):
    patch.setattr(
        gradients.LayerReport,
        "gradient_ratio",
        property(lambda report: report.kernel_gradient_norm[0] / report.kernel_gradient_norm[-2]),
    )


def gradient_of_the_untrained_net(patch):
    patch.setattr(training.Runs, "model", lambda runs, seed: runs._build())


def forgotten_division_in_percent_change(patch):
    patch.setattr(ledger, "percent_change", lambda old, new: np.full_like(old, 100))


def activation_ignored(patch):
    right = models.build_mlp
    patch.setattr(ledger, "build_mlp", lambda *a, activation="sigmoid", **k: right(*a, activation="linear", **k))


def weights_not_restored(patch):
    """The second experiment on one architecture begins where the first one ended."""
    right = training._Program.run

    def run(program, starts, *arguments):
        records, program.ended = right(program, getattr(program, "ended", starts), *arguments)
        return records, program.ended

    patch.setattr(training._Program, "run", run)


def shared_initializer(patch):
    """All layers of a net take the first layer's initializer, and so, where the shapes agree, its weights."""
    right, first = models._copy_initializer, {}

    def copy(initializer, seed):
        return right(initializer, first.setdefault("seed", seed))

    patch.setattr(models, "_copy_initializer", copy)


def symmetric_weights(patch):
    """All weights of a layer begin equal."""
    right = training._initial_values

    def equal(model, seeds):
        return [np.full_like(values, values.mean()) for values in right(model, seeds)]

    patch.setattr(training, "_initial_values", equal)


def missing_bias_gradient(patch):
    right = training._Program._backpropagate

    def without_biases(program, arguments):
        value, gradient, hits, state = right(program, arguments)
        pairs = zip(program.sizes, program.shapes, strict=True)
        mask = np.concatenate([np.full(size, len(shape) > 1, "float32") for size, shape in pairs])
        return value, gradient * mask, hits, state

    patch.setattr(training._Program, "_backpropagate", without_biases)


def ascent(patch):
    right = training._Program._clip
    patch.setattr(training._Program, "_clip", lambda program, gradient: -right(program, gradient))


def width_ignored(patch):
    right = models.build_mlp
    patch.setattr(ledger, "build_mlp", lambda *a, units=10, **k: right(*a, units=units // 5, **k))


def dead_units_not_counted(patch):
    right = gradients.inspect_layers

    def inspect(*arguments):
        report = right(*arguments)
        report.dead[:] = 0
        return report

    patch.setattr(ledger, "inspect_layers", inspect)


def relu_slope_at_zero_is_one(patch):
    # x where x >= 0: the derivative at 0 is then 1, as some texts say.
    patch.setattr(keras.activations, "get", lambda name: lambda z: tf.where(z >= 0, z, 0.0))


def clipping_forgotten(patch):
    patch.setattr(training._Program, "_clip", lambda program, gradient: gradient)


def lag_counted_from_the_first_step(patch):
    right = gradients.gradient_by_lag
    patch.setattr(ledger, "gradient_by_lag", lambda *arguments: right(*arguments)[::-1])


def gain_ignored(patch):
    patch.setattr(keras.initializers, "Orthogonal", lambda gain: keras.initializers.OrthogonalInitializer())


# These change what is compiled; the others can go on with the compiled programs.
CHANGE_PROGRAMS = (weights_not_restored, missing_bias_gradient, ascent, clipping_forgotten)


def forget_measurements(programs):
    for cached in (ledger._tutorial, ledger._lags, ledger._remembered, *([training._program] if programs else [])):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("fault", "ids"),
    [
        (wrong_sign, ["02-one-step"]),
        (forgotten_learning_rate, ["02-one-step"]),
        (wrong_layer, ["01-ladder", "03-slope"]),
        (upside_down, ["01-ladder"]),
        (batch_instead_of_samples, ["02-plateau"]),
        (gradient_of_the_untrained_net, ["02-plateau", "02-adam-step"]),
        (forgotten_division_in_percent_change, ["02-percent"]),
        (activation_ignored, ["01-ladder"]),
        (weights_not_restored, ["04-dead"]),
        (shared_initializer, ["01-scatter"]),
        (symmetric_weights, ["03-depth-wanted"]),
        (missing_bias_gradient, ["03-depth-wanted"]),
        (ascent, ["02-one-step", "02-adam-step"]),
        (width_ignored, ["01-ladder"]),
        (dead_units_not_counted, ["04-dead"]),
        (relu_slope_at_zero_is_one, ["04-zero"]),
        (clipping_forgotten, ["06-clipping"]),
        (lag_counted_from_the_first_step, ["06-orthogonal"]),
        (gain_ignored, ["06-singular"]),
    ],
)
def test_a_wrong_library_turns_claims_red(fault, ids, monkeypatch):
    right = {row["id"]: row["verdict"] for row in vgp.claims()}
    forget_measurements(fault in CHANGE_PROGRAMS)
    fault(monkeypatch)
    try:
        wrong = {row["id"]: row["verdict"] for row in ledger.measure(*ids)}
    finally:
        forget_measurements(fault in CHANGE_PROGRAMS)
    assert any(wrong[name] != right[name] for name in ids), wrong


def test_every_claim_that_the_corrections_name_is_in_the_ledger():
    text = (ledger.CLAIMS_CSV.parent / "corrections.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b0[1-7]-[a-z-]+", text))
    assert len(named) > 20 and named <= {claim.id for claim in ledger.CLAIMS}
    # 17 rows of what is said, as many as the course set out to correct
    assert sum(line.startswith("| ") for line in text.splitlines()) == 17 + 1
