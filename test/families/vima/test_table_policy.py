# SPDX-License-Identifier: Apache-2.0
"""VIMA as a family: what its checkpoint states, and its sessions from pictures with labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_vima import VIEWS, scene, tiny_config, tiny_policy, tiny_tokenizer

from groot_ros.cli.main import main
from groot_ros.core.config_reader import CheckpointError
from groot_ros.core.prompt import ALL_VIEWS, PromptImage
from groot_ros.families.family import UnusableObjectsError
from groot_ros.families.registry import find_family
from groot_ros.families.vima.assembly import assemble_prompt, find_scene
from groot_ros.families.vima.checkpoint import save_network

LOW, HIGH = (0.3, -0.2), (0.6, 0.4)
IMAGE = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("vima")
    save_network(tiny_policy().network, directory, tiny_tokenizer())
    return directory


def opened(checkpoint: Path):
    return find_family(checkpoint).open(checkpoint, embodiment="any")


def pictures(*, labels: bool = True, **ids: tuple[int, ...]):
    """Return the pictures of placeholders that show these objects."""
    return {
        name: {
            view: PromptImage(v.image, v.labels if labels else None)
            for view, v in scene(own, seed=len(name)).items()
        }
        for name, own in ids.items()
    }


def seen(*ids: int, seed: int = 0):
    views = scene(ids, seed)
    return {v: s.image for v, s in views.items()}, {v: s.labels for v, s in views.items()}


def test_the_specification_says_what_the_node_must_provide(checkpoint: Path) -> None:
    spec = opened(checkpoint).spec
    assert (spec.family, spec.views, spec.action) == ("vima", VIEWS, "pick_place")
    assert (spec.labels, spec.pictures, spec.stateful, spec.supports_prefix) == (
        *(True, True, True),
        False,
    )
    assert spec.action_space == {"pick": "pose", "place": "pose"}


def test_a_session_gives_poses_inside_of_the_area_and_can_take_one_back(checkpoint: Path) -> None:
    model = opened(checkpoint).load(torch.device("cpu"))
    given = pictures(a=(3,), b=(1, 2))
    session = model.session("put the {a} into {b}", given, LOW, HIGH)
    first = session.step(*seen(1, 4), "suction")
    for pose in (first.pick, first.place):
        assert LOW[0] <= pose.x <= HIGH[0]
        assert LOW[1] <= pose.y <= HIGH[1]
    second = session.step(*seen(1, 4, seed=5), "suction")
    session.take_back()
    # The step that was taken back leaves no trace.
    again = session.step(*seen(1, 4, seed=5), "suction")
    assert again.bins == second.bins
    assert again.probabilities == second.probabilities


def test_nothing_is_taken_back_twice(checkpoint: Path) -> None:
    session = opened(checkpoint).load(torch.device("cpu")).session("rotate this", {}, LOW, HIGH)
    with pytest.raises(ValueError, match="no step to take back"):
        session.take_back()
    session.step(*seen(1), "suction")
    session.take_back()
    with pytest.raises(ValueError, match="no step to take back"):
        session.take_back()


def test_an_image_without_a_mask_is_one_object_that_fills_it() -> None:
    given = {"a": {ALL_VIEWS: PromptImage(IMAGE)}}
    prompt = assemble_prompt("put {a}", given, VIEWS, 32)
    picture = prompt.pictures["a"]
    assert picture.ids == (1,)
    for view in VIEWS:
        # The reference size is 128 x 256: a box from edge to edge.
        np.testing.assert_allclose(picture.boxes[view], [[123.73, 60.8, 124.8, 251.73]], atol=0.01)
        assert picture.mask[view].tolist() == [True]
    np.testing.assert_array_equal(picture.crops["front"], picture.crops["top"])


def test_an_image_without_a_mask_is_the_object_of_the_other_views() -> None:
    views = scene((7,))
    given = {
        "front": PromptImage(views["front"].image, views["front"].labels),
        "top": PromptImage(views["top"].image),
    }
    assert assemble_prompt("put {a}", {"a": given}, VIEWS, 32).pictures["a"].ids == (7,)


def labelled(ids) -> dict:
    return {view: PromptImage(v.image, v.labels) for view, v in scene(ids).items()}


@pytest.mark.parametrize(
    ("text", "given", "problem"),
    [
        ("put {a} {b}", {"a": {ALL_VIEWS: PromptImage(IMAGE)}}, r"\{b\} has no picture"),
        ("put", {"a": {ALL_VIEWS: PromptImage(IMAGE)}}, "picture 'a' is given, but the text has"),
        (
            "put {a}",
            {"a": labelled({"front": (3, 5), "top": (3,)})},
            "object 5 is visible in view 'front' only: every view must show it",
        ),
        (
            "put {a}",
            {"a": labelled({"front": (3, 5), "top": (3, 7)})},
            "ids differ between views: 'front' shows 5, 'top' shows 7",
        ),
        ("put {a}", {"a": labelled(())}, "no object in the labels"),
        (
            "put {a}",
            {"a": {"front": PromptImage(IMAGE)}},
            "has images of front: give one for all views, or one for each of front, top",
        ),
        (
            "put {a}",
            {"a": {"front": PromptImage(IMAGE), "top": labelled((1, 2))["top"]}},
            "the image of view 'front' has no mask, but another view shows 2 objects",
        ),
    ],
)
def test_a_prompt_that_cannot_be_resolved_is_rejected(text: str, given: dict, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as error:
        assemble_prompt(text, given, VIEWS, 32)
    assert str(error.value).startswith(f"prompt '{text}': ")
    assert "\n" not in str(error.value)


def test_a_scene_whose_views_disagree_is_rejected() -> None:
    views = scene({"front": (1, 2), "top": (1,)})
    images = {view: v.image for view, v in views.items()}
    with pytest.raises(UnusableObjectsError, match="object 2 is visible in view 'front' only"):
        find_scene(images, {view: v.labels for view, v in views.items()}, 32)


def test_inspect_shows_it(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 0
    out = capsys.readouterr().out
    assert f"{checkpoint}: vima, " in out
    assert "object encoder" in out
    assert "views front, top with labels of their objects" in out


def test_a_public_file_needs_the_tokenizer_of_t5(tmp_path: Path) -> None:
    network = tiny_policy().network
    file = tmp_path / "2M.ckpt"
    torch.save(
        {
            "cfg": tiny_config().to_json(),
            "state_dict": {f"policy.{n}": t for n, t in network.state_dict().items()},
        },
        file,
    )
    with pytest.raises(CheckpointError, match=r"2M.ckpt: the tokenizer of T5 .* backbone_assets"):
        opened(file)
    tiny_tokenizer().write(tmp_path / "tokenizer.json")
    found = find_family(file).open(file, embodiment="any", assets=tmp_path)
    assert len(found.digest()) == 64
    assert found.load(torch.device("cpu")).memory_bytes > 10_000
