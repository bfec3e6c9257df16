# SPDX-License-Identifier: Apache-2.0
"""Pictures of prompts: what belongs together, and which images are equal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import MalformedError
from groot_ros.core.prompt import (
    ALL_VIEWS,
    PLACEHOLDER,
    PromptImage,
    placeholder_problem,
    same_pictures,
)

GREY = np.full((4, 6, 3), 90, np.uint8)
NAMES = st.text("ab_7", min_size=1, max_size=4)


@given(st.lists(NAMES, max_size=5))
def test_a_text_with_exactly_the_placeholders_of_its_pictures_is_accepted(names: list[str]) -> None:
    text = "put " + " and ".join(f"{{{name}}}" for name in names)
    assert placeholder_problem(text, names) == ""
    assert set(PLACEHOLDER.findall(text)) == set(names)


@pytest.mark.parametrize(
    ("text", "names", "problem"),
    [
        ("put {0}", [], "placeholder {0} has no picture"),
        ("put it", ["0"], "picture '0' is given, but the text has no placeholder {0}"),
        ("put {0", [], "a brace belongs to no placeholder"),
        ("put {}", ["0"], "a brace belongs to no placeholder"),
        ("put {0}}", ["0"], "a brace belongs to no placeholder"),
        ("put{0}", ["0"], "a placeholder touches a word"),
    ],
)
def test_what_does_not_belong_together_is_named(text: str, names: list[str], problem: str) -> None:
    assert placeholder_problem(text, names).startswith(f"prompt '{text}': {problem}")


@pytest.mark.parametrize(
    ("image", "labels", "problem"),
    [
        (GREY[..., 0], None, "must be RGB bytes"),
        (GREY.astype(float), None, "must be RGB bytes"),
        (GREY[:0], None, "an image is empty"),
        (GREY, np.zeros((4, 5), np.uint8), r"must have the size of its image, \[4, 6\]"),
        (GREY, np.zeros((4, 6)), "a mask must have the size"),
    ],
)
def test_a_misshapen_image_or_mask_is_rejected(image, labels, problem: str) -> None:
    with pytest.raises(MalformedError, match=problem) as error:
        PromptImage(image, labels)
    assert error.value.reason == "bad_prompt"


def test_pictures_are_equal_if_names_views_pixels_and_labels_are() -> None:
    labels = np.ones((4, 6), np.uint8)
    one = {"0": {ALL_VIEWS: PromptImage(GREY, labels)}}
    assert same_pictures(one, {"0": {ALL_VIEWS: PromptImage(GREY.copy(), labels.copy())}})
    others = [
        {},
        {"1": one["0"]},
        {"0": {"top": PromptImage(GREY, labels)}},
        {"0": {ALL_VIEWS: PromptImage(GREY + np.uint8(1), labels)}},
        {"0": {ALL_VIEWS: PromptImage(GREY, 2 * labels)}},
        {"0": {ALL_VIEWS: PromptImage(GREY)}},
    ]
    assert not any(same_pictures(one, other) or same_pictures(other, one) for other in others)
