"""A picture that is drawn again and again as sliders move."""

import base64
import html
import io

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator


class Picture(widgets.HTML):
    """A picture with its words for who cannot see it, drawn anew on a figure that is not pyplot's."""

    def __init__(self, width=6.0, height=3.5):
        super().__init__()
        self.figure = Figure((width, height), dpi=100)

    def draw(self, plot, words):
        """Draw with `plot`, a function of the axes; in the main thread, since matplotlib is not made for several."""
        self.figure.clear()
        plot(ax := self.figure.add_axes((0.135, 0.145, 0.845, 0.755)))
        speed_up_drawing(ax)
        self.figure.savefig(file := io.BytesIO(), format="png", pil_kwargs={"compress_level": 1})
        source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        style = f"width: 100%; max-width: {self.figure.bbox.width:.0f}px; display: block"
        self.value = f'<img alt="{html.escape(words)}" decoding="sync" style="{style}" src="{source}">'


def speed_up_drawing(ax):
    """Fix what matplotlib searches for in a third of its time: places of texts; of a log axis the limits and ticks."""
    ax.set_title(ax.get_title(), y=1.02, fontsize="medium")
    ax.xaxis.set_label_coords(0.5, -0.105)
    ax.yaxis.set_label_coords(-0.115, 0.5)
    if ax.get_yscale() == "log":
        low, high = np.log10([ax.dataLim.minposy, ax.dataLim.y1])  # a last layer, or a rule of thumb, is always there
        margin = 0.3 + 0.04 * (high - low)
        ax.autoscale(False, axis="y")
        ax.set_ylim(10.0 ** max(low - margin, -300), 10.0 ** min(high + margin, 300))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(lambda value, _: f"1e{np.log10(value):.0f}")
