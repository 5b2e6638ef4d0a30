"""Who may see what: the line that no feature crosses.

Nobody may see anything until a grant in the site file says so:

    [privacy]
    pixelate = ["person"]            # pixelated in pictures, in clips, and by default in the live view

    [[privacy.grant]]
    who = "gate office"
    token_file = "secrets/gate"      # mode 600; or token_env = "LINLI_GATE_TOKEN"
    rights = ["alerts", "live"]

    [[privacy.grant]]
    who = "demo viewer"
    loopback = true                  # whoever sits at this machine, without a token: for the demo only
    rights = ["alerts", "judge", "live", "plain"]

Rights: `alerts` is the page, alerts, counts, health, pixelated pictures and clips. `live` is the live view:
its video shows people as the camera sees them, its stills are pixelated. `plain` is a picture or clip that is
not pixelated, one object at a time and for a stated purpose, and live stills that are not. `judge` is to say
whether an alert was true, false or not wanted: what is learned, and when it warns, follows that. `faces` is
the list of captured faces and their pixelated crops; with `plain` as well, to open a sealed original (that
takes a passphrase, too) and to delete a capture. `metrics` is /metrics for a scraper: how the box is doing,
without the figures that are about people (for those `alerts`). A bearer's token is never kept, only its
SHA-256, and compared in constant time.

Who works with the city's desk has a role and a jurisdiction (`city/rights.py`), beside rights or without:

    [[privacy.grant]]
    who = "Wang, grid 3"
    token_file = "secrets/wang"
    role = "grid worker"
    place = "370481001001-G03"       # a grid, a community (12 digits), a town (9), the city (6 or "*")
    org = "community-12"             # the organisation that it acts for, where its role asks for one
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from starlette.requests import HTTPConnection

from city.rights import OWN, Actor, Role
from events.clock import Clock
from events.errors import ConfigError

Right = Literal["alerts", "faces", "judge", "live", "metrics", "plain"]
MIN_TOKEN = 16
_PLACE = re.compile(r"\*|[0-9]{6}([0-9]{3}([0-9]{3}([A-Za-z0-9_-]{0,40}))?)?")
COOKIE = "linli_session"
SESSION_S = 12 * 3600.0
_MAX_SESSIONS = 1000
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[privacy.grant]]` of the site file."""

    who: str
    """Person or desk; it goes into the access log."""
    rights: tuple[Right, ...] = ()
    """alerts: page, counts, pixelated pictures. live: people as the camera sees them.
    plain: unpixelated, for a purpose. judge: say what an alert was.
    faces: pixelated crops of captured faces; with plain, open and delete them.
    metrics: how the box is doing, for a scraper; nothing about people."""
    loopback: bool = False
    """Whoever sits at this machine, without a token."""
    token_file: str = ""
    """File of mode 600 with the token, relative to the site file."""
    token_env: str = ""
    """Environment variable with the token."""
    role: Role | Literal[""] = ""
    """What it may do at the city's desk (`city/rights.py`); empty: nothing."""
    place: str = ""
    """For which division (6, 9 or 12 digits) or grid; `*`: the whole city."""
    org: str = ""
    """The organisation that it acts for: a handler's unit, a property company, a channel's id."""

    def __post_init__(self) -> None:
        ways = [self.loopback, bool(self.token_file), bool(self.token_env)]
        if sum(ways) != 1:
            raise ValueError(
                f"grant {self.who!r} needs exactly one of loopback = true, token_file and token_env"
            )
        if not self.who.strip():
            raise ValueError("a grant's `who` is empty; name the person or desk, it goes into the access log")
        if bool(self.role) != bool(self.place):
            raise ValueError(f"grant {self.who!r}: `role` and `place` go together")
        if self.place and not _PLACE.fullmatch(self.place):
            raise ValueError(
                f"grant {self.who!r}: place must be a division code of 6, 9 or 12 digits, a grid code that "
                f'begins with one, or "*" for the whole city, not {self.place!r}'
            )
        if self.role in OWN and not self.org:
            raise ValueError(f"grant {self.who!r}: a {self.role} needs `org`, the organisation it acts for")
        if not self.rights and not self.role:
            raise ValueError(f"grant {self.who!r} gives nothing; it needs `rights`, or `role` and `place`")


class PrivacySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[privacy]` of the site file."""

    pixelate: tuple[str, ...] = ("person",)
    """Classes that are hidden in pictures and clips; with people go their faces."""
    grant: tuple[Grant, ...] = ()

    @property
    def hidden(self) -> tuple[str, ...]:
        """`pixelate`, and faces wherever people are."""
        labels = self.pixelate
        return (*labels, "face") if "person" in labels and "face" not in labels else labels


class Viewer(msgspec.Struct, frozen=True):
    """Somebody a grant was found for."""

    who: str
    rights: frozenset[str]
    role: str = ""
    place: str = ""
    org: str = ""

    @property
    def actor(self) -> Actor:
        """Who it is at the city's desk."""
        return Actor(self.who, self.role, self.place, self.org)


class AccessPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings with the tokens read: what the console decides by."""

    pixelate: tuple[str, ...]
    loopback: Viewer | None = None
    bearers: tuple[tuple[bytes, Viewer], ...] = ()
    """SHA-256 of the token, and whom it stands for."""

    def bearer(self, token: str) -> Viewer | None:
        """Whom the token stands for. Every grant is compared, whether or not one matched before it."""
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for known, viewer in self.bearers:
            if hmac.compare_digest(known, digest):
                found = viewer
        return found


def read_policy(settings: PrivacySettings, environ: Mapping[str, str], base: Path) -> AccessPolicy:
    """The policy, with the tokens read from the environment and from files (relative to `base`).

    Raises:
        ConfigError: a token is missing, too short, used twice or in a file that others can read.
    """
    loopback: Viewer | None = None
    bearers: list[tuple[bytes, Viewer]] = []
    for grant in settings.grant:
        viewer = Viewer(grant.who, frozenset(grant.rights), grant.role, grant.place, grant.org)
        if grant.loopback:
            if loopback is not None:
                raise ConfigError("two grants say loopback = true; keep one of them")
            loopback = viewer
            continue
        token = _token(grant, environ, base)
        if len(token) < MIN_TOKEN:
            raise ConfigError(
                f"grant {grant.who!r}: the token has fewer than {MIN_TOKEN} characters; "
                "make one with `openssl rand -hex 24`"
            )
        digest = hashlib.sha256(token.encode()).digest()
        if any(digest == known for known, _ in bearers):
            raise ConfigError(f"grant {grant.who!r} has the same token as another; give each its own")
        bearers.append((digest, viewer))
    return AccessPolicy(pixelate=settings.hidden, loopback=loopback, bearers=tuple(bearers))


def _token(grant: Grant, environ: Mapping[str, str], base: Path) -> str:
    if grant.token_env:
        if not environ.get(grant.token_env):
            raise ConfigError(f"grant {grant.who!r}: set the environment variable {grant.token_env}")
        return environ[grant.token_env].strip()
    path = base / grant.token_file
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(f"grant {grant.who!r}: others may read {path}; run `chmod 600 {path}`")
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"grant {grant.who!r}: cannot read token_file {path}: {error}") from error


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def check_bind(host: str, policy: AccessPolicy) -> None:
    """Refuse to start where the network would meet a console that nobody on it may use, or that anybody may.

    Raises:
        ConfigError: naming the mend.
    """
    if is_loopback(host):
        return
    if not policy.bearers:
        raise ConfigError(
            f"the console would listen on {host}, but no grant has a token; add a [[privacy.grant]] with "
            "token_file, or listen on 127.0.0.1"
        )
    if policy.loopback is not None:
        raise ConfigError(
            f"the console would listen on {host}, but grant {policy.loopback.who!r} lets loopback in without "
            "a token, and a proxy on this machine would pass for it; remove loopback = true"
        )


class Sessions:
    """Sign-ins by cookie, in memory: a restart asks for the token again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, tuple[float, Viewer]] = {}

    def start(self, viewer: Viewer) -> str:
        """A new session; its id is the cookie's value."""
        now = self._clock.monotonic()
        self._open = {k: v for k, v in self._open.items() if v[0] > now}
        while len(self._open) >= _MAX_SESSIONS:
            del self._open[next(iter(self._open))]
        session = secrets.token_urlsafe(32)
        self._open[session] = (now + SESSION_S, viewer)
        return session

    def end(self, session: str) -> None:
        """Sign out; nothing happens if there is no such session."""
        self._open.pop(session, None)

    def viewer(self, session: str) -> Viewer | None:
        """Who signed in, while it lasts."""
        until, viewer = self._open.get(session, (0.0, None))
        return viewer if until > self._clock.monotonic() else None


def identify(conn: HTTPConnection, policy: AccessPolicy, sessions: Sessions) -> Viewer | None:
    """Whom the request comes from: bearer token, else cookie, else (unproxied) loopback; None: nobody known.

    A token that is sent but wrong is nobody, even from loopback.
    """
    header = conn.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        return policy.bearer(token.strip()) if scheme.lower() == "bearer" else None
    cookie = conn.cookies.get(COOKIE)
    if cookie is not None:
        viewer = sessions.viewer(cookie)
        if viewer is not None:
            return viewer
    if policy.loopback is None or any(name in conn.headers for name in _FORWARDED):
        return None
    client = conn.client.host if conn.client else ""
    return policy.loopback if is_loopback(client) else None
