"""The conformance peer of this SDK (sdks/conformance/README.md): commands on stdin, answers on stdout."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict

SDK = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SDK))

from client_role import AsyncClientRole, BlockingClientRole  # noqa: E402
from platform_role import PlatformRole  # noqa: E402
from server_role import ServerRole  # noqa: E402

from hms_ffi.contract import Contract  # noqa: E402

_writing = threading.Lock()


def _say(answer: Dict[str, Any]) -> None:
    line = json.dumps(answer, ensure_ascii=True)
    with _writing:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _hello(_: Dict[str, Any]) -> Dict[str, Any]:
    return {"language": "python", "version": platform.python_version()}


def main() -> None:
    contract = Contract((SDK.parent / "conformance" / "contract.binpb").read_bytes())
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = ServerRole(contract, loop)
    # The same scenarios with the blocking and the asyncio client.
    kind = AsyncClientRole if os.environ.get("HMS_CONFORMANCE_ASYNC") else BlockingClientRole
    client = kind(contract, loop)
    commands: Dict[str, Callable[[Dict[str, Any]], Dict[str, Any]]] = {
        "hello": _hello,
        **server.commands,
        **client.commands,
        **PlatformRole(client).commands,
    }
    workers = ThreadPoolExecutor(64)

    def obey(order: Dict[str, Any]) -> None:
        try:
            _say({"id": order["id"], "result": commands[order["do"]](order)})
        except Exception as error:
            _say({"id": order["id"], "failure": f"{type(error).__name__}: {error}"})

    for line in sys.stdin:
        order = json.loads(line)
        # What changes the peer's own state is done at once, so that it holds for the next command.
        if order["do"] in client.at_once:
            obey(order)
        else:
            workers.submit(obey, order)
    os._exit(0)


if __name__ == "__main__":
    main()
