"""Where a dome says that it looks: ONVIF PTZ status, asked by a thread of its own, twice a second.

The client is `onvif-zeep-async`, which comes with the extra `dome` and only then. The password is sent as a
WS-Security digest, to the configured host alone, whatever address the camera gives for its services. Loading
the service descriptions costs about a second of CPU, once a process.

A camera need not say whether it moves: then it moves if its position changed since it was last asked. What
it tells is passed on when it changed, and every `TELL_S` so that whoever listens knows that it still holds.
"""

import asyncio
import contextlib
import logging
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Literal
from urllib.parse import urlsplit

from events.clock import Clock
from events.errors import AuthError, ConfigError, SourceError
from ingest.backoff import Backoff, failure_of
from ingest.credentials import Credentials, mask
from ingest.views import PtzPosition

log = logging.getLogger(__name__)

TELL_S = 3.0
"""How often a position that does not change is told."""
MOVES = 0.002
"""Change of pan, tilt or zoom between two answers by which a camera that does not say so moves."""
TIMEOUT_S = 5.0
"""For one answer."""
CONNECT_S = 20.0
"""For all that is asked until the first position, and the service descriptions."""
STUCK_S = 300.0
"""Moving so long without a break is told: as long as a dome moves, nothing is counted."""
FAILS = 3
"""Answers missed in a row until it is told."""

OnHealth = Callable[[Literal["raised", "cleared"], str], None]


class Dome:
    """One connection to a camera's PTZ service. Used within one event loop."""

    def __init__(self, url: str, credentials: Credentials | None) -> None:
        """
        Raises:
            ConfigError: not an ONVIF address, or the client is not installed.
        """
        self.name = mask(url)
        self._host, self._port = address(url)
        self._credentials = credentials
        self._client = _client()
        self._camera: Any = None
        self._ptz: Any = None
        self._profile = ""
        self._last: PtzPosition | None = None

    async def position(self) -> PtzPosition:
        """Where it looks now.

        Raises:
            AuthError: it refuses the credentials.
            SourceError: it does not answer, or has no PTZ service.
        """
        try:
            if self._ptz is None:
                await asyncio.wait_for(self._connect(), CONNECT_S)
            status = await asyncio.wait_for(self._ptz.GetStatus({"ProfileToken": self._profile}), TIMEOUT_S)
        except SourceError:
            await self.close()
            raise
        except Exception as e:  # noqa: BLE001  zeep, lxml and aiohttp each have errors of their own
            if self._ptz is None:
                await self.close()
            raise self._explained(e) from None
        self._last = self._read(status)
        return self._last

    async def close(self) -> None:
        """End the connection. May be called twice."""
        camera, self._camera, self._ptz, self._last = self._camera, None, None, None
        if camera is not None:
            with contextlib.suppress(Exception):
                await camera.close()

    async def _connect(self) -> None:
        login = self._credentials
        self._camera = self._client.ONVIFCamera(
            self._host,
            self._port,
            login.user if login else "",
            login.password if login else "",
            no_cache=True,  # its cache is a file in the user's home
            adjust_time=True,  # a camera whose clock is off would refuse the digest
            nat_override=True,  # what it says of its own address does not lead elsewhere
        )
        await self._camera.update_xaddrs()
        media = await self._camera.create_media_service()
        profiles = await media.GetProfiles()
        tokens = [p.token for p in profiles or () if getattr(p, "PTZConfiguration", None) is not None]
        if not tokens:
            raise SourceError(f"{self.name} has no profile with PTZ; leave out onvif, or set the camera up")
        self._profile = str(tokens[0])
        self._ptz = await self._camera.create_ptz_service()

    def _read(self, status: Any) -> PtzPosition:
        try:
            place, last = status.Position, self._last
            pan, tilt = float(place.PanTilt.x), float(place.PanTilt.y)
            zoom = float(place.Zoom.x) if place.Zoom is not None else 0.0
        except (AttributeError, TypeError, ValueError):
            raise SourceError(f"{self.name} does not tell its position; leave out onvif") from None
        said = status.MoveStatus
        parts = [str(getattr(said, part, None)) for part in ("PanTilt", "Zoom")] if said is not None else []
        if "MOVING" in parts:
            moving = True
        elif "IDLE" in parts or last is None:
            moving = False
        else:
            moving = max(abs(pan - last.pan), abs(tilt - last.tilt), abs(zoom - last.zoom)) > MOVES
        return PtzPosition(pan=pan, tilt=tilt, zoom=zoom, moving=moving)

    def _explained(self, error: Exception) -> SourceError:
        """The error of our tree; nothing of what the client says but the kind of error is shown."""
        text = f"{type(error).__name__} {error}".lower()
        if any(word in text for word in ("notauthorized", "not authorized", "unauthorized", "401", "403")):
            return AuthError(f"{self.name} refuses the credentials; check the ONVIF user in the camera")
        if isinstance(error, TimeoutError):
            return SourceError(f"{self.name} does not answer within {TIMEOUT_S:g} s; check address and port")
        if isinstance(error, OSError):
            return SourceError(f"{self.name} cannot be reached; check address, port and network")
        kind = type(error).__name__
        return SourceError(f"{self.name} gives no usable answer ({kind}); check that ONVIF is switched on")


