"""What calls are made over: a connection of frames, or HTTP requests that are used like one."""

from __future__ import annotations

from typing import Union

from .async_connection import AsyncConnection
from .blocking_connection import BlockingConnection
from .http_connection import AsyncHttpConnection, HttpConnection

#: For threads.
AnyBlockingConnection = Union[BlockingConnection, HttpConnection]
#: For one event loop.
AnyAsyncConnection = Union[AsyncConnection, AsyncHttpConnection]
