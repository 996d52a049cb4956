"""The formats that `buf.validate` has names for: what is a host name, an address, a URI."""

from __future__ import annotations

import re
from typing import Final, Optional, Tuple
from urllib.parse import unquote_to_bytes

_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
#: As the HTML standard has it for input elements.
_EMAIL: Final = re.compile(rf"[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})*")
_HOST_LABEL: Final = re.compile("[a-zA-Z0-9-]{1,63}")
_OCTET: Final = re.compile("0|[1-9][0-9]{0,2}")
_LONGEST_ADDRESS: Final = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
_PIECE: Final = re.compile("[0-9a-fA-F]{1,4}")
_PREFIX_LENGTH: Final = re.compile("0|[1-9][0-9]{0,2}")
_PORT: Final = re.compile("0|[1-9][0-9]{0,4}")

# RFC 3986, appendix A; zone ids by RFC 6874.
_UNRESERVED = r"a-zA-Z0-9\-._~"
_SUB_DELIMS = "!$&'()*+,;="


def _made_of(characters: str) -> re.Pattern[str]:
    """Of these characters and escapes; written so that Python never has to go back."""
    return re.compile(f"[{characters}]*(?:%[0-9a-fA-F]{{2}}[{characters}]*)*")


_SCHEME: Final = re.compile("[a-zA-Z][a-zA-Z0-9+.-]*:")
_USER: Final = _made_of(f"{_UNRESERVED}{_SUB_DELIMS}:")
_NAME: Final = _made_of(f"{_UNRESERVED}{_SUB_DELIMS}")
_PATH: Final = _made_of(f"{_UNRESERVED}{_SUB_DELIMS}:@/")
_QUERY: Final = _made_of(f"{_UNRESERVED}{_SUB_DELIMS}:@/?")
_ZONE: Final = _made_of(_UNRESERVED)
_END_OF_SEGMENT: Final = re.compile("[/?#]")
_FUTURE: Final = re.compile(rf"v[0-9a-fA-F]+\.[{_UNRESERVED}{_SUB_DELIMS}:]+")


def is_email(text: str) -> bool:
    """An address as browsers take it."""
    return _EMAIL.fullmatch(text) is not None


def is_hostname(text: str) -> bool:
    """A name of at most 253 characters; one dot may follow."""
    if len(text) > 253:
        return False
    labels = text[: -1 if text.endswith(".") else None].split(".")
    for each in labels:
        if not _HOST_LABEL.fullmatch(each) or each.startswith("-") or each.endswith("-"):
            return False
    return not labels[-1].isdigit()


def ipv4(text: str) -> Optional[int]:
    """The number of a dotted address."""
    octets = text.split(".", 4)
    if len(octets) != 4 or not all(_OCTET.fullmatch(each) and int(each) < 256 for each in octets):
        return None
    return int.from_bytes(bytes(int(each) for each in octets), "big")


def ipv6(text: str) -> Optional[int]:
    """The number of an address; its zone is not part of it."""
    text, percent, zone = text.partition("%")
    if len(text) > _LONGEST_ADDRESS:
        return None
    head, colon, last = text.rpartition(":")
    if "." in last:
        dotted = ipv4(last)
        if dotted is None or percent:
            return None
        text = f"{head}{colon}{dotted >> 16:x}:{dotted & 0xFFFF:x}"
    if (percent and not zone) or text.count("::") > 1 or ":::" in text:
        return None
    before, gap, after = text.partition("::")
    left, right = [part.split(":") if part else [] for part in (before, after)]
    pieces = left + right
    if not all(_PIECE.fullmatch(each) for each in pieces) or (len(pieces) > 7 if gap else len(pieces) != 8):
        return None
    whole = left + ["0"] * (8 - len(pieces)) + right
    return int("".join(each.rjust(4, "0") for each in whole), 16)


def is_ip(text: str, version: int = 0) -> bool:
    """An address of either version, or of the one given."""
    return (version != 6 and ipv4(text) is not None) or (version != 4 and ipv6(text) is not None)


def is_ip_prefix(text: str, version: int = 0, *, strict: bool = False) -> bool:
    """An address with the length of its network; strictly, with nothing beyond the network."""
    address, slash, length = text.partition("/")
    if not slash or "%" in address or not _PREFIX_LENGTH.fullmatch(length):
        return False
    kinds: Tuple[Tuple[int, Optional[int], int], ...] = ((4, ipv4(address), 32), (6, ipv6(address), 128))
    for number, value, bits in kinds:
        if value is not None and version in (0, number) and int(length) <= bits:
            return not strict or value & ((1 << (bits - int(length))) - 1) == 0
    return False


def is_host_and_port(text: str) -> bool:
    """A host name or address, an IPv6 address in brackets, and a port."""
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        return False
    if host.startswith("["):
        return host.endswith("]") and is_ip(host[1:-1], 6)
    return is_hostname(host) or is_ip(host, 4)


def is_uri(text: str) -> bool:
    """A URI with its scheme."""
    scheme = _SCHEME.match(text)
    return scheme is not None and _is_rest(text[scheme.end() :])


def is_uri_reference(text: str) -> bool:
    """A URI, or one that is relative to another."""
    # Its first segment must not be taken for a scheme.
    first = _END_OF_SEGMENT.split(text, maxsplit=1)[0]
    return is_uri(text) or (":" not in first and _is_rest(text))


def _is_rest(text: str) -> bool:
    """Whether this is all but the scheme of a URI."""
    text, _, fragment = text.partition("#")
    text, _, query = text.partition("?")
    if not _QUERY.fullmatch(fragment) or not _QUERY.fullmatch(query):
        return False
    if not text.startswith("//"):
        return _PATH.fullmatch(text) is not None
    authority, slash, after = text[2:].partition("/")
    return _is_authority(authority) and _PATH.fullmatch(slash + after) is not None


def _is_authority(text: str) -> bool:
    user, at, rest = text.rpartition("@")
    if at and not _USER.fullmatch(user):
        return False
    host, bracket, port = rest.partition("]") if rest.startswith("[") else rest.partition(":")
    if bracket == "]":
        colon, port = port[:1], port[1:]
        if not _is_literal(host[1:]) or colon not in ("", ":"):
            return False
    elif not _NAME.fullmatch(host) or rest.startswith("["):
        return False
    if port and not (port.isascii() and port.isdigit()):
        return False
    try:
        if "%" in host:
            unquote_to_bytes(host).decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_literal(text: str) -> bool:
    if _FUTURE.fullmatch(text):
        return True
    address, zone, name = text.partition("%25")
    if not re.fullmatch("[0-9a-fA-F:]*", address) or ipv6(address) is None:
        return False
    return not zone or (name != "" and _ZONE.fullmatch(name) is not None)
