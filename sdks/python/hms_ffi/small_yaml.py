"""The subset of YAML in which this SDK is configured."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple


class ConfigurationError(ValueError):
    """Settings that cannot be used; says where they stand and what to write instead."""


_LINE = re.compile(r"(?P<indent> *)(?:(?P<item>- )?(?P<key>[A-Za-z_][\w-]*):(?: +(?P<value>.*))?|- (?P<scalar>.*))")


def read_yaml(text: str, path: str = "the text") -> Any:
    """Reads the subset of YAML that this configuration needs: mappings by indentation with spaces, lists of texts, one
    value a line, comments. Anything else is refused. Raises ConfigurationError with the line."""
    root: Dict[str, Any] = {}
    stack: List[Tuple[int, Any, Optional[Tuple[Dict[str, Any], str]]]] = [(-1, root, None)]
    for at, raw in enumerate(text.splitlines(), 1):
        line = _uncommented(raw).rstrip()
        if not line or line == "---":
            continue
        found = _LINE.fullmatch(line)
        if not found or found.group("item"):
            raise ConfigurationError(f'{path}, line {at}: only "key: value", "key:" and "- value" are read here.')
        indent = len(found.group("indent"))
        scalar = found.group("scalar")
        # A list may stand as deep as the key it belongs to.
        while stack[-1][0] >= indent and not (scalar is not None and stack[-1][0] == indent and stack[-1][2]):
            stack.pop()
        depth, holder, place = stack[-1]
        if scalar is not None:
            if place is None or (isinstance(holder, dict) and holder):
                raise ConfigurationError(f"{path}, line {at}: a list needs a key of its own above it.")
            if isinstance(holder, dict):
                holder = place[0][place[1]] = []
                stack[-1] = (depth, holder, place)
            holder.append(_scalar(scalar, path, at))
            continue
        if not isinstance(holder, dict):
            raise ConfigurationError(f"{path}, line {at}: a list and keys cannot be mixed.")
        key, value = found.group("key"), found.group("value")
        if key in holder:
            raise ConfigurationError(f'{path}, line {at}: "{key}" is given twice.')
        if value:
            holder[key] = _scalar(value, path, at)
        else:
            child: Dict[str, Any] = {}
            holder[key] = child
            stack.append((indent, child, (holder, key)))
    return root


def _uncommented(line: str) -> str:
    quote = ""
    for at, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "#" and (at == 0 or line[at - 1].isspace()):
            return line[:at]
    return line


def _scalar(text: str, path: str, at: int) -> Any:
    text = text.strip()
    if text[:1] in "\"'":
        if len(text) < 2 or text[-1] != text[0]:
            raise ConfigurationError(f"{path}, line {at}: the quotation mark is not closed.")
        return text[1:-1]
    if text[:1] in "[{&*!|>%@`":
        raise ConfigurationError(f'{path}, line {at}: "{text[:1]}" begins something that is not read here; quote it.')
    if text in ("true", "false"):
        return text == "true"
    return text
