"""Widgets that follow what the kernel does: a picture that is drawn again and again, and a bar of progress."""

import base64
import html
import io
import threading

import ipywidgets as widgets
from matplotlib.figure import Figure
from tqdm import tqdm

from vgp_lib import plots


class Picture(widgets.HTML):
    """A picture with its words for who cannot see it, drawn anew on a figure that is not pyplot's."""

    _one_at_a_time = threading.Lock()  # matplotlib is not made for threads

    def __init__(self, width=6.0, height=3.5):
        super().__init__()
        self.figure = Figure((width, height), dpi=100)

    def draw(self, plot, words):
        with self._one_at_a_time:
            self.figure.clear()
            plot(ax := self.figure.add_axes((0.135, 0.145, 0.845, 0.755)))
            plots.hasten(ax)
            self.figure.savefig(file := io.BytesIO(), format="png", pil_kwargs={"compress_level": 1})
        source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        style = f"width: 100%; max-width: {self.figure.bbox.width:.0f}px; display: block"
        self.value = f'<img alt="{html.escape(words)}" decoding="sync" style="{style}" src="{source}">'


class Bar(tqdm):
    """tqdm that moves a widget instead of printing."""

    def __init__(self, *args, widget, **options):
        self.widget = widget
        super().__init__(*args, **options | {"delay": 0, "disable": False, "file": io.StringIO()})

    def display(self, *_, **__):
        self.widget.max, self.widget.value = self.total, self.n