def ask(url: str, credentials: Credentials | None) -> PtzPosition:
    """Where the camera looks now, asked once.

    Raises:
        ConfigError: not an ONVIF address, or the client is not installed.
        SourceError: it does not answer, or refuses the credentials (AuthError).
    """

    async def once() -> PtzPosition:
        dome = Dome(url, credentials)
        try:
            return await dome.position()
        finally:
            await dome.close()

    return asyncio.run(once())


class PtzPoller:
    """Asks a camera where it looks, in a thread of its own from `start` to `stop`."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None,
        clock: Clock,
        on_position: Callable[[PtzPosition], None],
        every_s: float = 0.5,
        on_health: OnHealth | None = None,
    ) -> None:
        """`on_position` and `on_health` are called from the poller's thread and must not wait.

        Raises:
            ConfigError: not an ONVIF address, or the client is not installed.
        """
        self._dome = Dome(url, credentials)
        self._clock = clock
        self._on_position = on_position
        self._on_health = on_health or _silent
        self._every_s = every_s
        self._backoff = Backoff(seed=self._dome.name)
        self._fails = 0
        self._down = False
        self._up_since: float | None = None
        self._told: PtzPosition | None = None
        self._told_at = 0.0
        self._moving_since: float | None = None
        self._stuck = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"ptz {self._dome.name}", daemon=True)

    def __repr__(self) -> str:
        return f"the asking of {self._dome.name}"

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; returns at once. May be called twice, and before `start`."""
        self._stopped.set()
        with self._lock:
            if self._loop is not None and self._stopping is not None:
                self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self, timeout_s: float = 10.0) -> None:
        """Wait until it ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """The thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        asyncio.run(self._ask_on())

    async def _ask_on(self) -> None:
        stopping = asyncio.Event()
        with self._lock:
            self._loop, self._stopping = asyncio.get_running_loop(), stopping
        try:
            while not self._stopped.is_set():
                wait_s = self._every_s
                try:
                    position = await _unless(stopping, self._dome.position())
                    if position is not None:
                        self._tell(position)
                except SourceError as e:
                    wait_s = await self._failed(e)
                except Exception as e:  # noqa: BLE001 - a fault of ours: else the thread ends, and nobody asks
                    # Without the message: it may carry what was asked with.
                    where = "".join(traceback.format_tb(e.__traceback__))
                    log.error("%s: %s\n%s", self._dome.name, type(e).__name__, where)
                    fault = f"asking {self._dome.name} failed ({type(e).__name__}); see the log"
                    wait_s = await self._failed(SourceError(fault), at_once=True)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), wait_s)
        finally:
            await self._dome.close()
            with self._lock:
                self._loop = self._stopping = None

    def _tell(self, position: PtzPosition) -> None:
        now = self._clock.monotonic()
        self._fails = 0
        if self._up_since is None:
            self._up_since = now
        if position != self._told or now - self._told_at >= TELL_S:
            self._on_position(position)
            self._told, self._told_at = position, now
        if self._down:
            self._down = False
            self._on_health("cleared", f"{self._dome.name} tells its position again")
        self._watch_rest(position, now)

    def _watch_rest(self, position: PtzPosition, now: float) -> None:
        if not position.moving:
            self._moving_since = None
            if self._stuck:
                self._stuck = False
                self._on_health("cleared", f"{self._dome.name} rests again")
        elif self._moving_since is None:
            self._moving_since = now
        elif not self._stuck and now - self._moving_since >= STUCK_S:
            self._stuck = True
            self._on_health(
                "raised",
                f"{self._dome.name} says for {STUCK_S / 60:g} minutes that it moves, and meanwhile nothing "
                "is counted; end its tour, or, if it rests, update its firmware or leave out onvif",
            )

    async def _failed(self, error: SourceError, at_once: bool = False) -> float:
        """Seconds until it is asked again. `at_once`: it is told though it is the first time."""
        log.info("%s", error)
        self._fails += 1
        grave = at_once or self._fails >= FAILS or isinstance(error, AuthError)
        if not self._down and grave:
            self._down = True
            self._moving_since, self._stuck = None, False  # nobody knows, and what was raised is replaced
            self._on_health("raised", f"{error}; until then presets are recognised by the picture alone")
        if not grave:
            return self._every_s
        await self._dome.close()
        up_s = 0.0 if self._up_since is None else self._clock.monotonic() - self._up_since
        self._up_since = None
        self._backoff = self._backoff.failed(failure_of(error), up_s)
        return self._backoff.delay_s


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, PtzPosition]) -> PtzPosition | None:
    """The work's result, or None if it was to stop before that."""
    task, stop = asyncio.ensure_future(work), asyncio.ensure_future(stopping.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        return task.result()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, SourceError):
        await task
    return None


def _silent(_: str, __: str) -> None:
    pass


def address(url: str) -> tuple[str, int]:
    """Host and port of `http://host[:port]/onvif/device_service`.

    Raises:
        ConfigError: it is not one, or has a login.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        host, port = "", 0
    path = "/onvif/device_service"
    if not host or parts.scheme != "http" or parts.path.rstrip("/") not in ("", path) or parts.username:
        raise ConfigError(f"onvif = {mask(url)!r} must be http://host[:port]{path}, without a login")
    return host, port


def _client() -> Any:
    try:
        import onvif
    except ImportError:
        raise ConfigError(
            'a camera has onvif set, which needs the extra "dome": pip install "linli[dome]"'
        ) from None
    return onvif
