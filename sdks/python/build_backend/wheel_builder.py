"""Builds the package with the standard library alone, so that installing it needs no network (PEP 517, PEP 660)."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tarfile
import zipfile
from typing import Any, Dict, List, Optional

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGE = "hms_ffi"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_IN_SOURCE = ("pyproject.toml", "README.md", "build_backend", _PACKAGE)


def build_wheel(
    wheel_directory: str, config_settings: Optional[Dict[str, Any]] = None, metadata_directory: Optional[str] = None
) -> str:
    """Writes a wheel of the package and answers with its name."""
    return _wheel(wheel_directory, _sources(_PACKAGE))


def build_editable(
    wheel_directory: str, config_settings: Optional[Dict[str, Any]] = None, metadata_directory: Optional[str] = None
) -> str:
    """Writes a wheel that only says where the sources are."""
    return _wheel(wheel_directory, {f"{_PACKAGE}.pth": f"{_ROOT}\n".encode()})


def build_sdist(sdist_directory: str, config_settings: Optional[Dict[str, Any]] = None) -> str:
    """Writes an archive of the sources and answers with its name."""
    stem = f"{_PACKAGE}-{_fact('version')}"
    files = {name: data for part in _IN_SOURCE for name, data in _sources(part).items()}
    files["PKG-INFO"] = _metadata()
    with tarfile.open(os.path.join(sdist_directory, f"{stem}.tar.gz"), "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(f"{stem}/{name}")
            info.size = len(data)
            info.mode = 0o644
            archive.addfile(info, io.BytesIO(data))
    return f"{stem}.tar.gz"


def _wheel(directory: str, files: Dict[str, bytes]) -> str:
    stem = f"{_PACKAGE}-{_fact('version')}"
    info = f"{stem}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": _metadata(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: wheel_builder\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    records = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in content.items()]
    content[f"{info}/RECORD"] = ("\n".join([*records, f"{info}/RECORD,,"]) + "\n").encode()
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return name


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _sources(part: str) -> Dict[str, bytes]:
    """The files of a folder, or one file, by their paths from the root."""
    top = os.path.join(_ROOT, part)
    if os.path.isfile(top):
        return {part: _read(top)}
    found: List[str] = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        found.extend(os.path.join(folder, name) for name in sorted(names) if name.endswith((".py", ".typed")))
    return {os.path.relpath(path, _ROOT).replace(os.sep, "/"): _read(path) for path in found}


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _fact(name: str) -> str:
    """A text of `[project]`; Python before 3.11 has no reader of TOML. Raises ValueError."""
    project = _read(os.path.join(_ROOT, "pyproject.toml")).decode().split("[project]", 1)[1]
    found = re.search(rf'^{name} = "([^"]*)"$', project, re.MULTILINE)
    if found is None:
        raise ValueError(f"pyproject.toml has no {name}")
    return found.group(1)


def _metadata() -> bytes:
    head = [
        "Metadata-Version: 2.1",
        "Name: hms-ffi",
        f"Version: {_fact('version')}",
        f"Summary: {_fact('description')}",
        f"Requires-Python: {_fact('requires-python')}",
        "License: MIT",
        "Provides-Extra: protobuf",
        "Requires-Dist: protobuf>=4.25; extra == 'protobuf'",
        "Provides-Extra: validation",
        "Requires-Dist: protovalidate>=2; extra == 'validation'",
        "Description-Content-Type: text/markdown",
    ]
    return ("\n".join(head) + "\n\n").encode() + _read(os.path.join(_ROOT, "README.md"))
