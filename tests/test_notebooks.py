"""What nbval does not see: how the stored notebooks are made, and what they ask of a reader."""

import json
import re

import minutes
import nbformat
import pytest
from run_notebooks import PLAYGROUND, ROOT, alternative_text

import vgp_lib as vgp

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
DEEPER = sorted((ROOT / "notebooks" / "deeper").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
ALL = [*NOTEBOOKS, *DEEPER, *SOLUTIONS]
OPTIONS = {"setting", "controls", "views"}
GLOSSARY = (ROOT / "notebooks" / "glossary.md").read_text(encoding="utf-8")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")
def stored(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=[*NOTEBOOKS, *DEEPER], ids=lambda path: f"{path.parent.name}/{path.stem}")
def taught(request):
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
    assert {path.stem for path in DEEPER} <= set(names)


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


def test_a_cell_fits_on_a_projector_and_can_be_explained(stored):
    for cell in code_cells(stored):
        assert sum(bool(line.strip()) for line in cell.source.splitlines()) <= 16, cell.source
        assert minutes.nested_comprehensions(cell.source) == [], cell.source


def test_the_stored_figures_show(notebook):
    images = [
        output for cell in code_cells(notebook) for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(images) >= 4


def test_words_follow_a_figure(taught):
    """The next cell, or the one after it that reveals the answer of a guess or prints the numbers, is prose."""
    for number, cell in enumerate(taught.cells):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            following = [other.cell_type for other in taught.cells[number + 1 : number + 3]]
            assert "markdown" in following, cell.source


def test_every_figure_has_words_for_who_cannot_see_it(taught):
    for cell in code_cells(taught):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                words = output.metadata.get("image/png", {}).get("alt")
                assert words == alternative_text(cell, output) and len(words) >= 40, cell.source


def test_every_instrument_is_compared_and_has_a_slide(taught):
    """Strictly: no comment tells nbval to look away, and what is stored is what works without a kernel."""
    assert "NBVAL" not in "".join(cell.source for cell in code_cells(taught))
    slides = ["slide_type" in cell.metadata.get("slideshow", {}) for cell in taught.cells]
    live = [number for number, cell in enumerate(taught.cells) if "vgp.playground(" in cell.source]
    for before, number in zip([0, *live], live, strict=False):
        stored = taught.cells[number].outputs[0].data
        assert {PLAYGROUND, "image/png", "text/plain"} == set(stored) and stored[PLAYGROUND].keys() <= OPTIONS
        assert any(slides[before + 1 : number + 1])


# What a reader pays


def test_the_promised_minutes_are_those_of_the_rule(taught):
    cost = minutes.measure(taught)
    assert cost.reading - 0.5 <= cost.promised <= cost.reading + 1.5


def test_an_exercise_gets_minutes(notebook):
    assert minutes.measure(notebook).exercises >= 2 * len(checks(notebook))


def test_a_notebook_takes_half_an_hour_and_the_course_three():
    costs = [minutes.measure(nbformat.read(path, as_version=4)) for path in NOTEBOOKS]
    together = [cost.promised + cost.exercises for cost in costs]
    assert max(together) <= 30 and sum(together) <= 180
    assert sum(cost.words for cost in costs) <= 8000


def test_sentences_are_short(taught):
    cost = minutes.measure(taught)
    assert cost.median_sentence <= 16 and cost.long_sentence <= 28


def test_outputs_hold_numbers_not_true():
    assert sum(minutes.measure(nbformat.read(path, as_version=4)).booleans for path in NOTEBOOKS) <= 6


def test_the_rule_counts_what_it_says():
    cells = [
        nbformat.v4.new_markdown_cell("# A title\n\n*About 2 minutes, and 3 for the exercises.* You need it."),
        nbformat.v4.new_markdown_cell("One $x + y$ two. Three [four](five.md)?\n\n* six\n* seven\n\n$$a\n= b$$"),
        nbformat.v4.new_markdown_cell("Not for you.", metadata={"slideshow": {"slide_type": "notes"}}),
        nbformat.v4.new_code_cell("x = 1\n\nprint(x > 0)", outputs=[nbformat.v4.new_output("stream", text="True\n")]),
        nbformat.v4.new_code_cell('vgp.guess("Which?", ["a", "b"])'),
        nbformat.v4.new_code_cell("mine = ...\nvgp.checks.anything(mine)"),
    ]
    picture = nbformat.v4.new_output("display_data", data={"image/png": "", "text/plain": "<Figure>"})
    cells[4].outputs.append(picture)
    cost = minutes.measure(nbformat.v4.new_notebook(cells=cells))
    assert (cost.words, cost.lines, cost.figures, cost.guesses) == (14 + 3 + 2 + 2 + 10 - 1, 3, 1, 1)
    assert (cost.promised, cost.exercises, cost.booleans, cost.longest_cell) == (2, 3, 1, 2)
    assert cost.reading == pytest.approx(30 / 130 + (3 * 4 + 20 + 30) / 60)
    assert minutes.sentences(cells[1].source) == ["One formula two.", "Three four?", "six", "seven", "formula"]


@pytest.mark.parametrize(
    ("source", "count"), [("[x for x in y]", 0), ("[[a for a in b] for b in c]", 1), ("[a for b in c for a in b]", 1)]
)
def test_a_nested_comprehension_is_seen(source, count):
    assert len(minutes.nested_comprehensions(source)) == count


def test_the_readme_promises_the_same_minutes():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    promised = re.findall(r"\(notebooks/(\w+)\.ipynb\) \| (\d+) \+ (\d+) \|", readme)
    costs = {path.stem: minutes.measure(nbformat.read(path, as_version=4)) for path in NOTEBOOKS}
    assert promised == [(name, str(cost.promised), str(cost.exercises)) for name, cost in costs.items()]


# What every notebook has


def test_a_reader_is_told_what_when_and_what_not(notebook):
    first, last = notebook.cells[0].source, notebook.cells[-1].source
    assert "After this notebook you can" in first and re.search(r"About \d+ minutes", first)
    assert "What this notebook does not show" in last and "Next:" in last
    text = "".join(cell.source for cell in notebook.cells)
    assert text.count("Guess") + text.count("guess") >= 4


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
    here = [(name, value) for name, value in vars(vgp.checks).items() if hasattr(value, "__wrapped__")]  # decorated
    own = [name for name, value in here if value.__module__ == vgp.checks.__name__]
    assert sorted(named) == sorted(own)


def test_every_number_of_the_ledger_s_part_is_printed(notebook):
    assert 'vgp.claims("' in code_cells(notebook)[-1].source


def test_links_between_notebooks_lead_somewhere():
    for path in ALL:
        text = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        targets = re.findall(r"\]\(([\w./]+\.(?:ipynb|md))[#)]", text)
        assert all((path.parent / target).is_file() for target in targets)
        other = "solutions/" if path in NOTEBOOKS else "../"
        assert f"{other}{path.name}" in targets
        if path in NOTEBOOKS and any(path.name == deeper.name for deeper in DEEPER):
            assert f"deeper/{path.name}" in targets


def test_every_word_of_the_glossary_is_linked_and_every_link_has_its_word():
    words = set(re.findall(r"^## (.+)$", GLOSSARY, re.MULTILINE))
    linked = set()
    for path in [*NOTEBOOKS, *DEEPER]:
        text = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
        here = re.findall(r"\]\((?:\.\./)?glossary\.md#([^)]+)\)", text)
        assert here or path in DEEPER, path.stem
        linked |= {anchor.replace("-", " ") for anchor in here}
    assert len(words) == 12 and linked == words


def test_the_readme_shows_a_picture_of_the_course():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]{40,}\]\(([^)]+)\)", "\n".join(readme.splitlines()[:12]))
    assert pictures and all((ROOT / picture).stat().st_size > 5000 for picture in pictures)
