"""What the site and the decks share: a notebook's cells as HTML that needs nothing from the network."""

import pathlib
import re

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
COLORS = HtmlFormatter(style="xcode").get_style_defs(".highlight")  # 4.5:1 or more on the boxes' light grey
_MATHML = math_core.LatexToMathML()


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


class Exporter(SlidesExporter):
    """A notebook as one HTML file by the template of the course; `page` is what the template names `resources.page`."""

    def __init__(self, template):
        super().__init__(
            template_name="course",
            template_file=template,
            extra_template_basedirs=[str(TOOLS / "templates")],
        )
        self.register_filter("markdown2html", markdown)

    def page(self, notebook, **page):
        """Return a notebook as HTML."""
        html, _ = self.from_notebook_node(notebook, resources={"page": page})
        return html


def read(path):
    """The notebook at a path."""
    return nbformat.read(path, as_version=4)


def title(notebook):
    """The first heading, without its marks."""
    return notebook.cells[0].source.splitlines()[0].lstrip("# ").strip()
