"""What nbval does not see: how the stored notebooks are made."""

import json
import re

import nbformat
import pytest
from run_notebooks import ROOT

import vgp_lib as vgp

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=[*NOTEBOOKS, *SOLUTIONS], ids=lambda path: f"{path.parent.name}/{path.stem}")
def stored(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_course_has_its_notebooks():
    names = [
        "01_problem",
        "02_detection",
        "03_shallow_fix",
        "04_relu_fix",
        "05_keep_the_scale",
        "06_exploding_gradients",
        "07_your_network",
    ]
    assert [path.stem for path in NOTEBOOKS] == names


def test_the_outputs_come_from_one_clean_run(stored):
    assert [cell.execution_count for cell in code_cells(stored)] == list(range(1, len(code_cells(stored)) + 1))
    outputs = [output for cell in code_cells(stored) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_the_file_holds_no_timings_and_no_names_of_a_machine(stored):
    assert stored.metadata.kernelspec.name == "python3"
    assert not [cell for cell in stored.cells if "execution" in cell.metadata]
    for output in (output for cell in code_cells(stored) for output in cell.outputs if "data" in output):
        output.data.pop("image/png", None)  # whose letters may spell anything
    assert not re.search(r"0x[0-9a-f]{8}|/(home|root|tmp|Users)/", json.dumps(stored.cells))


def test_a_cell_fits_on_a_projector(stored):
    lengths = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in code_cells(stored)]
    assert max(lengths) <= 20


def test_the_stored_figures_show(notebook):
    images = [
        output for cell in code_cells(notebook) for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(images) >= 5


def test_every_figure_has_words_for_who_cannot_see_it(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert output.metadata.get("image/png", {}).get("alt") == cell.metadata.get("alt"), cell.source
                assert len(cell.metadata.alt) >= 40


def estimated_minutes(notebook):
    """Minutes of reading, and of exercises.

    Technical prose at 180 words a minute; half a minute for each code cell (about five lines, run, look at what it
    prints) and each figure, a quarter for a guess; five to play with sliders. Instructors' notes do not count. Three
    minutes for an exercise.
    """
    kinds = [(cell, cell.metadata.get("slideshow", {}).get("slide_type")) for cell in notebook.cells]
    prose = "\n".join(cell.source for cell, kind in kinds if cell.cell_type == "markdown" and kind != "notes")
    words = len(re.sub(r"\$\$?[^$]+\$\$?", "formula", prose).split())
    cells = [cell for cell in code_cells(notebook) if "vgp.checks." not in cell.source]
    guesses = sum("vgp.guess(" in cell.source for cell in cells)
    figures = sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    sliders = sum(bool(re.search(r"\b(interact|playground)\(", cell.source)) for cell in cells)
    reading = words / 180 + 0.5 * (len(cells) - guesses) + 0.25 * guesses + 0.5 * figures + 5 * sliders
    return reading, 3 * len(checks(notebook))


def test_the_promised_minutes_match_words_and_cells(notebook):
    promised = re.search(r"About (\d+) minutes, and (\d+) for the exercises", notebook.cells[0].source)
    minutes, exercises = (int(number) for number in promised.groups())
    estimate, expected = estimated_minutes(notebook)
    assert minutes % 5 == 0 and abs(minutes - estimate) <= 0.25 * estimate, f"{estimate:.0f} minutes by the rule"
    assert exercises % 5 == 0 and abs(exercises - expected) <= 3


def test_the_readme_promises_the_same_minutes():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    promised = dict(re.findall(r"\(notebooks/(\w+)\.ipynb\) \| (\d+) \|", readme))
    firsts = {path.stem: nbformat.read(path, as_version=4).cells[0].source for path in NOTEBOOKS}
    assert promised == {name: re.search(r"About (\d+) minutes", first)[1] for name, first in firsts.items()}


def test_a_reader_is_told_what_when_and_what_not(notebook):
    first, last = notebook.cells[0].source, notebook.cells[-1].source
    assert "After this notebook you can" in first and re.search(r"About \d+ minutes", first)
    assert "What this notebook does not show" in last and "Next:" in last
    text = "".join(cell.source for cell in notebook.cells)
    assert text.count("Guess") + text.count("guess") >= 4


def test_every_measurement_is_one_of_the_options(notebook):
    texts = [output.get("data", {}).get("text/plain", "") for c in code_cells(notebook) for output in c.outputs]
    measured = [text for text in texts if text.startswith("Result: ")]
    assert len(measured) >= 4 and not any("none of the options" in text for text in measured)


def checks(notebook):
    return re.findall(r"vgp\.checks\.(\w+)\(", "\n".join(cell.source for cell in code_cells(notebook)))


def test_every_exercise_has_a_check_and_a_solution():
    assert [path.name for path in SOLUTIONS] == [path.name for path in NOTEBOOKS]
    named = []
    for paths in zip(NOTEBOOKS, SOLUTIONS, strict=True):
        task, solution = (nbformat.read(path, as_version=4) for path in paths)
        assert 2 <= len(checks(task)) <= 4 and checks(solution) == checks(task)
        assert sum(cell.source.count("**A.**") for cell in task.cells) == 1
        asked = [cell.outputs[0].text for cell in code_cells(task) if "vgp.checks." in cell.source]
        answered = [cell.outputs for cell in code_cells(solution) if "vgp.checks." in cell.source]
        assert all(text.startswith("Not attempted yet.") for text in asked)
        assert all("Correct." in "".join(output.get("text", "") for output in outputs) for outputs in answered)
        named += checks(task)
    own = [name for name, value in vars(vgp.checks).items() if getattr(value, "__module__", "") == vgp.checks.__name__]
    assert sorted(named) == sorted(name for name in own if name[0].islower())


def test_every_number_of_the_ledger_s_part_is_printed(notebook):
    assert 'vgp.claims("' in code_cells(notebook)[-1].source


def test_links_between_notebooks_lead_somewhere():
    for path in [*NOTEBOOKS, *SOLUTIONS]:
        text = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        targets = re.findall(r"\]\(([\w./]+\.ipynb)\)", text)
        other = "../" if path in SOLUTIONS else "solutions/"
        assert f"{other}{path.name}" in targets
        assert all((path.parent / target).is_file() for target in targets)


def test_the_readme_shows_a_picture_of_the_course():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]{40,}\]\(([^)]+)\)", "\n".join(readme.splitlines()[:12]))
    assert pictures and all((ROOT / picture).stat().st_size > 5000 for picture in pictures)
