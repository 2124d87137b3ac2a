"""The root's conftest.py compares the numbers of a cell within the tolerance that its tag states."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import types

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from run_notebooks import ROOT


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Whether nbval passes each of these cells: name to printed text, stored text, tag."""
    cells = {
        "near": ("loss 0.236 in 27 of 32", "loss 0.25 in 30 of 32", "within-20-percent"),
        "far": ("loss 0.236 in 27 of 32", "loss 0.25 in 20 of 32", "within-20-percent"),
        "far above": ("1.9e-06", "1.2e-06", "within-50-percent"),
        "near above": ("1.7e-06", "1.2e-06", "within-50-percent"),
        "no tag": ("loss 0.236", "loss 0.237", None),
        "other text": ("loss 0.236", "gain 0.236", "within-20-percent"),
        "one number more": ("0.2 0.3", "0.2", "within-20-percent"),
        "sign": ("-1.0", "1.0", "within-99-percent"),
        "zero": ("0.001", "0", "within-99-percent"),
        "no number": ("nan", "1.0", "within-99-percent"),
        "shorter": ("layer   9: 3", "layer  10: 3", "within-20-percent"),
        "a name": ("hidden_1", "hidden_2", "within-99-percent"),
        "a result": ("'about 1.9'", "'about 2'", "within-20-percent"),
    }
    notebook = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    for name, (made, stored, tag) in cells.items():
        if name == "a result":
            output = new_output("execute_result", {"text/plain": stored}, execution_count=1)
        else:
            made, output = f"print({made!r})", new_output("stream", name="stdout", text=f"{stored}\n")
        metadata = {"tags": [tag]} if tag else {}
        notebook.cells.append(new_code_cell(made, metadata=metadata, outputs=[output], execution_count=1))
    return dict(zip(cells, _run(notebook, tmp_path_factory.mktemp("cells")), strict=True))


def _run(notebook, folder):
    nbformat.write(notebook, folder / "cells.ipynb")
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "pytest.ini").touch()  # nothing of the project's own settings
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-v"]
    run = subprocess.run([*command, folder], cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
    return re.findall(r"^cells.*Cell \d+ (PASSED|FAILED)", run.stdout, re.MULTILINE) or run.stderr + run.stdout


@pytest.mark.parametrize("name", ["near", "near above", "shorter", "a result"])
def test_numbers_within_the_tolerance_pass(verdicts, name):
    assert verdicts[name] == "PASSED"


@pytest.mark.parametrize(
    "name",
    ["far", "far above", "no tag", "other text", "one number more", "sign", "zero", "no number", "a name"],
)
def test_everything_else_fails(verdicts, name):
    assert verdicts[name] == "FAILED"


@pytest.mark.parametrize(
    "tags", [["within-0-percent"], ["within-200-percent"], ["within-5-percent", "within-9-percent"]]
)
def test_a_tag_that_says_no_tolerance_is_refused(tags):
    item = types.SimpleNamespace(cell=new_code_cell("1", metadata={"tags": tags}), nodeid="cell 1")
    rules = runpy.run_path(str(ROOT / "conftest.py"))
    with pytest.raises(pytest.UsageError, match="give one, from within-1-percent to 99"):
        rules["pytest_itemcollected"](item)


def test_such_a_tag_ends_the_run(tmp_path):
    notebook = new_notebook(cells=[new_code_cell("1", metadata={"tags": ["within-0-percent"]})])
    assert "give one, from within-1-percent to 99" in _run(notebook, tmp_path)
