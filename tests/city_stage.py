"""A console with a city's desk, everything real behind it: journal, both stores, projector, server, tokens.

with CityStage(tmp_path, database) as stage:            # without a database: a file
    with stage.client("clerk1") as client:              # whom GRANTS names
        client.get("/city/cases")
"""

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec

from city.calendars import shipped as shipped_calendar
from city.features import Feature
from city.packs import shipped
from city.scenario import Pack
from console.access import Grant, PrivacySettings, read_policy
from console.app import create_app
from console.city.context import CityParts
from console.server import ConsoleServer
from console.site import SiteView
from desk.cases import CaseDesk
from desk.words import WordsBox
from events.civic import PlaceChanged, place_source
from events.clock import SystemClock
from events.events import AnyPayload, Event, camera_source
from events.ids import event_id
from pipeline.projector import catch_up
from storage.city.store import CityStore
from storage.city.vault import Vault
from storage.journal import Journal
from storage.logbus import LogBus
from storage.objects import FolderObjects
from storage.store import SqliteStore

SITE = "demo"
CITY = "370481"
TOWN, TOWN2 = "370481001", "370481002"
COMMUNITY, COMMUNITY2, FAR = "370481001001", "370481001002", "370481002001"
GRID, GRID2 = "370481001001G01", "370481001001G02"
IN_GRID, IN_COMMUNITY2, IN_FAR, OUTSIDE = (117.02, 35.02), (117.15, 35.02), (117.3, 35.02), (10.0, 50.0)

_GROUND = (
    (CITY, "city", "", (117.0, 35.0, 117.4, 35.2)),
    (TOWN, "town", CITY, (117.0, 35.0, 117.2, 35.2)),
    (TOWN2, "town", CITY, (117.2, 35.0, 117.4, 35.2)),
    (COMMUNITY, "community", TOWN, (117.0, 35.0, 117.1, 35.2)),
    (COMMUNITY2, "community", TOWN, (117.1, 35.0, 117.2, 35.2)),
    (FAR, "community", TOWN2, (117.2, 35.0, 117.4, 35.2)),
    (GRID, "grid", COMMUNITY, (117.0, 35.0, 117.05, 35.2)),
    (GRID2, "grid", COMMUNITY, (117.05, 35.0, 117.1, 35.2)),
)

PEOPLE: Mapping[str, tuple[str, str, str]] = {
    # who: role, place, organisation
    "viewer": ("viewer", "*", ""),
    "operator": ("operator", TOWN, ""),
    "grid1": ("grid worker", GRID, ""),
    "grid2": ("grid worker", GRID2, ""),
    "clerk1": ("clerk", COMMUNITY, ""),
    "townclerk": ("clerk", TOWN, ""),
    "town": ("dispatcher", TOWN, ""),
    "town2": ("dispatcher", TOWN2, ""),
    "city": ("dispatcher", "*", ""),
    "water": ("handler", CITY, "water"),
    "roads": ("handler", CITY, "roads"),
    "checker": ("checker", TOWN, ""),
    "checker2": ("checker", TOWN, ""),
    "super": ("supervisor", "*", ""),
    "auditor": ("auditor", "*", ""),
    "admin": ("administrator", "*", ""),
    "hotline": ("channel", "*", "hotline"),
}


def token_of(who: str) -> str:
    return f"token-of-{who}-0123456789"


GRANTS = PrivacySettings(
    grant=(
        *(
            Grant(who=who, token_env=who, role=role, place=place, org=org)  # type: ignore[arg-type]
            for who, (role, place, org) in PEOPLE.items()
        ),
        Grant(who="gate office", token_env="gate", rights=("alerts", "judge")),
        Grant(who="control room", token_env="room", rights=("alerts",), role="supervisor", place="*"),
    )
)
TOKENS = {who: token_of(who) for who in (*PEOPLE, "gate", "room")}


