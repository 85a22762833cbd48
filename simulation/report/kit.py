"""What every HTML page of ours is made with: one layout, one style, one way to draw.

A page is a Jinja template that extends `base.html` and may import `parts.html`, both in
`templates/`. It is one file that needs no network: pictures are embedded.

    with drawing(3.0) as drawn:
        drawn.axes.plot(rounds, values)
    html = render("my_page.html", Path(__file__).parent, title="…", picture=embedded(drawn.png))
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent / "templates"
INK, SOFT, LINE = "#17212b", "#5d6b78", "#d9e0e6"
BLUE, LIGHT_BLUE, RED, AMBER, GREY = "#155e82", "#6fb1c9", "#b3432f", "#d9a441", "#8d99a4"
CLASSES = (BLUE, LIGHT_BLUE, AMBER, RED, "#7a6ba8", "#6c8f4e", "#c38aa0", GREY)
WIDTH = 7.6
"""Inches of a picture that is as wide as the text."""
DPI = 180
STYLE: dict[Any, object] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_NUMBER = re.compile(
    r"[+−-]?\d[\d.,]*( ?(%|×|ms|s|B|[kMG]B))?( ?[±–] ?\d[\d.,]*)?( %)?( \(\d+–\d+\))?|–|"
)


class Drawing:
    """A figure of `rows` × `columns` panels. `png` holds its bytes after `drawing` has ended."""

    def __init__(self, height: float, width: float, rows: int, columns: int) -> None:
        self.figure = Figure(figsize=(width, height), layout="constrained")
        self.panels: list[list[Axes]] = self.figure.subplots(rows, columns, squeeze=False).tolist()
        self.png = b""

    @property
    def axes(self) -> Axes:
        """The first panel."""
        return self.panels[0][0]

    @property
    def flat(self) -> list[Axes]:
        """All panels, row by row."""
        return [axes for row in self.panels for axes in row]


@contextmanager
def drawing(
    height: float, width: float = WIDTH, *, rows: int = 1, columns: int = 1, dpi: int = DPI
) -> Iterator[Drawing]:
    """Draw in our style. The same data give the same bytes; no global setting stays changed.

    Args:
        height: Of the whole figure, in inches.
        width: Likewise.
        rows: Of panels.
        columns: Of panels.
        dpi: Pixels an inch.
    """
    with matplotlib.rc_context(STYLE):
        drawn = Drawing(height, width, rows, columns)
        yield drawn
        content = BytesIO()
        drawn.figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
        drawn.png = content.getvalue()


def colours(count: int) -> list[Any]:
    """As many colours as there are classes, told apart up to eight."""
    if count <= len(CLASSES):
        return list(CLASSES[:count])
    return list(matplotlib.colormaps["viridis"](np.linspace(0.05, 0.95, count)))


def embedded(png: bytes | None) -> str:
    """The `src` of an image that is inside the page; empty for no picture."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else ""


def render(template: str, folder: Path = TEMPLATES, **context: Any) -> str:
    """The page that `template`, a file in `folder`, makes of `context`.

    `base.html` wants `title` and `kind` (a line above it). Everything is escaped; a name that is
    missing is an error.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "bytes": readable_bytes,
        "seconds": readable_seconds,
        "signed": lambda value: f"{value:+,}",
    }
    environment.tests["numeric"] = lambda text: _NUMBER.fullmatch(str(text)) is not None
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(context, style=style)


def percent(value: float | None, digits: int = 1) -> str:
    """0.914 → 91.4 %; a dash for None."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def interval(pair: tuple[float, float] | None) -> str:
    """(0.9, 0.93) → 90.0–93.0 %; a dash for None."""
    return "–" if pair is None else f"{100 * pair[0]:.1f}–{100 * pair[1]:.1f} %"


def readable_bytes(count: float) -> str:
    """1234567 → 1.23 MB: decimal units, three digits."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def readable_seconds(value: float) -> str:
    """0.02 → 20 ms; 75.3 → 75.3 s; 3700 → 1 h 01 min."""
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 100:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
