"""Count what a reader of a notebook pays, in minutes and in long sentences: `python tools/minutes.py notebooks/01*`.

The rule is meant for a second-language reader: 130 words of prose a minute, four seconds for a line of code, twenty
for a figure, thirty for a guess, and for the exercises what the notebook promises. Instructors' notes do not count. A
formula in the text counts as one word, a formula of its own as ten.
"""

import ast
import math
import pathlib
import re
import statistics
import sys
from dataclasses import dataclass

import nbformat

_FORMULA_OF_ITS_OWN = re.compile(r"\$\$.+?\$\$", re.DOTALL)
_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Cost:
    """What one notebook asks of its reader: counts, and the two lengths of its sentences in words."""

    words: int
    lines: int
    figures: int
    guesses: int
    promised: int
    exercises: int
    median_sentence: float
    long_sentence: float
    booleans: int
    longest_cell: int

    @property
    def reading(self):
        """Minutes by the rule, without the exercises."""
        return self.words / 130 + (4 * self.lines + 20 * self.figures + 30 * self.guesses) / 60


def measure(notebook) -> Cost:
    """Count a notebook; `long_sentence` is the length that 95 % of the sentences keep to."""
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown" and not _is_note(cell)]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    taught = [cell for cell in code if "vgp.checks." not in cell.source]  # exercises cost what is promised
    printed_text = "\n".join(printed(notebook))
    promised = re.search(r"\*About (\d+) minutes(?:, and (\d+) for the exercises)?\.", notebook.cells[0].source)
    if not promised:
        raise ValueError(
            "the first cell must say '*About N minutes, and M for the exercises.'; M only if there are any"
        )
    lengths = sorted(len(sentence.split()) for text in prose for sentence in sentences(text))
    return Cost(
        words=sum(count_words(text) for text in prose),
        lines=sum(_lines(cell) for cell in taught),
        figures=sum("image/png" in output.get("data", {}) for cell in taught for output in cell.outputs),
        guesses=sum("vgp.guess(" in cell.source for cell in taught),
        promised=int(promised[1]),
        exercises=int(promised[2] or 0),
        median_sentence=statistics.median(lengths),
        long_sentence=lengths[math.ceil(0.95 * len(lengths)) - 1],
        booleans=len(re.findall(r"\b(?:True|False)\b", printed_text)),
        longest_cell=max(_lines(cell) for cell in code),
    )


def printed(notebook):
    """What the cells of a notebook print or show as text, in their order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]


def count_words(text):
    """Words of a markdown text; what only marks a heading, a list or a table is none."""
    text = _FORMULA_OF_ITS_OWN.sub(" formula" * 10, text)
    text = _LINK.sub(r"\1", re.sub(r"\$[^$]+\$", "formula", text))
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def sentences(text):
    """Sentences of a markdown text: of paragraphs and list items, without headings, tables, code and formulas."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = _FORMULA_OF_ITS_OWN.sub(" formula ", text)
    text = _LINK.sub(r"\1", re.sub(r"\$[^$]+\$", "formula", text)).replace("`", "")
    blocks, block = [], []
    for line in [*text.splitlines(), ""]:
        starts = re.match(r"\s*(?:[*+-]|\d+\.)\s", line)
        if starts or not line.strip() or line.lstrip().startswith(("#", "|")):
            blocks.append(" ".join(block))
            block = []
        if line.strip() and not line.lstrip().startswith(("#", "|")):
            block.append(line[starts.end() :] if starts else line.lstrip(" >"))
    parts = (part for block in blocks for part in re.split(r"(?<=[.!?])[*)\"”]*\s+", block))
    return [part.strip() for part in parts if re.search(r"\w", part)]


def nested_comprehensions(source):
    """The comprehensions in a cell that stand inside of another, or loop twice."""
    kinds = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    inner = [node for outer in found for node in ast.walk(outer) if node is not outer and isinstance(node, kinds)]
    return [ast.unparse(node) for node in [*inner, *(node for node in found if len(node.generators) > 1)]]


def _is_note(cell):
    return cell.metadata.get("slideshow", {}).get("slide_type") == "notes"


def _lines(cell):
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def main(paths):
    """Print a table, one line a notebook, and the sums."""
    print(
        "notebook                words lines figures guesses  reading promised exercises  sentence 95%  booleans cell"
    )
    words = minutes = 0
    for path in map(pathlib.Path, paths):
        notebook = nbformat.read(path, as_version=4)
        cost = measure(notebook)
        words, minutes = words + cost.words, minutes + cost.promised + cost.exercises
        row = (cost.words, cost.lines, cost.figures, cost.guesses, cost.reading, cost.promised, cost.exercises)
        row += (cost.median_sentence, cost.long_sentence, cost.booleans, cost.longest_cell)
        print(f"{path.stem:22}", *(f"{number:9.3g}" if isinstance(number, float) else f"{number:9}" for number in row))
        for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
            for text in nested_comprehensions(cell.source):
                print(f"    nested comprehension: {text}")
        for cell in (cell for cell in notebook.cells if cell.cell_type == "markdown" and not _is_note(cell)):
            for sentence in sentences(cell.source):
                if len(sentence.split()) > 28:
                    print(f"    {len(sentence.split())} words: {sentence}")
    print(f"together: {words} words, {minutes} minutes with the exercises")


if __name__ == "__main__":
    main(sys.argv[1:] or sorted((pathlib.Path(__file__).parent.parent / "notebooks").glob("[0-9]*.ipynb")))
