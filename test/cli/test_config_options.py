# SPDX-License-Identifier: Apache-2.0
"""Options of the command line have the type, choices and help of the configuration's fields."""

import argparse

import pytest

from groot_ros.cli.config_options import add_config_options, config_from_options
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import PolicyConfig

FIELDS = ("checkpoint", "engine", "allow_unvalidated_engine", "torch_threads", "max_image_age")


def parse(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="groot-ros infer")
    add_config_options(parser, PolicyConfig, FIELDS, options={"torch_threads": "threads"})
    return parser.parse_args(given)


def config(*given: str) -> PolicyConfig:
    return config_from_options(parse(*given), PolicyConfig, FIELDS, embodiment="gr1")


def test_without_options_a_configuration_has_its_defaults():
    assert config() == PolicyConfig(embodiment="gr1")


def test_options_have_the_types_of_their_fields():
    given = config(
        "--checkpoint=x",
        "--engine=reference",
        "--allow-unvalidated-engine",
        "--threads=4",
        "--max-image-age=1",
    )
    assert given == PolicyConfig(
        "x",
        "gr1",
        engine="reference",
        allow_unvalidated_engine=True,
        torch_threads=4,
        max_image_age=1.0,
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--engine=abacus", "engine must be one of auto, "),
        ("--threads=300", "torch_threads must be at most 256, not 300"),
    ],
)
def test_a_value_out_of_range_is_rejected(option, message):
    with pytest.raises(ValueError, match=message):
        config(option)


def test_a_value_of_the_wrong_type_is_rejected_with_the_option(capsys):
    with pytest.raises(SystemExit):
        parse("--threads=many")
    assert "argument --threads: invalid int value: 'many'" in capsys.readouterr().err


def test_former_options_and_values_are_accepted_with_a_warning(capsys):
    given = config("--allow-unproven-engine", "--engine=plain")
    assert (given.allow_unvalidated_engine, given.engine) == (True, "reference")
    assert capsys.readouterr().err.splitlines() == [
        "groot-ros infer: warning: --allow-unproven-engine is now called "
        "--allow-unvalidated-engine; the old name will be removed in the next version",
        "groot-ros: warning: engine: 'plain' is now called 'reference'; please rename it",
    ]


def test_a_former_option_with_a_value_is_converted(capsys):
    parser = argparse.ArgumentParser()
    add_config_options(parser, ExecutorConfig, ["max_underruns"])
    assert parser.parse_args(["--max-starvations", "3"]).max_underruns == 3
    assert "is now called --max-underruns" in capsys.readouterr().err


def test_the_help_shows_description_choices_and_default(capsys):
    parser = argparse.ArgumentParser()
    add_config_options(
        parser,
        PolicyConfig,
        ["checkpoint", "embodiment", "engine"],
        defaults={"engine": "torch"},
        required=["checkpoint", "embodiment"],
    )
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "auto, cuda_graph, onnxruntime, reference, tensorrt, torch, torch_tensorrt (default: torch)"
        in text
    )
    assert "default: new_embodiment" not in text
    assert "unproven" not in text
    with pytest.raises(SystemExit):
        parser.parse_args([])


def test_an_empty_value_is_rejected_instead_of_the_default_being_used(capsys):
    parser = argparse.ArgumentParser()
    add_config_options(parser, PolicyConfig, ["robot"])
    assert parser.parse_args([]).robot == ""
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--robot", ""])
    error = capsys.readouterr().err
    assert "argument --robot: is empty; give a value, or omit the option" in error


@pytest.mark.parametrize(("former", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_the_former_names_of_dtypes_are_accepted_with_a_warning(former, dtype, capsys):
    parser = argparse.ArgumentParser()
    add_config_options(parser, PolicyConfig, ["dtype"])
    config = config_from_options(parser.parse_args(["--dtype", former]), PolicyConfig, ["dtype"])
    assert config.dtype == dtype
    assert f"'{former}' is now called '{dtype}'" in capsys.readouterr().err
