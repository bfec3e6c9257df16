# SPDX-License-Identifier: Apache-2.0
"""Descriptions of programs: free dimensions, stages, and what a description may not contain."""

from typing import Any

import pytest

from groot_ros.core.program import (
    Binding,
    FreeDim,
    ProgramSpec,
    Segment,
    TensorSpec,
    select_tensors,
)

LANGUAGE = Segment(
    "language",
    "backbone",
    (TensorSpec("embeddings", (1, "tokens", 16)), TensorSpec("cos", ("tokens", 8))),
    (TensorSpec("features", (1, "tokens", 16)),),
)
DIMS = {"tokens": FreeDim(3), "cells": FreeDim(2), "patches": FreeDim(8, "cells", 4)}


def segment(name: str, stage: str, reads: str = "", gives: str = "", **more: Any) -> Segment:
    """Return a segment whose tensors, named in a text, have no dimensions."""
    inputs, outputs = (tuple(TensorSpec(n, ()) for n in names.split()) for names in (reads, gives))
    return Segment(name, stage, inputs, outputs, **more)


#: A prompt stage, a stage with a repeated segment, and one with a loop of denoising steps.
PROMPT = segment("prompt", "text", "ids", "instruction", per="prompt", constants=("ids",))
VISION = segment(
    *("vision", "backbone", "pixels", "patches"), repeat="images", observed=("pixels",)
)
MIX = segment("mix", "backbone", "patches instruction position", "features", constants=("pos",))
CONTEXT = segment("context", "head", "features state", "keys values", observed=("state",))
DENOISE = segment(
    *("denoise", "head", "noise keys values", "actions"),
    per="step",
    repeat="steps",
    observed=("noise",),
)
EXPAND = segment("expand", "head", "actions", "actions", per="step", repeat="steps")
SPEC = ProgramSpec((PROMPT, VISION, MIX, CONTEXT, DENOISE, EXPAND), results=("actions",))


def test_sizes_follow_from_the_shapes_of_all_inputs() -> None:
    assert LANGUAGE.sizes({"embeddings": (1, 7, 16), "cos": (7, 8)}) == {"tokens": 7}


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        (
            {"embeddings": (1, 7, 16), "cos": (6, 8)},
            r"language: 'cos' is \(6, 8\), but 'tokens' is 7",
        ),
        (
            {"embeddings": (1, 7, 15), "cos": (7, 8)},
            r"'embeddings' is \(1, 7, 15\), but '16' is 16",
        ),
        (
            {"embeddings": (1, 7, 16), "cos": (7,)},
            r"'cos' is \(7,\), expected \('tokens', 8\)",
        ),
    ],
)
def test_inputs_that_disagree_are_named(shapes: dict[str, tuple[int, ...]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        LANGUAGE.sizes(shapes)


@pytest.mark.parametrize(
    ("sizes", "full"),
    [
        ({"tokens": 5}, {"tokens": 5}),
        ({"patches": 12}, {"patches": 12, "cells": 3}),
        ({"cells": 3}, {"patches": 12, "cells": 3}),
        ({"patches": 12, "cells": 3}, {"patches": 12, "cells": 3}),
    ],
)
def test_multiples_of_known_dimensions_are_added(
    sizes: dict[str, int], full: dict[str, int]
) -> None:
    assert ProgramSpec((LANGUAGE,), ("features",), DIMS).complete(sizes) == full


def test_segments_are_found_by_name() -> None:
    assert SPEC.names == ("prompt", "vision", "mix", "context", "denoise", "expand")
    assert SPEC.segment("mix") is MIX


def test_stages_pass_on_only_what_later_stages_or_the_caller_read() -> None:
    text, backbone, head = SPEC.stages
    assert [stage.name for stage in SPEC.stages] == ["text", "backbone", "head"]
    assert (text.carried, text.results) == ((), ("instruction",))
    assert (backbone.carried, backbone.results) == (("instruction",), ("features",))
    assert head.carried == ("features",)
    assert head.results == ("actions",)


def test_a_stage_carries_in_a_tensor_that_it_then_replaces() -> None:
    update = segment("update", "second", "x y", "y x")
    again = segment("again", "second", "y", "z")
    spec = ProgramSpec((segment("make", "first", "", "x y"), update, again), results=("x",))
    assert spec.stages[1].carried == ("x", "y")
    assert spec.stages[1].results == ("x",)


def test_a_stage_is_per_prompt_when_all_its_segments_are() -> None:
    assert [stage.per_prompt for stage in SPEC.stages] == [True, False, False]
    mixed = segment("vision2", "text", "pixels", "more")
    assert not ProgramSpec((PROMPT, mixed), results=("more",)).stages[0].per_prompt


def test_a_stage_reads_the_host_tensors_of_its_segments() -> None:
    text, backbone, head = SPEC.stages
    assert (text.constants, text.observed) == ({"ids"}, set())
    assert (backbone.constants, backbone.observed) == ({"pos"}, {"pixels"})
    assert (head.constants, head.observed) == (set(), {"state", "noise"})


def test_consecutive_steps_form_one_loop() -> None:
    loops = [[[s.name for s in group] for group in stage.loops()] for stage in SPEC.stages]
    assert loops == [[["prompt"]], [["vision"], ["mix"]], [["context"], ["denoise", "expand"]]]


def test_the_outputs_of_a_repeated_segment_are_lists_unless_it_is_a_step() -> None:
    assert [s.name for s in SPEC.segments if s.lists_outputs] == ["vision"]


def test_a_binding_counts_repetitions() -> None:
    bound = Binding({}, {}, counts={"images": 2, "steps": 4})
    counts = [bound.count(s) for s in SPEC.segments]
    assert counts == [1, 2, 1, 1, 4, 4]


def test_tensors_are_selected_with_their_repetitions() -> None:
    tensors: dict[str, Any] = dict.fromkeys(("pixels#0", "pixels#12", "pixels2", "state", "pos"))
    assert set(select_tensors(tensors, frozenset({"pixels", "state"}))) == {
        *("pixels#0", "pixels#12", "state")
    }


@pytest.mark.parametrize(
    ("segments", "problem"),
    [
        ((PROMPT, PROMPT), "segments must have distinct names, not prompt, prompt"),
        (
            (VISION, PROMPT, MIX),
            "the segments of one stage must follow one another",
        ),
        (
            (segment("vision", "text"), LANGUAGE),
            "language: 'tokens' is not in free_dims",
        ),
        (
            (VISION, segment("head", "head", "patches")),
            "'patches' is a list, as its segment is repeated: it cannot leave stage 'backbone'",
        ),
        (
            (CONTEXT, segment("prompt", "text", "keys", per="prompt")),
            "prompt stage 'text' reads 'keys', which depends on the observation",
        ),
    ],
    ids=["names", "stages", "dimension", "list", "prompt"],
)
def test_a_program_that_no_engine_could_run_is_rejected(
    segments: tuple[Segment, ...], problem: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ProgramSpec(segments, results=())
    assert str(caught.value) == problem


def test_a_result_may_not_be_a_list() -> None:
    with pytest.raises(ValueError, match="'patches' is a list"):
        ProgramSpec((VISION,), results=("patches",))
