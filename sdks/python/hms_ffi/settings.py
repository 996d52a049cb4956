"""Settings: the environment's variables, over a file (seed of the format: docs in README.md)."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit


class ConfigurationError(ValueError):
    """Settings that cannot be used; says where they stand and what to write instead."""


@dataclass(frozen=True)
class Settings:
    """Where the platform is and how it is spoken to."""

    #: Path of the registry's socket, `HMS_FFI_SOCKET`; None: there is no registry.
    socket: Optional[str] = None
    #: Who we are to the registry, `HMS_FFI_TOKEN`.
    token: Optional[str] = None
    #: Where services make their sockets, `HMS_FFI_SERVICE_DIR`; None: tcp on loopback.
    service_dir: Optional[str] = None
    #: `HMS_ENVIRONMENT`; empty: the registry's default.
    environment: str = ""
    #: Seconds a lookup may be used without asking again; tickets end earlier.
    cache_ttl: float = 300.0
    #: Seconds after which a lookup is asked for again in the background.
    refresh_interval: float = 60.0
    #: Calls one service answers at once.
    max_concurrent_streams: int = 100


_LEAVES: Mapping[Tuple[str, ...], str] = {
    ("registry", "url"): "url",
    ("registry", "cache_ttl"): "cache_ttl",
    ("registry", "refresh_interval"): "refresh_interval",
    ("transport", "default"): "transport",
    ("transport", "in_process", "enabled"): "ignored",
    ("transport", "local_socket", "enabled"): "ignored",
    ("transport", "local_socket", "path"): "service_dir",
    ("transport", "grpc", "enabled"): "ignored",
    ("transport", "grpc", "max_concurrent_streams"): "max_concurrent_streams",
    ("security", "token_validation_endpoint"): "ignored",
    ("security", "required_claims"): "ignored",
    ("security", "permission_policy"): "permission_policy",
}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def load_settings(environ: Optional[Mapping[str, str]] = None) -> Settings:
    """Reads `HMS_FFI_CONFIG_PATH`, then the variables, which win. Raises ConfigurationError with all problems."""
    env = os.environ if environ is None else environ
    path = env.get("HMS_FFI_CONFIG_PATH")
    values = _from_file(path) if path else {}
    url = env.get("HMS_FFI_REGISTRY_URL") or values.pop("url", None)
    values.pop("url", None)
    if url and not env.get("HMS_FFI_SOCKET"):
        values["socket"] = _socket_of(url)
    for name, key in (
        ("HMS_FFI_SOCKET", "socket"),
        ("HMS_FFI_TOKEN", "token"),
        ("HMS_FFI_SERVICE_DIR", "service_dir"),
        ("HMS_ENVIRONMENT", "environment"),
    ):
        if env.get(name):
            values[key] = env[name]
    return Settings(**values)


def _socket_of(url: str) -> str:
    if url.startswith("unix:"):
        return url[len("unix:") :].replace("///", "/", 1)
    parts = urlsplit(url)
    if parts.scheme == "tcp" and parts.port:
        return url
    raise ConfigurationError(
        f'The registry\'s address "{url}" is none this SDK can speak to: it speaks frames over a socket. '
        'Write "unix:/path/to/kernel.sock", or set HMS_FFI_SOCKET.'
    )


def _from_file(path: str) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise ConfigurationError(
            f"HMS_FFI_CONFIG_PATH names {path}, which cannot be read: {error.strerror}."
        ) from error
    tree = _json(path, text) if path.endswith(".json") else read_yaml(text, path)
    root = tree.get("ffi", tree) if isinstance(tree, dict) else None
    if not isinstance(root, dict):
        raise ConfigurationError(f'{path}: a mapping "ffi:" is needed at the top.')
    problems: List[str] = []
    values: Dict[str, Any] = {}
    _collect(root, (), values, problems)
    if problems:
        raise ConfigurationError(f"{path}: " + " ".join(problems))
    return values


def _json(path: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON: {error}.") from error


def _collect(node: Dict[str, Any], path: Tuple[str, ...], values: Dict[str, Any], problems: List[str]) -> None:
    for name, value in node.items():
        here = (*path, name)
        meaning = _LEAVES.get(here)
        if meaning is None and isinstance(value, dict) and any(leaf[: len(here)] == here for leaf in _LEAVES):
            _collect(value, here, values, problems)
        elif meaning is None:
            known = sorted({leaf[len(path)] for leaf in _LEAVES if leaf[: len(path)] == path})
            problems.append(f'"{".".join(here)}" is unknown; here may stand {", ".join(known)}.')
        elif meaning != "ignored":
            _leaf(".".join(here), meaning, value, values, problems)


def _leaf(name: str, meaning: str, value: Any, values: Dict[str, Any], problems: List[str]) -> None:
    text = str(value)
    if meaning in ("cache_ttl", "refresh_interval"):
        found = _DURATION.fullmatch(text)
        if found:
            values[meaning] = float(found.group(1)) * _UNITS[found.group(2)]
        else:
            problems.append(f'"{name}" is "{text}"; write a span of time like 60s.')
    elif meaning == "max_concurrent_streams":
        if text.isdigit() and int(text) > 0:
            values[meaning] = int(text)
        else:
            problems.append(f'"{name}" is "{text}"; write a number above 0.')
    elif meaning == "permission_policy":
        if text != "strict":
            problems.append(f'"{name}" is "{text}"; the platform knows "strict" only: what no policy allows is denied.')
    elif meaning == "transport":
        if text not in ("auto", "local_socket", "grpc"):
            problems.append(f'"{name}" is "{text}"; write auto or local_socket.')
    else:
        values[meaning] = text


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
