"""The package as a stranger installs it, the rules of the house, and the end of a run."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import types

import pytest
from run_notebooks import ROOT

import vgp_lib as vgp

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_bytes())
    for path in sorted((ROOT / "vgp_lib").rglob("*.py"))
}

# The package


# What someone does who has the wheel and no checkout; prints the folders that the package was imported from.
STRANGER = """
import pathlib, sys
import matplotlib
matplotlib.use("Agg")
import vgp_lib as vgp

moons = vgp.load_moons()
vgp.playground()
vgp.plots.points(moons.x_train, moons.y_train)
print(len(moons.x_train), len(vgp.claims("01")) > 3, len(vgp.remedies(30)) > 3)
files = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "vgp_lib"]
print(*sorted({pathlib.Path(file).parent.as_posix() for file in files}))
"""


@pytest.fixture
def installed(tmp_path):
    """A folder with nothing but the package in it, built from a copy, since a build leaves files behind."""
    source, target = tmp_path / "source", tmp_path / "installed"
    for name in ("vgp_lib", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", target, source], check=True)
    shutil.rmtree(source)
    return target


def test_the_package_works_outside_of_the_checkout(installed, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    run = subprocess.run(
        [sys.executable, "-c", STRANGER], cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    said, folders = run.stdout.splitlines()
    assert said == "200 True True"
    home = (installed / "vgp_lib").as_posix()
    assert folders.split() == [home, f"{home}/classroom", f"{home}/engine"]
    tables = {path.name: path.read_bytes() for path in (ROOT / "data").glob("*.csv")}
    assert {path.name: path.read_bytes() for path in (installed / "vgp_lib" / "tables").iterdir()} == tables
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"vgp_lib"}


def test_the_two_pinned_lists_hold_what_pyproject_asks_for_and_no_more_than_a_student_needs():
    student, rest = (
        (ROOT / name).read_text(encoding="utf-8").splitlines() for name in ("requirements.txt", "requirements-test.txt")
    )
    assert student.pop() == "-e ." and rest.pop(0) == "-r requirements.txt"
    assert [line for line in student + rest if not re.match(r"[a-z0-9-]+==[\w.]+( ; .+)?$", line)] == []
    student, rest = ({line.partition("==")[0] for line in lines} for lines in (student, rest))
    extras = {name: asked(lines) for name, lines in PROJECT["optional-dependencies"].items()}
    assert asked(PROJECT["dependencies"]) | extras["lab"] <= student
    assert set.union(*extras.values()) <= student | rest and not student & rest
    assert {"pytest", "pytest-xdist", "ruff", "playwright", "pyreveal"} <= rest


def asked(lines):
    return {re.match(r"[\w-]+", line)[0] for line in lines}


def test_the_citation_names_the_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {PROJECT['version']}\n" in citation


# The rules of the house


# An import only ever points up in this list.
LEVELS = [
    "vgp_lib._quiet",
    *(f"vgp_lib.engine{name}" for name in ("", "._keras", "._arguments")),
    *(f"vgp_lib.{name}" for name in ("updates", "data", "models")),
    *(f"vgp_lib.engine.{name}" for name in ("_backpropagation", "_numbers")),
    *(f"vgp_lib.{name}" for name in ("layers", "callbacks", "plots")),
    *(f"vgp_lib.engine.{name}" for name in ("_band", "theory", "training")),
    *(f"vgp_lib.engine.{name}" for name in ("_head", "_rehearsal", "_straight", "_remedies", "diagnosis")),
    *(f"vgp_lib.classroom{name}" for name in ("", "._page", ".ledger", ".guesses", ".checks", ".widget")),
    "vgp_lib",
]


def imported(tree):
    """The modules of the package that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "vgp_lib")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, ast.unparse(node)
            if node.module.partition(".")[0] == "vgp_lib":
                parts = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (part if part in TREES else node.module for part in parts)


def test_every_module_has_its_level():
    assert sorted(LEVELS) == sorted(TREES)


@pytest.mark.parametrize("name", LEVELS)
def test_imports_point_down(name):
    assert set(imported(TREES[name])) <= set(LEVELS[: LEVELS.index(name)])


