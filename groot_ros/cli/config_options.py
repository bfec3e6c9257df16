# SPDX-License-Identifier: Apache-2.0
"""Command line options derived from a configuration dataclass (`core.config`)."""

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from groot_ros.core.config import Parameter, Value, parameters_of

C = TypeVar("C")


def add_config_options(
    parser: argparse.ArgumentParser,
    config_type: type,
    fields: Sequence[str],
    *,
    defaults: Mapping[str, Value] | None = None,
    options: Mapping[str, str] | None = None,
    required: Collection[str] = (),
) -> None:
    """Add one option for each field; its type, choices and help come from the declaration.

    Args:
        parser: receives the options; the parsed values have the names of the fields.
        config_type: a configuration dataclass.
        fields: of the configuration, in the order of the help.
        defaults: field -> default, where it differs from the declared one.
        options: field -> option, where it is not the field's name ({"torch_threads": "threads"}).
        required: fields whose options must be given.

    """
    declared = {p.field_name: p for p in parameters_of(config_type)}
    for field in fields:
        parameter = declared[field]
        option = f"--{(options or {}).get(field, field).replace('_', '-')}"
        default = (defaults or {}).get(field, parameter.default)
        keywords: dict[str, Any] = {"dest": field, "default": default}
        if isinstance(parameter.default, bool):
            keywords["action"] = "store_true"
        else:
            if field in required:
                keywords["required"] = True
            if isinstance(parameter.default, str):
                keywords["action"] = _NonEmptyOption
            else:
                keywords["type"] = type(parameter.default)
            keywords["metavar"] = field.upper()
        shown = "" if field in required else default
        parser.add_argument(option, help=_help(parameter, shown), **keywords)
        if parameter.former_name:
            former: dict[str, Any] = {"type": keywords.get("type")}
            if isinstance(parameter.default, bool):
                former["nargs"] = 0
            parser.add_argument(
                f"--{parameter.former_name.replace('_', '-')}",
                help=argparse.SUPPRESS,
                **former,
                dest=field,
                default=argparse.SUPPRESS,
                action=_FormerOption,
                new_option=option,
            )


def config_from_options(
    args: argparse.Namespace, config_type: type[C], fields: Sequence[str], **others: Any
) -> C:
    """Return the configuration that the options of `add_config_options` give.

    Warns on stderr of values of an earlier version.

    Args:
        args: the parsed command line.
        config_type: as for `add_config_options`.
        fields: as for `add_config_options`.
        others: fields that have no option.

    Raises:
        ValueError: a value is out of range; one line that names the parameter.

    """
    for parameter in parameters_of(config_type):
        if parameter.field_name in fields:
            warning = parameter.rename_warning(getattr(args, parameter.field_name))
            if warning:
                print(f"groot-ros: warning: {warning}", file=sys.stderr)
    return config_type(**{field: getattr(args, field) for field in fields}, **others)


def _help(parameter: Parameter, default: Value) -> str:
    text = parameter.description + (f" [{parameter.unit}]" if parameter.unit else "")
    if parameter.choices:
        text += f": {', '.join(parameter.choices)}"
    shown = "" if isinstance(default, bool) or default in ("", ()) else f" (default: {default})"
    return (text + shown).replace("%", "%%")


class _NonEmptyOption(argparse.Action):
    """Option that rejects an empty value, most likely an unset variable of the shell."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if values == "":
            raise argparse.ArgumentError(self, "is empty; give a value, or omit the option")
        setattr(namespace, self.dest, values)


class _FormerOption(argparse.Action):
    """Option under its former name: works, with a warning that names the new one."""

    def __init__(self, *args: Any, new_option: str, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._new_option = new_option

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        print(
            f"{parser.prog}: warning: {option_string} is now called {self._new_option}; "
            "the old name will be removed in the next version",
            file=sys.stderr,
        )
        setattr(namespace, self.dest, True if self.nargs == 0 else values)
