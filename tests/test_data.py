import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split

import vgp_lib as vgp
from vgp_lib import data

MOONS_CSV, ADVICE = data.TABLES / "moons.csv", "git checkout"


@pytest.fixture(scope="module")
def oracle():
    return make_moons(250, noise=0.05, random_state=42)


# The frozen file


def test_csv_holds_make_moons_bit_for_bit_in_its_order(oracle):
    table = np.genfromtxt(MOONS_CSV, delimiter=",", names=True, dtype=None, encoding="utf-8")
    x, y = oracle
    assert table.dtype.names == ("x1", "x2", "label", "split", "row")
    assert np.column_stack([table["x1"], table["x2"]]).tobytes() == x.tobytes()
    assert table["label"].tolist() == y.tolist()


def test_csv_split_and_row_are_the_places_in_train_test_split():
    table = np.genfromtxt(MOONS_CSV, delimiter=",", names=True, dtype=None, encoding="utf-8")
    train, test = train_test_split(np.arange(250), test_size=0.2, random_state=42)
    places = {index: ("train", row) for row, index in enumerate(train)}
    places |= {index: ("test", row) for row, index in enumerate(test)}
    assert list(zip(table["split"].tolist(), table["row"].tolist(), strict=True)) == [places[i] for i in range(250)]


def test_load_moons_is_the_split_of_scikit_learn_rounded_to_float32(oracle):
    x_train, x_test, y_train, y_test = train_test_split(*oracle, test_size=0.2, random_state=42)
    moons = vgp.load_moons()
    for ours, theirs in zip(moons, (x_train, y_train, x_test, y_test), strict=True):
        np.testing.assert_array_equal(ours, theirs.astype("float32"), strict=True)


def test_load_moons_shapes_and_names():
    moons = vgp.load_moons()
    assert {name: array.shape for name, array in moons._asdict().items()} == {
        "x_train": (200, 2),
        "y_train": (200,),
        "x_test": (50, 2),
        "y_test": (50,),
    }
    assert {array.dtype for array in moons} == {np.dtype("float32")}


def test_load_moons_gives_arrays_of_ones_own():
    vgp.load_moons().x_train[:] = 0
    assert vgp.load_moons().x_train.any()


