# SPDX-License-Identifier: Apache-2.0
"""`groot-ros prompt`: files become the pictures of a prompt, mistakes one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.policy_stage import active, stages

from groot_ros.cli.main import main
from groot_ros.cli.prompt import read_pictures

IDS = np.arange(12, dtype=np.uint16).reshape(3, 4)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with images and masks, which is the current one."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("cup.png")
    Image.fromarray(pixels[..., 0]).save("grey.png")
    Image.fromarray(IDS.astype(np.uint8)).save("ids8.png")
    Image.fromarray(IDS * 100).save("ids16.png")
    indexed = Image.fromarray(IDS.astype(np.uint8), mode="P")
    indexed.putpalette([7] * 768)
    indexed.save("indexed.png")
    Path("notes.txt").write_text("no image")
    return tmp_path


def test_files_become_pictures_by_placeholder_and_view(files: Path) -> None:
    pictures = read_pictures(
        ["0=cup.png", "scene:front=cup.png", "scene:top=grey.png"],
        ["scene:front=ids16.png", "scene:top=indexed.png"],
    )
    assert {name: sorted(views) for name, views in pictures.items()} == {
        "0": [""],
        "scene": ["front", "top"],
    }
    assert pictures["0"][""].labels is None
    np.testing.assert_array_equal(pictures["scene"]["front"].labels, IDS * 100)
    # Ids, not the colours of the palette.
    np.testing.assert_array_equal(pictures["scene"]["top"].labels, IDS)
    np.testing.assert_array_equal(read_pictures(["0=cup.png"], ["0=ids8.png"])["0"][""].labels, IDS)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--text", " "], "the text is empty, which stops: use groot-ros stop"),
        (["--text", "put {0}"], "placeholder {0} has no picture"),
        (["--text", "put", "--image", "0=cup.png"], "picture '0' is given, but the text has no"),
        (["--text", "{0}", "--image", "cup.png"], "--image must be NAME=FILE or NAME:VIEW=FILE"),
        (["--text", "{0}", "--image", "0="], "--image must be NAME=FILE"),
        (["--text", "{0}", "--image", "0:=cup.png"], "--image must be NAME=FILE or NAME:VIEW=FILE"),
        (["--text", "{0}", "--image", "0=no.png"], "no.png"),
        (["--text", "{0}", "--image", "0=notes.txt"], "notes.txt: is no image that can be read"),
        (
            ["--text", "{0}", "--image", "0=cup.png", "--image", "0=cup.png"],
            "--image 0 is given more than once",
        ),
        (
            ["--text", "{0}", "--image", "0=cup.png", "--mask", "0:top=ids8.png"],
            "--mask 0:top belongs to no image: give --image 0:top=FILE",
        ),
        (
            ["--text", "{0}", "--image", "0=cup.png", "--mask", "0=cup.png"],
            "cup.png: is an image of colours (RGB); a mask must be grey or indexed",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_status_2(
    files: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prompt", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("groot-ros prompt: ")
    assert problem in error
    assert error.count("\n") == 1


def test_a_mask_of_another_size_is_named(files: Path) -> None:
    Image.fromarray(IDS.astype(np.uint8)[:2]).save("small.png")
    with pytest.raises(ValueError, match=r"small.png: a mask must have the size of its image"):
        read_pictures(["0=cup.png"], ["0=small.png"])


@pytest.fixture
def stage(ros_domain):
    yield from stages()


@pytest.mark.ros
def test_the_answer_of_the_policy_is_the_exit_status(
    stage, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on = active(stage)
    namespace = ["--namespace", on.node.get_namespace(), "--timeout", "30"]
    assert main(["prompt", "--text", "pick it", *namespace]) == 0
    assert capsys.readouterr().out == "policy_node: pick it\n"
    picture = ["--text", "put {0}", "--image", "0=cup.png"]
    assert main(["prompt", *picture, *namespace]) == 1
    assert "rejected by policy_node: model family 'scripted' takes texts" in capsys.readouterr().err
    assert main(["prompt", *picture, "--namespace", "nobody", "--timeout", "0.2"]) == 3
