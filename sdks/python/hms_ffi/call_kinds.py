"""What kinds of calls there are, and how one is made."""

from __future__ import annotations

from typing import Any, AsyncIterable, AsyncIterator, Callable, Dict, Iterable, NamedTuple, Optional, Union

from .codecs import MethodCodecs

#: Told what a service says beside its answer.
OnMetadata = Callable[[Dict[str, str]], object]


class Terms(NamedTuple):
    """How one call is made."""

    codecs: MethodCodecs
    metadata: Dict[str, str]
    deadline: Optional[float]
    repeatable: bool
    on_metadata: Optional[OnMetadata] = None


class Kind(NamedTuple):
    """Whether the client sends more than one message, and whether it gets one answer only."""

    sends: bool
    single: bool


UNARY = Kind(sends=False, single=True)
READ = Kind(sends=False, single=False)


def kind_of(codecs: MethodCodecs, request: Any) -> Kind:
    """What a call by hand is: as the contract says, without one as the request lets guess."""
    info = codecs.info
    if info is None:
        return Kind(sends=request is None, single=False)
    return Kind(sends=info.client_streaming, single=not info.server_streaming)


async def each_of(source: Union[Iterable[Any], AsyncIterable[Any]]) -> AsyncIterator[Any]:
    """Requests from either kind of iterable."""
    if isinstance(source, AsyncIterable):
        async for each in source:
            yield each
    else:
        for each in source:
            yield each