class CityStage:
    """See the module's text.

    Args:
        where: DSN of a database with PostGIS; None: a file.
        projecting: False: nobody keeps the city's store up.
        library: folder with what draws the page's map.
        parts: of `CityParts`, instead of those that it makes.
    """

    def __init__(
        self,
        folder: Path,
        where: str | None = None,
        *,
        projecting: bool = True,
        packs: Mapping[str, Pack] | None = None,
        wait_s: float = 10.0,
        library: Path | None = None,
        **parts: Any,
    ) -> None:
        self.clock = SystemClock()
        self.journal = Journal(folder / "journal.db", self.clock)
        self.box = SqliteStore(folder / "store.db")
        self.objects = FolderObjects(folder / "objects")
        self.vault = made_vault(folder)
        self.store = CityStore(where or folder / "city.db", self.objects, self.vault)
        self.packs = packs or shipped()
        self.calendar = shipped_calendar()
        words = WordsBox(self.objects, self.vault)
        self.desk = CaseDesk(
            self.journal, self.store, self.packs, self.clock, SITE, self.calendar, words=words, wait_s=wait_s
        )
        made: dict[str, Any] = {
            "site": SITE,
            "code": CITY,
            "name": "Demo city",
            "store": self.store,
            "journal": self.journal,
            "objects": self.objects,
            "vault": self.vault,
            "clock": self.clock,
            "packs": self.packs,
            "calendar": self.calendar,
            "cases": self.desk,
            "words": words,
        }
        (folder / "footage").mkdir(exist_ok=True)
        self.app = create_app(
            site=SiteView(id=SITE, name="Demo", cameras=(), sensors=()),
            store=self.box,
            journal=self.journal,
            footage=folder / "footage",
            objects=folder / "objects",
            access=read_policy(GRANTS, TOKENS, folder),
            clock=self.clock,
            city=CityParts(**made | parts),
            library=library,
        )
        self.server = ConsoleServer(self.app, port=0)
        self._stop = threading.Event()
        stores = [self.box, *([self.store] if projecting else [])]
        self._projectors = [
            threading.Thread(target=self._project, args=(f"projector-{n}", store), name=f"projector-{n}")
            for n, store in enumerate(stores)
        ]
        self._projecting = projecting
        self._sequences: dict[tuple[str, str], int] = {}

    @property
    def url(self) -> str:
        return self.server.url

    def __enter__(self) -> Self:
        for projector in self._projectors:
            projector.start()
        self.server.start()
        self.grounded()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self._stop.set()
        for projector in self._projectors:
            projector.join()
        self.journal.close()
        self.store.close()
        self.box.close()

    def _project(self, group: str, store: Any) -> None:
        subscription = LogBus(self.journal, self.clock).subscribe(group, start=store.offset)
        while not self._stop.is_set():
            catch_up(subscription, store, timeout_s=0.05)

    def grounded(self) -> None:
        """The city's jurisdictions are on the map."""
        for code, level, parent, (west, south, east, north) in _GROUND:
            ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
            self.put(
                Feature(
                    id=code,
                    what="jurisdiction",
                    name=f"{level} {code}",
                    level=level,
                    parent=parent,
                    geometry={"type": "Polygon", "coordinates": [ring]},
                )
            )
        self.settled()

    def put(self, feature: Feature) -> None:
        """A thing is on the map."""
        data = PlaceChanged(
            what=feature.what,
            feature=feature.id,
            body=msgspec.json.encode(feature).decode(),
            valid_us=self.clock.wall_us(),
            who="stage",
        )
        self.happens(data, place_source(SITE, feature.what, feature.id))

    def happens(self, data: AnyPayload, source: str = "", time_us: int = 0) -> Event:
        """An event goes into the journal now."""
        at, source = time_us or self.clock.wall_us(), source or camera_source(SITE, "gate")
        event = Event(id="", source=source, time_us=at, epoch=0, sequence=0, data=data)
        n = self._sequences.get((source, event.family), 0)
        self._sequences[source, event.family] = n + 1
        id = event_id(source, event.family, n, at)
        made = Event(id=id, source=source, time_us=at, epoch=0, sequence=n, data=data)
        self.journal.append([made])
        return made

    def settled(self) -> None:
        """All that happened is in the store."""
        self.journal.flush()
        last = self.journal.last_offset()
        for _ in range(1000 if self._projecting else 0):
            if self.store.offset(self.journal.id) >= last:
                return
            self.clock.sleep(0.01)
        assert not self._projecting, "the projector did not keep up"

    def client(self, who: str = "", **more: Any) -> contextlib.AbstractContextManager[httpx.Client]:
        """A client of the API for somebody of PEOPLE; without one, nobody known."""
        headers = {"authorization": f"Bearer {token_of(who)}"} if who else {}
        return httpx.Client(base_url=self.url, headers=headers | more.pop("headers", {}), timeout=30, **more)


def made_vault(folder: Path) -> Vault:
    """A vault in the folder."""
    return Vault(folder / "vault.db", bytes(range(32)))
