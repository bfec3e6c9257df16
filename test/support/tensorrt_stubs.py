# SPDX-License-Identifier: Apache-2.0
"""Script: write type stubs of the TensorRT bindings, from the signatures in their docstrings.

usage: python tensorrt_stubs.py FILE.pyi
"""

import keyword
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorrt_bindings as bindings

_OWN = re.compile(r"\btensorrt_bindings\.tensorrt\.")
#: C++ types without a Python name, and Python types under other names.
_NAMED = {
    "nvonnxparser::IParserError": "ParserError",
    "nvonnxparser::OnnxParserFlag": "OnnxParserFlag",
    "nvinfer1::ErrorCode": "ErrorCode",
    "typing.SupportsInt": "int",
    "typing.SupportsFloat": "float",
    "buffer": "Buffer",
    "typing_extensions.Buffer": "Buffer",
    "List": "list",
    "Tuple": "tuple",
    "Dict": "dict",
    "capsule": "Any",
}
#: Types that pybind11 accepts for an argument, in addition to its own.
_CONVERTED = {"Dims": "Dims | Sequence[builtins.int]"}
#: Functions that return None for a C++ null pointer without documenting it.
_MAY_FAIL = {"build_serialized_network", "create_execution_context", "create_timing_cache"}
_OR_NONE = re.compile(r"\bor `?None\b")
_SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) -> (.+?)\s*$")
_HEADER = """\
# mypy: ignore-errors
import builtins
from collections.abc import Iterator, Sequence
from typing import Any, overload

from typing_extensions import Buffer

__version__: builtins.str
"""


def stubs() -> Iterator[str]:
    """Yield the stubs of every public name of the module."""
    yield _HEADER
    for name, thing in sorted(vars(bindings).items()):
        if name.startswith("_"):
            continue
        if isinstance(thing, type):
            yield from class_stub(name, thing, "")
        elif is_enum(type(thing)):
            yield f"{name}: {qualified(type(thing))}\n"


def class_stub(name: str, cls: type, indent: str) -> Iterator[str]:
    """Yield the stub of a class with its own members."""
    base = cls.__mro__[1]
    own = base.__module__.startswith("tensorrt_bindings")
    yield f"{indent}class {name}{f'({qualified(base)})' if own else ''}:\n"
    inner = indent + "    "
    yield f"{inner}...\n"
    if is_enum(cls):
        yield f"{inner}name: builtins.str\n{inner}value: builtins.int\n"
        yield f"{inner}def __int__(self) -> builtins.int: ...\n"
        yield from (f"{inner}{member}: {qualified(cls)}\n" for member in cls.__members__)
        return
    members = vars(cls)
    for member, thing in sorted(members.items()):
        if isinstance(thing, type):
            yield from class_stub(member, thing, inner)
        elif is_enum(type(thing)):
            yield f"{inner}{member}: {qualified(type(thing))}\n"
        elif isinstance(thing, property):
            yield from property_stub(member, thing, inner)
        elif callable(thing) and (not member.startswith("_") or member in _DUNDERS):
            yield from method_stub(member, thing, inner)
    if {"__len__", "__getitem__"} <= set(members):
        yield f"{inner}def __iter__(self) -> Iterator[builtins.int]: ...\n"
    if name == "IHostMemory":
        yield f"{inner}def __buffer__(self, flags: builtins.int, /) -> memoryview: ...\n"


_DUNDERS = {"__init__", "__len__", "__bool__"}


def property_stub(name: str, thing: property, indent: str) -> Iterator[str]:
    """Yield the stub of a property; read-only without a setter."""
    found = re.search(r"\) -> (.+?)\s*$", (getattr(thing.fget, "__doc__", "") or "").strip())
    kind = translated(found[1]) if found else "Any"
    yield f"{indent}@property\n{indent}def {name}(self) -> {kind}: ...\n"
    if thing.fset is not None:
        value = "Any" if kind in ("Any", "None") else kind
        yield f"{indent}@{name}.setter\n{indent}def {name}(self, value: {value}) -> None: ...\n"


def method_stub(name: str, thing: Any, indent: str) -> Iterator[str]:
    """Yield the stub of a method with its overloads; nothing without a documented signature."""
    lines = (getattr(thing, "__doc__", "") or "").splitlines()
    found = [match for line in lines if (match := _SIGNATURE.match(line)) and match[1] == name]
    numbered = [match for match in found if match[0][0].isdigit()]
    chosen = numbered or found[:1]
    if not chosen:
        return
    overload = f"{indent}@overload\n" if len(chosen) > 1 else ""
    for match in chosen:
        arguments = in_order([argument(given) for given in split(match[2])])
        result = translated(match[3])
        if name in _MAY_FAIL or _OR_NONE.search(thing.__doc__):
            result += " | None"
        if not arguments or not match[2].startswith("self"):
            yield f"{indent}@staticmethod\n"
        yield f"{overload}{indent}def {name}({', '.join(arguments)}) -> {result}: ...\n"


def argument(given: str) -> str:
    """Return the stub of one argument; a default becomes an ellipsis."""
    match = re.match(r"(\*{0,2}\w+)(?:: (.+?))?( = .*)?$", given)
    if match is None:
        raise ValueError(f"not an argument: {given}")
    if match[1] == "self":
        return "self"
    kind = translated(match[2] or "Any")
    default = " = ..." if match[3] else ""
    optional = " | None" if match[3] == " = None" else ""
    name = f"{match[1]}_" if keyword.iskeyword(match[1]) else match[1]
    return f"{name}: {_CONVERTED.get(kind, kind)}{optional}{default}"


def in_order(arguments: list[str]) -> list[str]:
    """Drop defaults before an argument without one, which Python does not allow."""
    required = max((i for i, text in enumerate(arguments) if " = " not in text), default=-1)
    return [t.replace(" = ...", "") if i < required else t for i, t in enumerate(arguments)]


def translated(kind: str) -> str:
    """Return the type in Python notation; Any if it has no Python name."""
    kind = _OWN.sub("", kind)
    for ugly, plain in _NAMED.items():
        kind = re.sub(rf"(?<![\w.]){re.escape(ugly)}(?!\w)", plain, kind)
    if not re.fullmatch(r"[\w.\[\], |]+", kind):
        return "Any"
    unknown = [
        word
        for word in re.findall(r"[\w.]+", kind)
        if word not in _KNOWN and not hasattr(bindings, word.partition(".")[0])
    ]
    # The module defines its own `bool` and others.
    return "Any" if unknown else _BUILTIN.sub(r"builtins.\1", kind)


_BUILTINS = ("int", "str", "bool", "float", "bytes", "object", "list", "tuple", "dict", "set")
_BUILTIN = re.compile(rf"(?<![\w.])({'|'.join(_BUILTINS)})(?!\w)")
_KNOWN = {*_BUILTINS, "None", "Any", "Buffer"}


def split(arguments: str) -> list[str]:
    """Split at the commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(arguments):
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and depth == 0:
            parts.append(arguments[start:index].strip())
            start = index + 1
    return [part for part in (*parts, arguments[start:].strip()) if part]


def is_enum(cls: type) -> bool:
    """Return whether it is an enum of pybind11."""
    return hasattr(cls, "__members__") and cls.__module__.startswith("tensorrt_bindings")


def qualified(cls: type) -> str:
    """Return the name with that of the enclosing class."""
    return cls.__qualname__


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(stubs()), encoding="utf-8")
