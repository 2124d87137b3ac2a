"""Each cell run twice in a row gives the stored text: a student who runs a cell again sees no other result."""

import nbformat
import pytest
from run_notebooks import NOTEBOOKS, run


def texts(notebook):
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.get("text", "") for output in outputs]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_every_cell_can_be_run_twice_in_a_row(path):
    again, _, _ = run(path, twice=True)
    assert texts(again) == texts(nbformat.read(path, as_version=4))