def _copy(monkeypatch, tmp_path, content):
    path = tmp_path / "moons.csv"
    path.write_bytes(content)
    monkeypatch.setattr(data, "TABLES", tmp_path)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_line_ends_of_any_system_are_read(monkeypatch, tmp_path, newline):
    before = vgp.load_moons()
    _copy(monkeypatch, tmp_path, newline.join(MOONS_CSV.read_bytes().splitlines()))
    for one, other in zip(before, vgp.load_moons(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_missing_file_names_the_advice(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "TABLES", tmp_path)
    with pytest.raises(FileNotFoundError, match=ADVICE):
        vgp.load_moons()


def _field(lines, column, value, row=8):
    fields = lines[row].split(",")
    fields[column] = value
    return [*lines[:row], ",".join(fields), *lines[row + 1 :]]


DAMAGE = {
    "empty file": lambda lines: [],
    "header lost": lambda lines: lines[1:],
    "header changed": lambda lines: ["x1,x2,class,split,row", *lines[1:]],
    "header in another order": lambda lines: ["x2,x1,label,split,row", *lines[1:]],
    "header alone": lambda lines: lines[:1],
    "first row missing": lambda lines: lines[:1] + lines[2:],
    "last row missing": lambda lines: lines[:-1],
    "a row doubled": lambda lines: [*lines, lines[8]],
    "a row in place of another": lambda lines: [*lines[:8], lines[9], *lines[9:]],
    "a row of an unknown split too many": lambda lines: [*lines, "0.5,0.5,1,validation,0"],
    "split misspelt": lambda lines: _field(lines, 3, "trian"),
    "last line cut off": lambda lines: [*lines[:-1], lines[-1][:30]],
    "a line cut off": lambda lines: [*lines[:8], lines[8].split(",")[0], *lines[9:]],
    "x1 nan": lambda lines: _field(lines, 0, "nan"),
    "x2 infinite": lambda lines: _field(lines, 1, "inf"),
    "x1 beyond float32": lambda lines: _field(lines, 0, "1e39"),
    "x1 text": lambda lines: _field(lines, 0, "left"),
    "x2 empty": lambda lines: _field(lines, 1, ""),
    "label 2": lambda lines: _field(lines, 2, "2"),
    "label 0.5": lambda lines: _field(lines, 2, "0.5"),
    "label nan": lambda lines: _field(lines, 2, "nan"),
    "label text": lambda lines: _field(lines, 2, "upper"),
    "row not whole": lambda lines: _field(lines, 4, "7.5"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_file_is_refused_and_the_advice_named(monkeypatch, tmp_path, damage):
    lines = MOONS_CSV.read_text(encoding="utf-8").splitlines()
    _copy(monkeypatch, tmp_path, "\n".join(damage(lines)).encode())
    with pytest.raises(ValueError, match=ADVICE):
        vgp.load_moons()


def test_file_that_is_not_text_is_refused_and_the_advice_named(monkeypatch, tmp_path):
    _copy(monkeypatch, tmp_path, b"\x80\xff" + MOONS_CSV.read_bytes())
    with pytest.raises(ValueError, match=ADVICE):
        vgp.load_moons()


# Spirals


@pytest.mark.parametrize(("samples", "train"), [(10, 8), (100, 80), (502, 401)])
def test_spirals_have_four_fifths_for_training(samples, train):
    spirals = vgp.make_spirals(samples)
    test = samples - train
    assert [array.shape for array in spirals] == [(train, 2), (train,), (test, 2), (test,)]
    assert {array.dtype for array in spirals} == {np.dtype("float32")}


@pytest.mark.parametrize("seed", range(5))
def test_spirals_are_balanced(seed):
    spirals = vgp.make_spirals(500, seed=seed)
    assert np.concatenate([spirals.y_train, spirals.y_test]).tolist().count(1.0) == 250
    assert 0.4 < spirals.y_train.mean() < 0.6
    assert 0.3 < spirals.y_test.mean() < 0.7


def test_spirals_come_again_with_their_seed_only():
    one, same, other = vgp.make_spirals(seed=3), vgp.make_spirals(seed=3), vgp.make_spirals(seed=4)
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.x_train, other.x_train)


@pytest.mark.parametrize("turns", [0.5, 1.5, 3])
def test_spirals_without_noise_lie_on_two_arms_opposite_each_other(turns):
    spirals = vgp.make_spirals(400, turns=turns, noise=0)
    x, y = np.concatenate([spirals.x_train, spirals.x_test]), np.concatenate([spirals.y_train, spirals.y_test])
    position = x[:, 0].astype("float64") + 1j * x[:, 1]
    radius = np.abs(position)
    unwound = position * np.exp(
        -2j * np.pi * turns * radius
    )  # turning back leaves both arms straight, on the real axis
    np.testing.assert_allclose(unwound, np.where(y == 0, radius, -radius), atol=1e-5)
    assert radius.min() < 0.25 and 0.95 < radius.max() <= 1.000001


def test_spirals_noise_is_a_standard_deviation():
    spirals = vgp.make_spirals(4000, turns=1e-9, noise=0.05)  # arms so straight that x2 is noise alone
    assert spirals.x_train[:, 1].std() == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("samples", value) for value in (0, 8, 11, -10, 500.0, "500", None)),
        *(("turns", value) for value in (0, -1.5, float("nan"), float("inf"), "1.5", None)),
        *(("noise", value) for value in (-0.1, float("nan"), float("inf"), "0", None)),
        *(("seed", value) for value in (-1, 1.5, "zero")),
    ],
)
def test_spirals_refuse_bad_input_naming_the_argument(argument, value):
    with pytest.raises((ValueError, TypeError), match=argument):
        vgp.make_spirals(**{argument: value})


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.08415409737684063", "0.08415409737684064"), (",1,train,65", ",0,train,65"), ("train,65", "train,65,7")],
    ids=["another digit", "another label", "another field"],
)
def test_a_change_that_looks_harmless_is_noticed(monkeypatch, tmp_path, old, new):
    text = MOONS_CSV.read_text(encoding="utf-8")
    assert old in text
    copy = tmp_path / "moons.csv"
    copy.write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(data, "TABLES", tmp_path)
    with pytest.raises(ValueError, match=r"damaged.*git checkout"):
        vgp.load_moons()


# The first bit


@pytest.mark.parametrize(("samples", "steps"), [(10, 2), (502, 30)])
def test_first_bit_has_four_fifths_for_training_and_as_many_of_each_class(samples, steps):
    bits, train = vgp.make_first_bit(samples, steps), samples * 4 // 5
    shapes = [(train, steps, 1), (train,), (samples - train, steps, 1), (samples - train,)]
    assert [array.shape for array in bits] == shapes
    assert {array.dtype for array in bits} == {np.dtype("float32")}
    assert np.concatenate([bits.y_train, bits.y_test]).tolist().count(1.0) == samples // 2


def test_the_first_bit_gives_the_class_and_nothing_else_does():
    bits = vgp.make_first_bit(20000, 4, noise=0.3)
    first, later = bits.x_train[:, 0, 0], bits.x_train[:, 1:, 0]
    np.testing.assert_array_equal(first, 2 * bits.y_train - 1)
    assert later.std() == pytest.approx(0.3, rel=0.02) and abs(later.mean()) < 0.01
    assert np.abs(np.corrcoef(np.column_stack([first, later]).T) - np.eye(4)).max() < 0.03


def test_first_bit_comes_again_with_its_seed_only():
    one, same, other = (vgp.make_first_bit(50, 3, seed=seed) for seed in (3, 3, 4))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.x_train, other.x_train)
    assert not np.array_equal(one.y_train, other.y_train)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("samples", value) for value in (0, 8, 11, 500.0, None)),
        *(("time_steps", value) for value in (1, 0, 2.0, True)),
        *(("noise", value) for value in (-0.1, float("nan"), float("inf"), "0")),
        *(("seed", value) for value in (-1, 1.5)),
    ],
)
def test_first_bit_refuses_bad_input_naming_the_argument(argument, value):
    with pytest.raises((ValueError, TypeError), match=argument):
        vgp.make_first_bit(**{argument: value})
