"""The student's own copy of the notebooks: complete, without spoilers, and safe."""

import nbformat
import pytest
from copy_notebooks import ROOT, copy


@pytest.fixture
def course(tmp_path):
    folder = tmp_path / "course"
    (folder / "solutions").mkdir(parents=True)
    for name in ("01_one.ipynb", "solutions/01_one.ipynb"):
        output = nbformat.v4.new_output("stream", text="4\n")
        cell = nbformat.v4.new_code_cell("2 + 2", outputs=[output], execution_count=1)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / name)
    return folder


def write(path, source):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = source
    nbformat.write(notebook, path)


def test_a_copy_has_no_outputs_and_the_original_keeps_them(course, tmp_path):
    before = (course / "01_one.ipynb").read_bytes()
    added, outdated, _ = copy(course, tmp_path / "mine")
    assert [path.relative_to(tmp_path / "mine").as_posix() for path in added] == [
        "01_one.ipynb",
        "solutions/01_one.ipynb",
    ]
    assert outdated == []
    for path in added:
        cell = nbformat.read(path, as_version=4).cells[0]
        assert (cell.source, cell.outputs, cell.execution_count) == ("2 + 2", [], None)
    assert (course / "01_one.ipynb").read_bytes() == before


def test_what_the_student_wrote_survives_and_what_is_missing_is_added(course, tmp_path):
    mine = tmp_path / "mine"
    copy(course, mine)
    write(mine / "01_one.ipynb", "2 + 3  # my answer")
    (mine / "solutions" / "01_one.ipynb").unlink()
    before = (mine / "01_one.ipynb").read_bytes()
    added, outdated, _ = copy(course, mine)
    assert added == [mine / "solutions" / "01_one.ipynb"] and outdated == []
    assert (mine / "01_one.ipynb").read_bytes() == before


def test_a_newer_original_is_told_and_the_copy_left_alone(course, tmp_path):
    mine = tmp_path / "mine"
    copy(course, mine)
    write(course / "01_one.ipynb", "2 + 2  # better explained")
    before = (mine / "01_one.ipynb").read_bytes()
    assert copy(course, mine) == ([], [mine / "01_one.ipynb"], [])
    assert (mine / "01_one.ipynb").read_bytes() == before


def test_a_copy_that_cannot_be_read_is_named_and_keeps_nothing_back(course, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "01_one.ipynb").write_text('{"cells": [', encoding="utf-8")
    assert copy(course, mine) == ([mine / "solutions" / "01_one.ipynb"], [], [mine / "01_one.ipynb"])
    assert (mine / "01_one.ipynb").read_text(encoding="utf-8") == '{"cells": ['


def test_every_notebook_of_the_course_is_copied(tmp_path):
    added, *_ = copy(ROOT / "notebooks", tmp_path)
    originals = {path.relative_to(ROOT / "notebooks") for path in (ROOT / "notebooks").rglob("[0-9]*.ipynb")}
    assert {path.relative_to(tmp_path) for path in added} == {
        path for path in originals if ".ipynb_checkpoints" not in path.parts
    }


def test_the_glossary_comes_along_and_is_not_touched_again(tmp_path):
    copy(ROOT / "notebooks", tmp_path)
    glossary = tmp_path / "glossary.md"
    assert glossary.read_bytes() == (ROOT / "notebooks" / "glossary.md").read_bytes()
    glossary.write_text("mine", encoding="utf-8")
    copy(ROOT / "notebooks", tmp_path)
    assert glossary.read_text(encoding="utf-8") == "mine"
