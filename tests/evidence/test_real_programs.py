"""Programs of strangers: the data are those that were published, twins learn, the stored answers hold the floor."""

import hashlib

import pytest

from evidence import real_programs, tables

HASH = "3654abd56b057013941b65a02bbef937914ca3f3e08b3325042428316c0551f2"


def test_the_programs_are_those_that_were_published():
    digest = hashlib.sha256()
    for path in sorted([*real_programs.FOLDER.glob("*.json"), *real_programs.FOLDER.glob("*.npz")]):
        digest.update(path.name.encode() + path.read_bytes())
    assert digest.hexdigest() == HASH
    assert sorted(real_programs.programs()) == sorted(real_programs.TWINS)


def test_a_program_is_handed_out_as_its_author_had_it():
    program = real_programs.programs()[64395424]
    first, second, other = (program.model(seed, build=True).get_weights() for seed in (1, 1, 2))
    assert not program.built and not program.model(0).built
    assert all((a == b).all() for a, b in zip(first, second, strict=True)) and (first[0] != other[0]).any()


@pytest.mark.parametrize("number", [34311586, 46869312, 68458462])
def test_a_twin_learns(number):
    trainer = real_programs.Trainer(real_programs.twin(number))
    trainer.start(0)
    trainer.train(trainer.program.steps)
    assert trainer.score() > 0.9


def test_a_proposed_line_is_applied():
    program = real_programs.programs()[34311586]
    changed = real_programs.apply(program, 'keras.layers.Dense(1, activation="sigmoid")', None)
    assert [layer.activation.__name__ for layer in changed.model(0).layers] == ["sigmoid"] * 3
    changed = real_programs.apply(program, "optimizer = keras.optimizers.Adam(0.5, global_clipnorm=1.0)", None)
    assert changed.optimizer["learning_rate"] == 0.5 and changed.optimizer["global_clipnorm"] == 1
    line = 'keras.layers.Dense(2, activation="relu", kernel_initializer="he_normal")  # in every hidden layer'
    changed = real_programs.apply(program, line, "dense_1")
    assert [layer.units for layer in changed.model(0).layers] == [2, 3, 1]
    assert [layer.activation.__name__ for layer in changed.model(0).layers] == ["relu", "relu", "softmax"]
    changed = real_programs.apply(program, line.replace("(2", "(10"), "dense_1")  # more than any has: for all of them
    assert [layer.units for layer in changed.model(0).layers] == [10, 10, 1]


def test_two_lines_are_applied_both_and_a_last_layer_brings_its_loss():
    program = real_programs.programs()[34311586]
    last = 'keras.layers.Dense(1, activation="sigmoid")  # the last layer, with loss="binary_crossentropy"'
    layer = 'keras.layers.Dense(2, activation="relu", kernel_initializer="he_normal")'
    changed = real_programs.apply(
        program, f"{last}; then {layer}  # and optimizer = keras.optimizers.Adam(0.5)", "dense"
    )
    assert [layer.activation.__name__ for layer in changed.model(0).layers] == ["relu", "sigmoid", "sigmoid"]
    assert changed.loss == "binary_crossentropy" and changed.optimizer["name"] == "Adam"
    changed = real_programs.apply(program, "nothing to change; train for at least 500 steps", None)
    assert changed.epochs == 500


def test_numbers_in_place_of_tokens_are_applied():
    changed = real_programs.apply(
        real_programs.programs()[61274792], "keras.layers.Reshape((1000, 1))  # for numbers", None
    )
    model = changed.model(0, build=True)
    assert [type(layer).__name__ for layer in model.layers][:3] == ["Reshape", "Dropout", "LSTM"]


def test_more_steps_than_the_author_took_name_the_fault_of_too_few():
    row = {"program": 56452176, "kind": "faulty", "label": "other fault", "right": "healthy", "verdict": "healthy"}
    row |= {"because": "", "error": "", "try_next": "nothing to change; train for at least 29 steps"}
    assert real_programs.judge(row, steps=10)["sense_right"] == 1
    assert real_programs.judge(row, steps=29)["sense_right"] == 0


def rows(kind):
    return [row for row in tables.read(real_programs.TABLE) if row["kind"] == kind and row["seconds"]]


def test_the_stored_answers_hold_the_floor():
    assert {int(row["program"]) for row in rows("faulty")} == set(real_programs.TWINS)
    faulty = rows("faulty")
    right = real_programs.mean_share(faulty, lambda row: row["verdict_right"] == "1" and row["sense_right"] != "0")
    sound = [row for row in rows("twin") if row["label"] == "sound"]
    assert right >= RIGHT
    assert real_programs.mean_share(sound, lambda row: row["flagged"] == "1") <= FLAGGED


RIGHT, FLAGGED = 0.95, 0.05  # stored: 0.96 and 0.04; first, 0.48 and 0.17
