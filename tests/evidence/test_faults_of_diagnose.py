"""Deliberate faults in `diagnose`: with each of them in a copy of the project, the named test must turn red.

Only `make evidence` runs these.
"""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FAULTS = {
    "no layer counts as vanishing": (
        "diagnosis", "FAINT = 1e-2", "FAINT = 1e-12", "test_diagnosis.py", "depth_and_optimizer and 1-12-optimizer2",
    ),
    "a net that has learned is judged by its gradient": (
        "diagnosis", "if patient.course.learned or len(patient.layers) == 1:", "if len(patient.layers) == 1:",
        "test_diagnosis.py", "depth_and_optimizer and 1-8-optimizer0",
    ),
    "the wrong layer is called dead": (
        "diagnosis", 'return "dead", int(dead.argmax())', 'return "dead", int(dead.argmin())', "test_diagnosis.py",
        "without_a_living_unit",
    ),
    "a softmax over one unit passes": (
        "_head", "because = _same_answer(activation, shape)", "because = None", "test_head.py", "softmax",
    ),
    "fractions pass as tokens": ("_head", "np.any(x != np.trunc(x))", "False", "test_head.py", "tokens"),
    "a line is tried where the rehearsal ended": (
        "_rehearsal", "            variable.assign(value)\n        if rate", "            pass\n        if rate",
        "test_remedies.py", "weights_and_the_state_as_they_are",
    ),
    "the rehearsal trains the model itself": (
        "_rehearsal", "variable.assign(value)\n                return", "variable.assign(value)\n                "
        "[v.assign(c) for v, c in zip(self._variables, copies)]\n                return",
        "test_remedies.py", "fit_learn and vanishing",
    ),
    "the optimizer's state is forgotten": (
        "_rehearsal", "state = optimizer.variables if _keras.has_trained(optimizer, model) else", "state =",
        "test_diagnosis.py", "its_state_counts",
    ),
    "the first line is proposed, not the best": (
        "_remedies", "if best and best[0] > 1 - _CLEARLY:", "if True:", "test_remedies.py", "step_that_is_too_small",
    ),
    "a loss that still falls is done": (
        "diagnosis", "LATE = 2 / 3", "LATE = 2", "test_remedies.py", "still_falls",
    ),
    "a straight line is not named": (
        "_straight", "if patient.is_straight:", "if False:", "test_remedies.py", "without_activations",
    ),
    "an unbuilt net draws other weights than fit": (
        "_keras", "copy = rebuild(model, keep=False, seeds=False)", "copy = rebuild(model, keep=False)",
        "test_remedies.py", "as_fit_would_build_it",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults") / "project"
    ignored = shutil.ignore_patterns(".*", "notebooks", "__pycache__", "site", "slides", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=ignored)
    return folder


def run(project, file, chosen):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{file}", "-k", chosen]
    return subprocess.run(command, cwd=project, capture_output=True, text=True)


@pytest.mark.parametrize(("module", "right", "wrong", "file", "chosen"), FAULTS.values(), ids=FAULTS)
def test_a_fault_turns_its_test_red(project, module, right, wrong, file, chosen):
    path = project / "vgp_lib" / "engine" / f"{module}.py"
    source = path.read_text(encoding="utf-8")
    assert source.count(right) == 1
    path.write_text(source.replace(right, wrong), encoding="utf-8")
    try:
        ended = run(project, file, chosen)
    finally:
        path.write_text(source, encoding="utf-8")
    assert ended.returncode == 1, ended.stdout[-2000:]
    assert " failed" in ended.stdout


def test_without_a_fault_they_are_green(project):
    for file in sorted({file for *_, file, _ in FAULTS.values()}):
        chosen = " or ".join(f"({chosen})" for *_, name, chosen in FAULTS.values() if name == file)
        assert run(project, file, chosen).returncode == 0
