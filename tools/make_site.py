"""Write the notebooks, as they are stored, as a small self-contained site into `site/`: `make html`."""

import pathlib
import re
import sys

import jinja2
import pages


def _questions():
    """The question that each notebook answers, by file name, from the README's table."""
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"\(notebooks/(\w+)\.ipynb\) \| \d+ \| ([^|]+?) \|", readme))


def _picture(notebook):
    """The figure of the cell with the tag `cover`, or else the first, and its alternative text."""
    figures = [
        (cell, output.data["image/png"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    cell, png = next((pair for pair in figures if "cover" in pair[0].metadata.get("tags", [])), figures[0])
    return {"picture": png.replace("\n", ""), "alt": cell.metadata.get("alt", "")}


def _describe(path, notebook, question):
    minutes = int(re.search(r"About (\d+) minutes", notebook.cells[0].source)[1])
    page = {"href": f"{path.stem}.html", "title": pages.title(notebook), "minutes": minutes}
    return page | {"question": question} | _picture(notebook)


def build(target):
    """Write the index and one page per notebook and per notebook of solutions into a folder; return their paths."""
    css = (pages.TOOLS / "page.css").read_text(encoding="utf-8") + pages.COLORS
    exporter = pages.Exporter("page.html.j2")
    paths = sorted(pages.ROOT.glob("notebooks/[0-9]*.ipynb"))
    notebooks = [pages.read(path) for path in paths]
    ask = _questions()
    described = [_describe(path, notebook, ask[path.stem]) for path, notebook in zip(paths, notebooks, strict=True)]
    (target / "solutions").mkdir(parents=True, exist_ok=True)
    written = [target / "index.html"]
    template = jinja2.Template((pages.TOOLS / "templates" / "index.html.j2").read_text(encoding="utf-8"))
    title = "Vanishing gradients: see them, measure them, cure them"
    written[0].write_text(template.render(title=title, css=css, pages=described), encoding="utf-8")
    around = [None, *described, None]
    for number, (path, notebook) in enumerate(zip(paths, notebooks, strict=True)):
        page = {"title": described[number]["title"], "css": css, "home": "index.html"}
        page |= {"previous": around[number], "next": around[number + 2]}
        solution = path.parent / "solutions" / path.name
        if solution.is_file():
            page["solutions"] = f"solutions/{path.stem}.html"
            answers = pages.read(solution)
            back = {"href": f"../{path.stem}.html", "title": page["title"]}
            html = exporter.page(answers, title=pages.title(answers), css=css, home="../index.html", previous=back)
            written.append(target / page["solutions"])
            written[-1].write_text(html, encoding="utf-8")
        written.append(target / f"{path.stem}.html")
        written[-1].write_text(exporter.page(notebook, **page), encoding="utf-8")
    return written


if __name__ == "__main__":
    for page in build(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pages.ROOT / "site"):
        print(page)
