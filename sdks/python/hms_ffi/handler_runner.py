"""Runs handlers: coroutines and async generators in the event loop, the others in threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Executor
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, NamedTuple, Sequence

from .call_context import enter_call
from .errors import InternalError
from .interceptors import AsyncInterceptor, CallRequest, chain
from .server_call import ServerCall
from .tracing import server_span

Send = Callable[[Any], Awaitable[bool]]


class Around(NamedTuple):
    """What handlers run in."""

    executor: Executor
    interceptors: Sequence[AsyncInterceptor]


async def answer_once(call: ServerCall, request: Any, around: Around) -> Any:
    """The one answer of a handler. Raises what it raises."""
    enter_call(call.context)
    with server_span(call.definition, call.context.metadata):
        if not around.interceptors:
            return await _answer_once(call, request, around.executor)
        return await _intercepted(call, request, around, lambda what: _answer_once(call, what.request, around.executor))


async def _intercepted(
    call: ServerCall, request: Any, around: Around, last: Callable[[CallRequest], Awaitable[Any]]
) -> Any:
    definition, context = call.definition, call.context
    asked = CallRequest(definition.service, definition.name, request, dict(context.metadata), context.remaining)
    return await chain(around.interceptors, last)(asked)


async def _answer_once(call: ServerCall, request: Any, executor: Executor) -> Any:
    function = call.definition.function
    arguments = call.definition.arguments(request, call.context)
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    answer = await _in_thread(call, executor, lambda: function(**arguments))
    if inspect.isawaitable(answer):
        return await answer
    return answer


async def answer_many(call: ServerCall, request: Any, around: Around, send: Send) -> None:
    """Sends each answer of a handler. Raises what it raises."""
    enter_call(call.context)
    with server_span(call.definition, call.context.metadata):
        if not around.interceptors:
            await _answer_many(call, request, around.executor, send)
            return
        await _intercepted(call, request, around, lambda what: _answer_many(call, what.request, around.executor, send))


async def _answer_many(call: ServerCall, request: Any, executor: Executor, send: Send) -> None:
    function = call.definition.function
    arguments = call.definition.arguments(request, call.context)
    if inspect.isasyncgenfunction(function):
        await _send_each(function(**arguments), send)
    elif inspect.iscoroutinefunction(function):
        await _send_each(await function(**arguments), send)
    else:
        await _in_thread(call, executor, lambda: _send_from_thread(call, function, arguments, send))


async def _send_each(answers: AsyncIterator[Any], send: Send) -> None:
    try:
        async for each in answers:
            if not await send(each):
                return
    finally:
        close = getattr(answers, "aclose", None)
        if close is not None:
            await close()


def _send_from_thread(call: ServerCall, function: Callable[..., Any], arguments: Dict[str, Any], send: Send) -> None:
    answers = function(**arguments)
    if not hasattr(answers, "__iter__"):
        raise InternalError(f"{call.definition.path} is a stream: its handler must be a generator.")
    try:
        for each in answers:
            sending = asyncio.run_coroutine_threadsafe(_sent(send, each), call.loop)
            try:
                if not sending.result():
                    return
            except FutureCancelledError:
                return
    finally:
        close = getattr(answers, "close", None)
        if close is not None:
            close()


async def _sent(send: Send, message: Any) -> bool:
    return await send(message)


async def _in_thread(call: ServerCall, executor: Executor, work: Callable[[], Any]) -> Any:
    context = contextvars.copy_context()
    running = call.loop.run_in_executor(executor, _shielded, context, work)
    try:
        kind, value = await asyncio.shield(running)
    except asyncio.CancelledError:
        # A thread cannot be interrupted: the call is over for its caller, and the handler's place stays taken until it
        # notices (context.cancelled).
        await _until_done(running)
        raise
    if kind == "raised":
        raise value
    return value


def _shielded(context: contextvars.Context, work: Callable[[], Any]) -> Any:
    # StopIteration cannot pass through a future.
    try:
        return "returned", context.run(work)
    except BaseException as error:
        return "raised", error


async def _until_done(running: asyncio.Future[Any]) -> None:
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            continue
