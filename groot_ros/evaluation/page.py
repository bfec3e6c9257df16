# SPDX-License-Identifier: Apache-2.0
"""Frame of an HTML page: one file that a browser shows without a network.

A page has a title, facts (key figures at the top), notes (what is missing or was repaired) and
sections. The blocks of a section are made with `table_block`, `figure_block`, `picture_block`,
`data_block` and `asset_block`. All text is escaped. Plotly's script is part of
the file, and the content security policy of the page forbids the browser to load anything else.
"""

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from plotly import graph_objects as go
from plotly.offline import get_plotlyjs

from groot_ros import __version__

#: Colours of Okabe and Ito, which people with a colour vision deficiency can distinguish.
BLUE, ORANGE, GREEN, VERMILLION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, YELLOW, GREY = "#cc79a7", "#56b4e9", "#f0e442", "#8a9099"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW, GREY)

_FOLDER = Path(__file__).parent
_TEMPLATE = "page.html.j2"
_FIGURE = Markup('<div class="figure">{}</div>')
_FIGURE_BEGIN = _FIGURE[: _FIGURE.index("{")]
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_TEXT, _GRID = "#1c2733", "#e4e8ec"
#: Options of every plot. The buttons are listed because Plotly has one that uploads the plot.
_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "plotlyServerURL": "",
    "modeBarButtons": [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
}


@dataclass(frozen=True)
class Fact:
    """Key figure at the top of a page; `warn` emphasises one that needs attention."""

    name: str
    value: str
    warn: bool = False


@dataclass(frozen=True)
class Section:
    """Part of a page: a title, a sentence below it, and blocks of HTML."""

    title: str
    text: str
    blocks: tuple[Markup, ...]


@dataclass
class Page:
    """One self-contained HTML page.

    Attributes:
        title: heading, and title of the browser's tab.
        subtitle: line below the heading.
        facts: key figures, in the order in which they are shown.
        notes: sentences about what is missing or was repaired.
        sections: in the order in which they are shown.

    """

    title: str
    subtitle: str = ""
    facts: list[Fact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def add_fact(self, name: str, value: str, *, warn: bool = False) -> None:
        """Add a key figure."""
        self.facts.append(Fact(name, value, warn))

    def add_section(self, title: str, *blocks: Markup, text: str = "") -> None:
        """Add a section of blocks, with a sentence of explanation."""
        self.sections.append(Section(title, text, blocks))

    def render(self) -> str:
        """Return the HTML; Plotly's script is included if a section has a figure."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        has_figure = any(_FIGURE_BEGIN in b for s in self.sections for b in s.blocks)
        return environment.get_template(_TEMPLATE).render(
            page=self,
            font=Markup(_FONT),
            plotly=Markup(get_plotlyjs()) if has_figure else "",
            version=__version__,
        )

    def write(self, path: Path) -> None:
        """Write the page; an existing file is replaced only once the new one is complete."""
        part = path.with_name(f"{path.name}.part")
        try:
            part.write_text(self.render(), encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def label(text: str) -> str:
    """Escape a text for a Plotly figure, whose labels may contain HTML."""
    return html.escape(text, quote=False)


def figure_block(figure: go.Figure, name: str) -> Markup:
    """Return a Plotly figure in the style of the page.

    Args:
        figure: texts that come from a bag or a file must have passed `label`.
        name: id of the element, for scripts; unique on the page.

    """
    figure.update_layout(
        template="plotly_white",
        font={"family": _FONT, "size": 12, "color": _TEXT},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        modebar={"bgcolor": "rgba(255,255,255,0.8)", "color": "#5b6875", "activecolor": _TEXT},
    )
    figure.update_xaxes(gridcolor=_GRID, zerolinecolor=_GRID)
    figure.update_yaxes(gridcolor=_GRID, zerolinecolor=_GRID)
    # to_html escapes "<", ">" and "/" in the figure's JSON: no text can end the script.
    code = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=html.escape(name), config=_CONFIG
    )
    return _FIGURE.format(Markup(code))


def table_block(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Markup:
    """Return a table; the first column is aligned to the left, the others to the right."""

    def cells(tag: str, row: Sequence[str]) -> Markup:
        cell = Markup(f"<{tag}>{{}}</{tag}>")
        return Markup("<tr>{}</tr>").format(Markup("").join(cell.format(text) for text in row))

    return Markup("<table>{}<thead>{}</thead><tbody>{}</tbody></table>").format(
        Markup("<caption>{}</caption>").format(caption) if caption else "",
        cells("th", header),
        Markup("").join(cells("td", row) for row in rows),
    )


def picture_block(data: bytes, description: str, form: str = "png") -> Markup:
    """Return a picture of an encoded image; `description` is for those who cannot see it."""
    return Markup('<img class="picture" alt="{}" src="{}">').format(
        description, data_uri(data, form)
    )


def data_uri(data: bytes, form: str) -> str:
    """Return an encoded image as an address; `form` is "png", "jpeg" or "webp"."""
    return f"data:image/{form};base64,{base64.b64encode(data).decode()}"


def data_block(name: str, data: Any) -> Markup:
    """Return data for a script of the page, which reads it by JSON.parse; no NaN allowed."""
    code = htmlsafe_json_dumps(data, allow_nan=False)
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, code)


def asset_block(name: str) -> Markup:
    """Return one of the HTML files in the folder of this module: styles and scripts of a block."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))
