"""Offering a service: `@service("hms.ach.transaction")` on a class, `@method` on what may be called."""

from __future__ import annotations

import inspect
import typing
from typing import Any, AsyncIterable, AsyncIterator, Callable, Dict, Iterable, Iterator, List, Optional, Type, TypeVar

from .call_context import CallContext, current_call, outgoing_metadata
from .contract import Contract, pascal, service_name, snake
from .errors import FieldViolation, ValidationError
from .method_codecs import ContractSource, read_contract
from .server import ServiceServer, serve
from .service_definition import MethodDefinition, ServiceDefinition
from .type_hints import converted, empty, object_schema, schema_of

__all__ = ["CallContext", "ServiceServer", "current_call", "method", "outgoing_metadata", "serve", "service"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__hms_method__"
_WHOLE = ("request", "requests")
_STREAMS = (Iterable, Iterator, AsyncIterable, AsyncIterator)


class _Marked:
    def __init__(self, name: Optional[str], stream: bool, client_stream: bool, repeatable: bool) -> None:
        self.name = name
        self.stream = stream
        self.client_stream = client_stream
        self.repeatable = repeatable


@typing.overload
def method(function: F) -> F: ...


@typing.overload
def method(
    *, name: Optional[str] = ..., stream: bool = ..., client_stream: bool = ..., repeatable: bool = ...
) -> Callable[[F], F]: ...


def method(
    function: Optional[F] = None,
    *,
    name: Optional[str] = None,
    stream: bool = False,
    client_stream: bool = False,
    repeatable: bool = False,
) -> Any:
    """Makes a function callable; its name in the contract is PascalCase. `stream`: it is a generator of answers;
    `client_stream`: its only parameter iterates over requests. Where a contract is given, it says which.
    `repeatable`: a second call does no harm, so callers may repeat it when it is unclear whether it was served."""

    def mark(marked: F) -> F:
        setattr(marked, _MARK, _Marked(name, stream, client_stream, repeatable))
        return marked

    return mark if function is None else mark(function)


def service(
    service_id: str, *, version: str = "v1", name: Optional[str] = None, contract: ContractSource = None
) -> Callable[[Type[T]], Type[T]]:
    """Makes a class a service. Without a contract the methods are described by their type hints. Raises ValidationError
    if the contract and the class do not fit."""

    def make(kind: Type[T]) -> Type[T]:
        kind.__hms_service__ = (service_id, version, name, read_contract(contract))  # type: ignore[attr-defined]
        return kind

    return make


def definition_of(instance: Any) -> ServiceDefinition:
    """What an instance of a service class offers. Raises ValidationError."""
    described = getattr(instance, "__hms_service__", None)
    if described is None:
        raise ValidationError(f'{type(instance).__name__} is no service: put @service("its.id") above the class.')
    service_id, version, name, contract = described
    full = _full_name(service_id, version, name, contract)
    methods: Dict[str, MethodDefinition] = {}
    for attribute, function in inspect.getmembers(instance, callable):
        marked = _marked(type(instance), attribute, function)
        if marked is not None:
            made = _method(full, marked.name or pascal(attribute), function, marked, contract)
            methods[made.name] = made
    if contract is not None:
        missing = [each for each in contract.services[full] if each not in methods]
        if missing:
            raise ValidationError(
                f"{type(instance).__name__} lacks {', '.join(snake(each) for each in missing)}, which {full} has; "
                "write them with @method."
            )
    return ServiceDefinition(service_id, version, full, methods, contract)


def _marked(kind: type, attribute: str, function: Any) -> Optional[_Marked]:
    """The mark of a method, which those that override it inherit."""
    for each in (function, *(vars(base).get(attribute) for base in kind.__mro__)):
        found = getattr(each, _MARK, None)
        if isinstance(found, _Marked):
            return found
    return None


def _full_name(service_id: str, version: str, name: Optional[str], contract: Optional[Contract]) -> str:
    package = f"{service_id}.{version}"
    if name is not None:
        full = name if "." in name else f"{package}.{name}"
    elif contract is not None:
        inside = [each for each in contract.services if each.rsplit(".", 1)[0] == package]
        full = inside[0] if len(inside) == 1 else service_name(service_id, version)
    else:
        full = service_name(service_id, version)
    if contract is not None and full not in contract.services:
        raise ValidationError(f"The contract has no {full}; it has {', '.join(contract.services) or 'no services'}.")
    return full


def _method(
    service: str, name: str, function: Callable[..., Any], marked: _Marked, contract: Optional[Contract]
) -> MethodDefinition:
    info = contract.method(service, name) if contract is not None else None
    if contract is not None and info is None:
        raise ValidationError(f"{service} has no method {name}; it has {', '.join(contract.services[service])}.")
    client_streaming = info.client_streaming if info is not None else marked.client_stream
    server_streaming = info.server_streaming if info is not None else marked.stream
    parameters = _Parameters(function, client_streaming)
    return MethodDefinition(
        service=service,
        name=name,
        function=function,
        arguments=parameters.arguments,
        client_streaming=client_streaming,
        server_streaming=server_streaming,
        repeatable=info.repeatable if info is not None else marked.repeatable,
        description=inspect.getdoc(function) or "",
        contract=contract,
        info=info,
        input_schema=None if info is not None or parameters.whole else parameters.schema(),
        output_schema=None if info is not None else parameters.output_schema(server_streaming),
    )


class _Parameters:
    """How a request becomes the arguments of a handler."""

    def __init__(self, function: Callable[..., Any], client_streaming: bool) -> None:
        try:
            hints = typing.get_type_hints(function)
        except (NameError, TypeError):
            hints = {}
        self._hints = hints
        listed: List[inspect.Parameter] = list(inspect.signature(function).parameters.values())
        self._context = next((each.name for each in listed if _is_context(each, hints)), None)
        self._listed = [each for each in listed if each.name != self._context]
        only = self._listed[0] if len(self._listed) == 1 else None
        self._only = only
        #: Whether the handler gets the request as it is.
        self.whole = client_streaming or (
            only is not None and (only.name in _WHOLE or _is_message(hints.get(only.name)))
        )

    def arguments(self, request: Any, context: CallContext) -> Dict[str, Any]:
        """The arguments for a request. Raises ValidationError with every problem."""
        given: Dict[str, Any] = {} if self._context is None else {self._context: context}
        if self.whole:
            if self._only is not None:
                given[self._only.name] = request
            return given
        problems: List[FieldViolation] = []
        left = {snake(name): value for name, value in request.items()} if isinstance(request, dict) else {}
        for each in self._listed:
            if each.kind is inspect.Parameter.VAR_KEYWORD:
                given.update(left)
                left = {}
            elif each.name in left:
                given[each.name] = self._convert(each.name, left.pop(each.name), problems)
            elif each.default is inspect.Parameter.empty and empty(self._hints.get(each.name)) is not None:
                given[each.name] = self._convert(each.name, empty(self._hints[each.name]), problems)
            elif each.default is inspect.Parameter.empty:
                problems.append(FieldViolation(each.name, "is missing"))
        problems.extend(
            FieldViolation(name, "is not known here") for name in left if left[name] not in (None, "", 0, [], {})
        )
        if problems:
            listed = "; ".join(f"{each.field} {each.description}" for each in problems)
            raise ValidationError(f"The request does not fit: {listed}.", violations=problems)
        return given

    def _convert(self, name: str, value: Any, problems: List[FieldViolation]) -> Any:
        try:
            return converted(self._hints.get(name, Any), value)
        except (KeyError, TypeError, ValueError) as error:
            problems.append(FieldViolation(name, f"is wrong: {error}"))
            return None

    def schema(self) -> Optional[Dict[str, Any]]:
        """The schema of the request."""
        named = [each for each in self._listed if each.kind is not inspect.Parameter.VAR_KEYWORD]
        if len(named) != len(self._listed):
            return None
        return object_schema(
            {each.name: (self._hints.get(each.name, Any), each.default is inspect.Parameter.empty) for each in named}
        )

    def output_schema(self, streams: bool) -> Optional[Dict[str, Any]]:
        """The schema of an answer; None if the hint promises no object."""
        hint = self._hints.get("return")
        if streams and hint is not None:
            args = typing.get_args(hint)
            hint = args[0] if args else None
        found = schema_of(hint) if hint is not None else {}
        return found if found.get("type") == "object" else None


def _is_context(parameter: inspect.Parameter, hints: Dict[str, Any]) -> bool:
    return parameter.name == "context" or hints.get(parameter.name) is CallContext


def _is_message(hint: Any) -> bool:
    from .protobuf_messages import is_message_class

    return hint is not None and is_message_class(hint)
