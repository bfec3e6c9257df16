"""YAML in which a key given twice is an error, and so is nesting without end."""

from collections.abc import Hashable
from typing import Any

import yaml


class DistinctKeysLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys: a joint would vanish without a word."""

    def get_single_data(self) -> Any:
        """As SafeLoader, but what is nested too deeply to be read is not valid YAML either."""
        try:
            return super().get_single_data()
        except RecursionError:
            raise yaml.YAMLError("it is nested too deeply") from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As SafeLoader, but a repeated key raises ConstructorError with its line."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
