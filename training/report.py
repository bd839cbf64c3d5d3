"""Reports as one HTML file: charts, thumbnails and tables, without a script and without a request to anywhere."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from chalicelib.decision import Reason
from training import disk
from training.source import inference

TEMPLATES = Path(__file__).parent / "templates"

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours that people with any kind of colour blindness tell apart, for classes and lines: M. Okabe and K. Ito, Color
universal design, https://jfly.uni-koeln.de/color/"""

INK, QUIET, LINE, PAPER = "#1f2933", "#5f6c7b", "#d5dbe2", "#ffffff"
"""Text, text that steps back, thin lines, and the ground of charts."""

WIDTH, HEIGHT = 5.2, 3.5
"""Inches of a chart. Its letters can still be read when a phone shows it in 350 px."""

MOST_PICTURES = 24
"""Pictures of a kind that a report shows."""

REASONS = {
    Reason.UNKNOWN_OBJECT: "perhaps none of the classes",
    Reason.LOW_CONFIDENCE: "not sure which",
}
"""Why a picture is held back, in words."""

THUMBNAIL = 128
"""Side that a thumbnail has at most, in px."""

SALT = "scones-unlimited"
"""Makes the names inside an SVG the same each time."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """A chart with what a reader needs beside it.

    Attributes:
        title: a heading.
        uri: the picture, as `figure_uri` gives it.
        alt: what it shows, in words, for those who do not see it.
        reading: how to read it, in a sentence.
    """

    title: str
    uri: str
    alt: str
    reading: str


def percent(share: float, digits: int = 1) -> str:
    """A share from 0 to 1 in percent."""
    return f"{share:.{digits}%}"


def exact_percent(share: float) -> str:
    """A share that somebody chose, from 0 to 1, in percent: with no more digits than it was given with."""
    return f"{100 * share:g}%"


def usd(amount: float) -> str:
    """An amount of money."""
    return f"{amount:,.2f}"


def value(share: Json) -> str:
    """A share of `metrics.json` in percent; a dash where there is nothing to share."""
    return "–" if share["value"] is None else percent(share["value"])


def interval(share: Json) -> str:
    """The ends of its interval in percent."""
    return f"{percent(share['low'])}–{percent(share['high'])}"


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name; from the eighth on they are used again."""
    return dict(zip(names, cycle(PALETTE), strict=False))


def new_figure(width: float = WIDTH, height: float = HEIGHT) -> Figure:
    """An empty figure.

    Args:
        width: in inches.
        height: in inches.
    """
    return Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)


def new_axes(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """An empty figure with one chart in the style that all share.

    Args:
        width: in inches.
        height: in inches.
    """
    figure = new_figure(width, height)
    axes = figure.subplots()
    style(axes)
    return figure, axes


def legend(axes: Axes, columns: int, line: float) -> None:
    """What each colour means, above a chart.

    Args:
        axes: the chart.
        columns: names beside each other.
        line: length of the line before a name, in units of the letters' size.
    """
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        columnspacing=1.2,
        handlelength=line,
        borderaxespad=0,
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
    )


def style(axes: Axes) -> None:
    """Give axes the style that all charts share: thin lines, a quiet grid, no box."""
    axes.set_facecolor(PAPER)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(LINE)
    axes.set_axisbelow(True)
    axes.grid(color=LINE, linewidth=0.6)
    axes.tick_params(colors=QUIET, labelsize=10, length=0, pad=6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(11)


def figure_uri(figure: Figure) -> str:
    """A figure as the `data:` URI of an SVG; the same figure gives the same text."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": SALT}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _uri("image/svg+xml", buffer.getvalue())


def thumbnail_uri(picture: bytes, side: int = THUMBNAIL) -> str:
    """A picture as the `data:` URI of a small PNG; something that is no picture becomes a crossed box.

    Args:
        picture: a JPEG or PNG, of any origin.
        side: px that neither side may exceed. Smaller pictures are not enlarged.
    """
    try:
        image = inference.decode(picture).image
        image.thumbnail((side, side))
    except inference.UnreadableImageError:
        image = _crossed_box(side)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return _uri("image/png", buffer.getvalue())


def write(path: Path, template: str, **context: Any) -> None:
    """Render a template into a file, which is either the whole report or the one that was there.

    Args:
        path: the file; its folder is made.
        template: name of a file in `training/templates/`.
        context: what the template asks for, all of it.

    Raises:
        InputError: the file cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "exact_percent": exact_percent, "usd": usd}
    text = environment.get_template(template).render(context)
    disk.write_text(path, text)


def _crossed_box(side: int) -> Image.Image:
    image = Image.new("RGB", (side, side), PAPER)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, side - 1, side - 1), outline=QUIET)
    draw.line((0, 0, side - 1, side - 1), QUIET)
    draw.line((0, side - 1, side - 1, 0), QUIET)
    return image


def _uri(content_type: str, content: bytes) -> str:
    return f"data:{content_type};base64,{base64.b64encode(content).decode('ascii')}"
