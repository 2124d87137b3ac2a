"""What the site and the decks share: a notebook's cells as HTML that needs nothing from the network."""

import copy
import pathlib
import re

from vgp_lib.classroom import widget

try:
    import math_core
    import nbformat
    from nbconvert.exporters import SlidesExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
    from pygments.formatters import HtmlFormatter
except ModuleNotFoundError as error:
    message = f"The site and the decks need {error.name}; install it with: pip install -r requirements-test.txt"
    raise ModuleNotFoundError(message) from None

TOOLS = pathlib.Path(__file__).resolve().parent
ROOT = TOOLS.parent
_MATHML = math_core.LatexToMathML()


def css(name):
    """A style sheet with the colours of site and decks; code has its own, 4.5:1 or more on the boxes of its scheme."""
    styles = [(TOOLS / part).read_text(encoding="utf-8") for part in ("colors.css", name)]
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("xcode", "lightbulb"))
    if name != "page.css":  # a deck is light: it is thrown on a wall
        return "\n".join([*styles, light])
    media = "@media (prefers-color-scheme: {}) {{\n{}\n}}"
    return "\n".join([*styles, media.format("light", light), media.format("dark", dark)])


def scripts(instrument):
    """The scripts of a page, each as text: the instrument, where there is one, and guesses, progress, folded code."""
    own = (TOOLS / "page.js").read_text(encoding="utf-8")
    return [widget.script(), own] if instrument else [own]


class _Renderer(IPythonRenderer):
    """Markdown as Jupyter means it, with the formulas as MathML, which browsers draw without a script."""

    def inline_math(self, body):
        return _MATHML.convert_with_local_state(body.strip(), displaystyle=False)

    def block_math(self, body):
        formula = _MATHML.convert_with_local_state(body.strip(), displaystyle=True)
        return f'<div class="formula" role="group" aria-label="Formula" tabindex="0">{formula}</div>\n'

    def heading(self, text, level, **attrs):
        """Give a heading the anchor that JupyterLab gives it, so that links to it work on the page too."""
        anchor = re.sub(r"<[^>]*>", "", text).replace(" ", "-")
        return f'<h{level} id="{anchor}">{text}</h{level}>\n'


def markdown(source):
    """Markdown to HTML; links to notebooks and to the glossary become links to their pages."""
    html = MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True)).render(source)
    html = re.sub(r'href="\.\./((?:\.\./)*data/)', r'href="\1', html)  # the site has no folder for the notebooks
    return re.sub(r'href="([\w./-]+\.(?:ipynb|md))(#[^"]*)?"', _to_page, html)


def _to_page(link):
    return f'href="{link[1].rpartition(".")[0]}.html{link[2] or ""}"'


def guess_name(source):
    """The name of the guess that a cell asks for, or whose answer it reveals, or None."""
    found = re.search(r"(\w+) = vgp\.guess\(|^vgp\.reveal\((\w+),", source, flags=re.MULTILINE)
    return found and (found[1] or found[2])


def code(source):
    """A cell's code as a reader needs it: without the line that tells the answer and the marks for the tests.

    Of a cell that asks for a guess nothing is left: it is shown as its question.
    """
    if "vgp.guess(" in source:
        return ""
    return re.sub(r"^(vgp\.reveal\(.*|# NBVAL_\w+|# \(not compared.*)\n?", "", source, flags=re.MULTILINE).strip("\n")


def guesses(notebook):
    """The names of a notebook's guesses, in their order."""
    asking = [cell.source for cell in notebook.cells if cell.cell_type == "code" and "vgp.guess(" in cell.source]
    return [guess_name(source) for source in asking]


def mark_results(notebook):
    """A copy in which the metadata of cells between a guess and its answer name the guess: their results tell it."""
    notebook = copy.deepcopy(notebook)
    source = ["" if cell.cell_type != "code" else cell.source for cell in notebook.cells]
    for first, name in ((number, guess_name(text)) for number, text in enumerate(source) if "vgp.guess(" in text):
        last = next((number for number, text in enumerate(source) if f"vgp.reveal({name}," in text), first)
        for cell in notebook.cells[first + 1 : last + 1]:
            cell.metadata["waits_for"] = name
    return notebook


def has_output(cell, *mimetypes):
    """Whether a cell's stored outputs have one of these mimetypes."""
    return any(kind in output.get("data", {}) for output in cell.get("outputs", []) for kind in mimetypes)


class Exporter(SlidesExporter):
    """A notebook as one HTML file by the template of the course; `page` is what the template names `resources.page`."""

    def __init__(self, template):
        super().__init__(
            template_name="course",
            template_file=template,
            extra_template_basedirs=[str(TOOLS / "templates")],
        )
        self.register_filter("markdown2html", markdown)
        self.register_filter("guess_name", guess_name)
        self.register_filter("readers_code", code)
        self.register_filter("has_output", has_output)

    def page(self, notebook, **page):
        """Return a notebook as HTML, with the scripts that it needs."""
        notebook = mark_results(notebook)
        instrument = any(has_output(cell, widget.MIME) for cell in notebook.cells)
        page |= {"scripts": scripts(instrument), "playground": widget.MIME}
        html, _ = self.from_notebook_node(notebook, resources={"page": page})
        return html


def read(path):
    """The notebook at a path."""
    return nbformat.read(path, as_version=4)


def title(notebook):
    """The first heading, without its marks."""
    return notebook.cells[0].source.splitlines()[0].lstrip("# ").strip()
