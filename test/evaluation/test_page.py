# SPDX-License-Identifier: Apache-2.0
"""An HTML page is one file, shows every text as it is, and is never left half written."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from plotly import graph_objects as go

from groot_ros.evaluation.page import (
    Page,
    data_block,
    figure_block,
    label,
    picture_block,
    table_block,
)

HOSTILE = """</script><script>alert(1)</script><img src="http://x/y" onerror='z'> & "q" ☃"""


class Elements(HTMLParser):
    """Collect the elements of a page with their attributes, and the text outside of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        else:
            self.text += data


def figure(text: str) -> go.Figure:
    return go.Figure(go.Scatter(x=np.arange(3.0), y=np.arange(3.0), name=label(text)))


def hostile_page() -> Page:
    page = Page(HOSTILE, HOSTILE)
    page.add_fact(HOSTILE, HOSTILE, warn=True)
    page.notes.append(HOSTILE)
    page.add_section(
        HOSTILE,
        figure_block(figure(HOSTILE), "plot"),
        table_block([HOSTILE], [[HOSTILE]], HOSTILE),
        picture_block(b"\x89PNG", HOSTILE),
        data_block("data", {HOSTILE: HOSTILE}),
        text=HOSTILE,
    )
    return page


def test_text_from_a_bag_is_shown_as_it_is_and_never_becomes_an_element() -> None:
    elements = Elements(hostile_page().render())
    images = [attributes for tag, attributes in elements.tags if tag == "img"]
    assert images == [{"class": "picture", "alt": HOSTILE, "src": "data:image/png;base64,iVBORw=="}]
    # Title, subtitle, name and value of the fact, note, section and its text, three in the table,
    # and the title of the tab.
    assert elements.text.count(HOSTILE) == 11
    # Plotly, the plot, and the data.
    assert len(elements.scripts) == 3
    assert json.loads(elements.scripts[-1]) == {HOSTILE: HOSTILE}
    assert "alert(1)" in elements.scripts[-2]


def test_a_page_refers_to_nothing_outside_of_itself() -> None:
    elements = Elements(hostile_page().render())
    addresses = [
        value
        for _, attributes in elements.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action") and value and not value.startswith("data:")
    ]
    assert addresses == []
    policy = next(a["content"] for t, a in elements.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; ")


def test_plotly_is_included_once_and_only_with_a_figure() -> None:
    page = Page("run")
    page.add_section("table", table_block(["a"], [["1"]]))
    assert len(page.render()) < 10_000
    for name in ("first", "second"):
        page.add_section(name, figure_block(figure(name), name))
    assert 1 < len(page.render()) / 4_500_000 < 1.5


def test_data_with_nan_is_refused_because_a_browser_cannot_read_it() -> None:
    with pytest.raises(ValueError, match="JSON"):
        data_block("data", [float("nan")])


def test_a_page_that_cannot_be_rendered_leaves_the_earlier_file(tmp_path) -> None:
    path = tmp_path / "report.html"
    Page("first").write(path)
    broken = Page("second")
    broken.facts.append(None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="warn"):
        broken.write(path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert "<h1>first</h1>" in path.read_text(encoding="utf-8")