def test_the_package_shows_its_public_names_only_and_no_module_has_the_name_of_a_function():
    assert dir(vgp) == sorted(set(vgp.__all__)) and not [name for name in vgp.__all__ if name.startswith("_")]
    things = {name for name in vgp.__all__ if not isinstance(getattr(vgp, name), types.ModuleType)}
    assert not things & {name.rpartition(".")[2] for name in TREES}


def test_the_house_keeps_its_size():
    lines = {path.as_posix(): len(path.read_bytes().splitlines()) for path in (ROOT / "vgp_lib").rglob("*.py")}
    instruments = [f"vgp_lib/{name}.py" for name in ("updates", "data", "models", "callbacks", "layers", "plots")]
    assert sum(number for path, number in lines.items() if path.endswith(tuple(instruments))) <= 1100
    # 3,400 was the aim; the look at inputs and last layer, the trials of remedies and measuring in parts came after it.
    assert sum(lines.values()) <= 4990
    long = [
        f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert long == []


# What belongs to Keras and TensorFlow


def inside(tree):
    """Yield the places where a module touches the inside of Keras or TensorFlow, or tells what is theirs by its name.

    A private name may be used of what the module's own classes have; one that ends with _ too belongs to a protocol.
    """
    own = own_attributes(tree)

    def private(name):
        return isinstance(name, str) and (name == "__module__" or (name[:1] == "_" != name[-1] and name not in own))

    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="src" | "python") | ast.Attribute(attr="__module__"):
                found = True
            case ast.Attribute(attr=name):
                found = private(name)
            case ast.Call(func=ast.Name("getattr" | "hasattr" | "setattr"), args=[_, ast.Constant(name), *_]):
                found = private(name)
            case ast.Call(func=ast.Attribute(attr="startswith"), args=[ast.Constant(str(prefix))]):
                found = prefix.startswith(("keras", "tensorflow"))
            case ast.ImportFrom(module=module) if not module.startswith("vgp_lib"):
                found = any(map(private, [*module.split("."), *(alias.name for alias in node.names)]))
                found |= module.startswith(("keras.src", "tensorflow.python"))
            case ast.Import(names=names):
                found = any(alias.name.startswith(("keras.src", "tensorflow.python")) for alias in names)
            case _:
                found = False
        if found:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def own_attributes(tree):
    own = {"_asdict", "_fields", "_replace"}  # public in spite of their names: of every NamedTuple
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            own.add(node.attr)
        elif isinstance(node, ast.ClassDef):
            own |= {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
            own |= {part.target.id for part in node.body if isinstance(part, ast.AnnAssign)}
    return own


@pytest.mark.parametrize("name", [name for name in LEVELS if name != "vgp_lib.engine._keras"])
def test_only_one_module_touches_the_inside_of_keras(name):
    assert list(inside(TREES[name])) == []


@pytest.mark.parametrize(
    "touch",
    [
        "layer._layers",
        "optimizer._learning_rate = 1",
        "keras.src.layers",
        "import keras.src.layers as layers",
        "from keras.src import layers",
        "from tensorflow.python.eager import context",
        "from keras.layers import _hidden",
        "getattr(tensor, '_keras_mask', None)",
        "type(loss).__module__.startswith('keras.')",
        "class Own(keras.Model):\n    def call(self, x):\n        return self._layers",
    ],
)
def test_a_touch_is_seen(touch):
    assert list(inside(ast.parse(touch)))


# The end of a run


SLEEPERS = """
import pathlib, subprocess, sys, time
import pytest

@pytest.fixture(scope="module")
def server():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process.pid
        process.terminate()

def test_long(server):
    pathlib.Path(f"{server}.started").touch()
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a run by other means")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda end: end.name)
def test_the_end_of_a_run_ends_what_it_started(tmp_path, end):
    """Started as by make in the background of a script, where SIGINT is ignored."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(SLEEPERS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist", "-n", "2", "--dist", "loadfile"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # half of the time
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        options = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL, "start_new_session": True}
        run = subprocess.Popen(command, **options)
    finally:
        signal.signal(signal.SIGINT, ignored)
    with run:
        while run.poll() is None and len(servers := [int(path.stem) for path in tmp_path.glob("*.started")]) < 2:
            time.sleep(0.1)
        os.killpg(run.pid, end)
        assert run.wait(timeout=30) == pytest.ExitCode.INTERRUPTED
    for server in servers:
        with pytest.raises(ProcessLookupError):
            os.kill(server, 0)
