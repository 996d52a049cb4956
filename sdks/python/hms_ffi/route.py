"""Where a client's calls go, and with which credentials."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Callable, List, Optional, Sequence

from .contract import Contract
from .directory import Directory, Instance
from .errors import ServiceError, UnavailableError
from .instance_breaker import Breakers, InstanceBreaker
from .registry import registry_address
from .retries import Attempts
from .settings import Settings

_LOOKUP_SECONDS = 10.0

#: How many calls run to an address.
Running = Callable[[str], int]


class Route:
    """The instances of one service version: one given address, or what the registry says."""

    def __init__(
        self,
        service_id: str,
        version: str,
        *,
        address: Optional[str],
        environment: str,
        credentials: Optional[str],
        settings: Settings,
    ) -> None:
        self._service_id = service_id
        self._version = version
        self._environment = environment
        self._settings = settings
        self._credentials = credentials
        self._breakers = Breakers()
        self._fixed = Instance(address, credentials) if address is not None else None
        self._directory = Directory(settings, environment) if address is None else None

    def target(self, deadline: Optional[float], running: Running, tried: Sequence[str] = ()) -> Instance:
        """The instance for one call that has failed at `tried`. Raises ResourceNotFoundError, UnavailableError."""
        if self._fixed is not None:
            return self._fixed
        return self._chosen(self._find(deadline), running, tried)

    async def target_async(self, deadline: Optional[float], running: Running, tried: Sequence[str] = ()) -> Instance:
        """As `target`, with asyncio. Raises ResourceNotFoundError, UnavailableError."""
        if self._fixed is not None or self._directory is None:
            return self.target(deadline, running, tried)
        found = self._directory.cached(self._service_id, self._version)
        if found is None:
            found = await asyncio.get_running_loop().run_in_executor(None, self._find, deadline)
        return self._chosen(found, running, tried)

    def _find(self, deadline: Optional[float]) -> List[Instance]:
        assert self._directory is not None
        return self._directory.find(self._service_id, self._version, time_left(deadline, _LOOKUP_SECONDS))

    def contract(self, deadline: Optional[float]) -> Optional[Contract]:
        """What the registry has as the service's contract; None if it has none. Raises ServiceError."""
        if self._directory is None:
            return None
        self._find(deadline)
        return self._directory.contract(self._service_id, self._version)

    def failed(self, error: ServiceError, target: Optional[Instance] = None) -> None:
        """A call has failed: a ticket that has ended is renewed, and the registry asked where an instance has gone."""
        if self._directory is None:
            return
        if Attempts.ticket_is_over(error):
            self._directory.forget(self._service_id, self._version)
        elif target is not None and isinstance(error, UnavailableError):
            self._directory.doubt(self._service_id, self._version)

    def breaker(self, target: Instance) -> InstanceBreaker:
        """What is told of each call to an instance, and keeps calls away from one that fails."""
        return self._breakers.of(target.address)

    def _chosen(self, instances: List[Instance], running: Running, tried: Sequence[str]) -> Instance:
        if instances:
            return self._credited(_pick(self._breakers.let_through(instances, tried), running))
        # What has only addresses that this SDK does not speak ("grpc://"), the platform calls.
        platform = self._platform()
        if platform is not None:
            return platform
        raise UnavailableError(
            f"No instance of {self._service_id} {self._version} can be called from here now.", reason="NOT_CONNECTED"
        )

    def _platform(self) -> Optional[Instance]:
        """The platform, which decides by itself and calls the service; None if there is none."""
        token, socket = self._settings.token, self._settings.socket
        if not socket:
            return None
        credentials = self._credentials or (f"Bearer {token}" if token else None)
        return Instance(registry_address(socket), credentials, self._environment or None)

    def _credited(self, target: Instance) -> Instance:
        if self._credentials is not None:
            return target._replace(ticket=self._credentials)
        if target.ticket:
            return target._replace(ticket=f"Ticket {target.ticket}")
        # The platform's own services share the registry's socket and know its token; nobody else may see it.
        token, socket = self._settings.token, self._settings.socket
        bearer = f"Bearer {token}" if token else None
        if socket and target.address in (socket, f"unix:{socket}"):
            return target._replace(ticket=bearer)
        # Whom the registry gives no ticket, the platform tells why; or it passes the call on.
        return self._platform() or target._replace(ticket=None)

    def close(self) -> None:
        """Asks the registry nothing more."""
        if self._directory is not None:
            self._directory.close()


def _pick(instances: List[Instance], running: Running) -> Instance:
    """The less busy of two taken at random (Mitzenmacher, The Power of Two Choices), among those of one share: which
    share that is, is drawn by how much it stands for."""
    if len(instances) == 1:
        return instances[0]
    alike = _alike([each for each in instances if each.share > 0] or instances)
    if len(alike) == 1:
        return alike[0]
    one, two = random.sample(alike, 2)
    return one if running(one.address) <= running(two.address) else two


def _alike(instances: List[Instance]) -> List[Instance]:
    share = instances[0].share
    if all(each.share == share for each in instances):
        return instances
    drawn = random.choices(instances, [each.share for each in instances])[0].share
    return [each for each in instances if each.share == drawn]


def time_left(deadline: Optional[float], most: float = 1e9) -> float:
    """Seconds until a deadline, at most so many."""
    return most if deadline is None else max(0.0, min(most, deadline - time.monotonic()))
