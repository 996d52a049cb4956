"""Settings: the environment's variables, over a file (README.md has its form)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import warnings
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from .addresses import TRANSPORTS
from .small_yaml import ConfigurationError, read_yaml
from .tls import TlsIdentity


@dataclass(frozen=True)
class Settings:
    """Where the platform is and how it is spoken to."""

    #: Path of the registry's socket, `HMS_FFI_SOCKET`, or its URL; None: there is no registry.
    socket: Optional[str] = None
    #: Who we are to the registry, `HMS_FFI_TOKEN`.
    token: Optional[str] = None
    #: Where services make their sockets, `HMS_FFI_SERVICE_DIR`; default: the folder "services" beside the registry's
    #: socket; None: tcp on loopback.
    service_dir: Optional[str] = None
    #: `HMS_ENVIRONMENT`; empty: the registry's default.
    environment: str = ""
    #: `HMS_REPLICA`: which replica of a deployed service the program is; empty: none.
    replica: str = ""
    #: Seconds a lookup may be used without asking again; tickets end earlier.
    cache_ttl: float = 300.0
    #: Seconds after which a lookup is asked for again in the background.
    refresh_interval: float = 60.0
    #: Which way of calling is taken before nearer ones: one of TRANSPORTS; "auto": none.
    transport: str = "auto"
    #: Whether services are called over unix sockets; the platform passes calls on to those that have no other address.
    local_sockets: bool = True
    #: Calls one service answers at once.
    max_concurrent_streams: int = 100
    #: Who we are over TLS; None: tls addresses cannot be called or offered.
    tls: Optional[TlsIdentity] = None


_LEAVES: Mapping[Tuple[str, ...], str] = {
    ("registry", "url"): "url",
    ("registry", "cache_ttl"): "cache_ttl",
    ("registry", "refresh_interval"): "refresh_interval",
    ("transport", "default"): "transport",
    ("transport", "in_process", "enabled"): "in_process",
    ("transport", "local_socket", "enabled"): "local_socket",
    ("transport", "local_socket", "path"): "service_dir",
    ("transport", "grpc", "enabled"): "grpc",
    ("transport", "grpc", "max_concurrent_streams"): "max_concurrent_streams",
    ("transport", "tls", "certificate"): "tls_certificate",
    ("transport", "tls", "key"): "tls_key",
    ("transport", "tls", "authority"): "tls_authority",
    ("security", "token_validation_endpoint"): "platform",
    ("security", "required_claims"): "platform",
    ("security", "permission_policy"): "permission_policy",
}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def load_settings(environ: Optional[Mapping[str, str]] = None) -> Settings:
    """Reads `HMS_FFI_CONFIG_PATH`, then the variables, which win. Where nothing says where the registry is, it is that
    of this user's own installation on this machine. Raises ConfigurationError with all problems."""
    env = os.environ if environ is None else environ
    path = env.get("HMS_FFI_CONFIG_PATH")
    values = _from_file(path) if path else {}
    file_url = values.pop("url", None)
    url = env.get("HMS_FFI_REGISTRY_URL") or ("" if env.get("HMS_FFI_SOCKET") else file_url)
    for name, key in _VARIABLES:
        if env.get(name):
            values[key] = env[name]
    if url:
        values["socket"] = _socket_of(url)
    if "socket" not in values:
        values = {**_own_installation(env), **values}
    if "service_dir" not in values and "socket" in values:
        beside = os.path.join(os.path.dirname(values["socket"]), "services")
        if os.path.isdir(beside):
            values["service_dir"] = beside
    return Settings(**values)


_VARIABLES = (
    ("HMS_FFI_SOCKET", "socket"),
    ("HMS_FFI_TOKEN", "token"),
    ("HMS_FFI_SERVICE_DIR", "service_dir"),
    ("HMS_ENVIRONMENT", "environment"),
    ("HMS_REPLICA", "replica"),
)


def _own_installation(env: Mapping[str, str]) -> Dict[str, Any]:
    """The socket and token of the installation that this user has started, if there is one."""
    name = env.get("HMS_INSTANCE") or "default"
    home = env.get("HOME") or os.path.expanduser("~")
    state = env.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    config = env.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    data = env.get("HMS_DATA") or os.path.join(state, "hms-sys", name)
    path = os.path.join(data, "run", "kernel.sock")
    if not os.path.exists(path):
        return {}
    found: Dict[str, Any] = {"socket": path}
    services = os.path.join(data, "ffi", "services")
    if os.path.isdir(services):
        found["service_dir"] = services
    # Without the token it is another user's installation: its socket will say that we may not open it.
    with contextlib.suppress(OSError), open(os.path.join(config, "hms-sys", name, "operator.token")) as file:
        found["token"] = file.read().strip()
    return found


def _socket_of(url: str) -> str:
    if url.startswith("unix:"):
        return url[len("unix:") :].replace("///", "/", 1)
    parts = urlsplit(url)
    if parts.scheme in ("tcp", "tls") and parts.port:
        return url
    if parts.scheme in ("http", "https") and parts.hostname and not parts.path.strip("/") and not parts.query:
        return url.rstrip("/")
    raise ConfigurationError(
        f'The registry\'s address "{url}" is none this SDK can speak to. '
        'Write "unix:/path/to/kernel.sock" or "http://host:port", or set HMS_FFI_SOCKET.'
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
    _take_tls(values, problems)
    if problems:
        raise ConfigurationError(f"{path}: " + " ".join(problems))
    return values


_TLS = ("certificate", "key", "authority")


def _take_tls(values: Dict[str, Any], problems: List[str]) -> None:
    """Puts the three files of an identity together."""
    files = {name: values.pop(f"tls_{name}", None) for name in _TLS}
    missing = [name for name, file in files.items() if file is None]
    if not missing:
        values["tls"] = TlsIdentity(**files)
    elif len(missing) < len(_TLS):
        problems.append(f'"transport.tls" needs {", ".join(_TLS)}; {", ".join(missing)} is missing.')


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
        else:
            _leaf(".".join(here), meaning, value, values, problems)
            _warn(".".join(here), meaning, value)


class ConfigurationWarning(UserWarning):
    """A setting that has no effect here."""


_NO_EFFECT: Mapping[Tuple[str, str], str] = {
    ("platform", ""): "tokens and their claims are the platform's to check.",
    ("in_process", "true"): "this SDK calls nothing in-process; what is near is called over its unix socket.",
    ("transport", "in_process"): "services are processes; the nearest way is taken.",
    ("transport", "http"): "this SDK speaks HTTP to the platform only; the nearest way is taken.",
    ("grpc", "false"): "it is the platform that speaks gRPC, not this SDK.",
}


def _warn(name: str, meaning: str, value: Any) -> None:
    why = _NO_EFFECT.get((meaning, str(value).lower())) or _NO_EFFECT.get((meaning, ""))
    if why:
        warnings.warn(f"ffi.{name} has no effect: {why}", ConfigurationWarning, stacklevel=2)


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
        if text in TRANSPORTS:
            values[meaning] = text
        else:
            problems.append(f'"{name}" is "{text}"; write one of {", ".join(TRANSPORTS)}.')
    elif meaning in ("in_process", "local_socket", "grpc"):
        if text.lower() not in ("true", "false"):
            problems.append(f'"{name}" is "{text}"; write true or false.')
        elif meaning == "local_socket":
            values["local_sockets"] = text.lower() == "true"
    elif meaning in ("url", "service_dir", "tls_certificate", "tls_key", "tls_authority"):
        values[meaning] = text
