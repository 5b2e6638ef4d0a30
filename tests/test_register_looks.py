"""Persons over HTTP: who sees whom and how much, what is written down first, and how entries change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from city.persons import check_digit
from city.rights import Actor
from desk.registerimport import RegisterImport
from desk.registers import Registers
from events.civic import RegisterChanged, RegisterErased, register_source
from events.events import Access
from storage.city.engine import writing
from storage.city.registerrows import PERSON, PersonRow, entry_of
from storage.city.registerwrites import put_persons
from tests.city_stage import COMMUNITY, COMMUNITY2, FAR, GRID, GRID2, SITE, TOWN, CityStage

ADMIN = Actor("importer", "administrator", "*")
AREAS = {"B1": GRID, "B2": GRID2, "B3": COMMUNITY2, "B4": FAR}


def number(born: str, order: int) -> str:
    first = f"990481{born.replace('-', '')}{order:03}"
    return first + check_digit(first)


LI, WANG, ZHAO = number("1944-03-05", 11), number("1980-01-01", 22), number("1999-09-09", 33)
PEOPLE = f"""person,name,identity,phone,home,since,registration,tenure,care
1,李合成,{LI},13800000001,H1,2010-01-01,H1,owner,living-alone
2,王合成,{WANG},13800000002,H2,2015-06-01,outside,tenant,
3,赵合成,{ZHAO},13800000003,H4,2020-01-01,H1,owner,aged-80
4,陈合成,,,H3,2021-01-01,,,left-behind-child
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[CityStage]:
    with CityStage(tmp_path) as stage:
        homes = tmp_path / "homes.csv"
        homes.write_text(
            "home,building,address\n" + "".join(f"H{n},B{n},Synthetic Road {n}\n" for n in (1, 2, 3, 4))
        )
        people = tmp_path / "people.csv"
        people.write_text(PEOPLE)
        importer = RegisterImport(
            SITE, stage.journal, stage.store.registers, stage.objects, stage.vault, stage.clock,
            lambda building: AREAS.get(building, ""),
        )  # fmt: skip
        assert importer.file(homes, "home", ADMIN).taken == 4
        stage.settled()
        report = importer.file(people, "person", ADMIN)
        assert report.taken == 4, report.first
        stage.settled()
        yield stage


def looks(stage: CityStage) -> list[Access]:
    return [
        r.event.data for r in stage.journal.read(0, 10_000, ("access",)) if isinstance(r.event.data, Access)
    ]


def find(client: httpx.Client, identity: str) -> Any:
    found = client.post("/city/persons/look-up", json={"identity": identity, "purpose": "certificate"})
    assert found.status_code == 200, found.text
    return found.json()["person"]


def ref_of(stage: CityStage, identity: str) -> str:
    with stage.client("admin") as client:
        return str(find(client, identity)["ref"])


def test_lists_show_who_lives_in_the_jurisdiction_and_write_each_one_down(stage: CityStage) -> None:
    expected = {
        "grid1": {"李**"},
        "grid2": {"王**"},
        "clerk1": {"李**", "王**"},
        "admin": {"李**", "王**", "赵**", "陈**"},
    }
    for who, names in expected.items():
        before = len(looks(stage))
        with stage.client(who) as client:
            page = client.get("/city/persons").json()
        assert {one["masked"]["name"] for one in page["items"]} == names
        noted = looks(stage)[before:]
        assert [(a.who, a.object, a.plain, a.allowed) for a in noted] == [
            (who, one["ref"], False, True) for one in page["items"]
        ]
        assert "full" not in page["items"][0] or page["items"][0]["full"] is None
    text = client_text(stage, "admin", "/city/persons")
    for secret in ("李合成", LI, "13800000001", "1944-03-05"):
        assert secret not in text


def client_text(stage: CityStage, who: str, path: str) -> str:
    with stage.client(who) as client:
        return client.get(path).text


def test_whoever_has_no_right_sees_nothing_and_that_is_written_down(stage: CityStage) -> None:
    ref = ref_of(stage, LI)
    for who in ("viewer", "operator", "town", "water", "checker", "hotline"):
        before = len(looks(stage))
        with stage.client(who) as client:
            for path in (
                "/city/persons",
                f"/city/persons/{ref}",
                f"/city/persons/{ref}/visits",
                "/city/homes/H1",
            ):
                assert client.get(path).status_code in (403, 404), (who, path)
            assert (
                client.post("/city/persons/look-up", json={"identity": LI, "purpose": "curious"}).status_code
                == 403
            )
        stage.journal.flush()  # a refusal shows nothing: it is written down with the next events
        noted = looks(stage)[before:]
        assert len(noted) == 5
        assert not any(a.allowed for a in noted)
        assert {a.who for a in noted} == {who}


def test_beyond_the_jurisdiction_there_is_nobody(stage: CityStage) -> None:
    far = ref_of(stage, ZHAO)
    with stage.client("grid1") as client:
        assert client.get(f"/city/persons/{far}").status_code == 404
        assert client.get(f"/city/persons/{'0' * 24}").status_code == 404
        assert find(client, ZHAO) is None
        assert find(client, number("2001-01-01", 1)) is None
        assert client.get("/city/persons", params={"area": FAR}).status_code == 403
        assert client.get("/city/homes/H4").status_code == 404
        home = client.get("/city/homes/H1").json()
    assert {one["masked"]["name"] for one in home["persons"]} == {"李**"}, (
        "registered here, but lives far away"
    )
    assert far not in repr(home)


def test_in_full_for_a_purpose_and_by_the_right_role_alone(stage: CityStage) -> None:
    ref = ref_of(stage, LI)
    with stage.client("auditor") as client:
        assert client.get(f"/city/persons/{ref}").json()["masked"]["name"] == "李**"
        assert client.get(f"/city/persons/{ref}", params={"purpose": "call her"}).status_code == 403
    with stage.client("clerk1") as client:
        assert (
            client.get(f"/city/persons/{ref}", params={"purpose": "a visit"}).json()["full"]["name"]
            == "李合成"
        )
    with stage.client("admin") as client:
        assert client.get(f"/city/persons/{ref}").json()["masked"]["identity"] == f"990{'*' * 13}{LI[-2:]}"
        assert client.get(f"/city/persons/{ref}", params={"purpose": " x "}).status_code == 400
        full = client.get(f"/city/persons/{ref}", params={"purpose": "court order 12"}).json()["full"]
    assert (full["name"], full["identity"], full["phone"]) == ("李合成", LI, "13800000001")
    last = looks(stage)[-1]
    assert (last.who, last.object, last.plain, last.purpose) == ("admin", ref, True, "court order 12")


def test_a_look_that_cannot_be_written_down_does_not_happen(
    stage: CityStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from events.errors import DiskFull

    ref = ref_of(stage, LI)

    def full() -> None:
        raise DiskFull("no room for the journal; make some")

    monkeypatch.setattr(stage.journal, "flush", full)  # the disk cannot be filled for one test
    for path in ("/city/persons", f"/city/persons/{ref}", "/city/homes/H1"):
        with stage.client("admin") as client:
            refused = client.get(path)
        assert refused.status_code == 503, path
        assert "李" not in refused.text


def test_a_person_is_entered_by_hand(stage: CityStage) -> None:
    body: dict[str, Any] = {
        "doc": {"name": "周合成", "born": "2026-01-31"},
        "facts": [{"kind": "residence", "home": "H2", "since": "2026-01-31"}],
    }
    for refused in ("auditor", "grid1"):
        with stage.client(refused) as client:
            assert client.post("/city/persons", json=body).status_code in (403, 404), refused
    with stage.client("admin") as client:
        made = client.post("/city/persons", json=body)
        assert made.status_code == 201, made.text
        assert client.get(made.headers["location"]).json()["area"] == GRID2
        for change, field in (
            ({"doc": {"name": "", "born": "2026-01-31"}}, "name"),
            ({"doc": {"name": "x", "identity": LI[:-1] + ("0" if LI[-1] != "0" else "1")}}, "identity"),
            ({"doc": {"name": "x", "identity": LI}}, "identity"),
            ({"doc": {"name": "x", "born": "2126-01-31"}}, "born"),
            ({"doc": {"name": "x", "phone": "=1+1"}}, "phone"),
            ({"doc": {"name": "x\u0000"}}, "name"),
            ({"facts": [{"kind": "residence", "home": "H9", "since": "2026-01-31"}]}, "home"),
            ({"facts": [{"kind": "residence", "home": "H2", "since": "2026-02-31"}]}, "facts"),
            ({"facts": [{"kind": "registration", "home": "outside", "since": "2026-01-31"}]}, "facts"),
            ({"care": ["rich"]}, "care"),
        ):
            refused = client.post("/city/persons", json=body | change)
            assert refused.status_code == 422, (change, refused.text)
            assert refused.json()["parameter"] == field, refused.text


def test_a_move_ends_the_residence_and_changes_who_sees_the_person(stage: CityStage) -> None:
    ref = ref_of(stage, LI)
    move = {"version": -1, "fact": {"kind": "residence", "home": "H2", "since": "2026-03-01"}}
    with stage.client("admin") as client:
        assert client.patch(f"/city/persons/{ref}", json=move).json() == {"version": 0}
        twice = move | {"version": 0, "fact": {"kind": "residence", "home": "H3", "since": "2026-03-01"}}
        refused = client.patch(f"/city/persons/{ref}", json=twice)
        assert refused.status_code == 422
        assert "a person moves once a day" in refused.json()["detail"]
        assert client.patch(f"/city/persons/{ref}", json=move).status_code == 409, "of an older version"
        shown = client.get(f"/city/persons/{ref}").json()
    assert (shown["area"], shown["home"], shown["version"], shown["standing"]) == (
        GRID2, "H2", 0, "registered-elsewhere",
    )  # fmt: skip
    lived = [(f["home"], f["until"]) for f in shown["facts"] if f["kind"] == "residence"]
    assert lived == [("H1", "2026-03-01"), ("H2", "9999-12-31")]
    with stage.client("grid1") as client:
        assert client.get(f"/city/persons/{ref}").status_code == 404
    with stage.client("grid2") as client:
        assert client.get(f"/city/persons/{ref}").status_code == 200


def test_visits_are_for_those_who_visit(stage: CityStage) -> None:
    ref = ref_of(stage, LI)
    with stage.client("grid1") as client:
        tagged = client.get("/city/persons", params={"care": "living-alone"}).json()["items"]
        assert [one["ref"] for one in tagged] == [ref]
        body = {"kind": "visit", "words": "well; asks for a handrail"}
        assert client.post(f"/city/persons/{ref}/visits", json=body).status_code == 201
        referral = {"kind": "referral", "org": "social-work-1", "words": "loneliness"}
        assert client.post(f"/city/persons/{ref}/visits", json=referral).status_code == 201
        shown = client.get(f"/city/persons/{ref}/visits").json()["items"]
    assert [(v["kind"], v["org"], v["who"], v["words"]) for v in shown] == [
        ("referral", "social-work-1", "grid1", "loneliness"),
        ("visit", "", "grid1", "well; asks for a handrail"),
    ]
    with stage.client("grid2") as client:
        assert client.get(f"/city/persons/{ref}/visits").status_code == 404
        assert client.post(f"/city/persons/{ref}/visits", json=body).status_code == 404


def test_who_is_erased_is_gone_and_comes_back_by_hand_alone(stage: CityStage) -> None:
    ref = ref_of(stage, LI)
    entry = stage.store.registers.person(ref)
    assert entry is not None
    with stage.client("clerk1") as client:
        assert client.post(f"/city/persons/{ref}/erasure", json={"reason": "asked"}).status_code == 403
    with stage.client("admin") as client:
        assert client.post(f"/city/persons/{ref}/erasure", json={"reason": "asked"}).status_code == 200
        assert client.get(f"/city/persons/{ref}").status_code == 404
        assert find(client, LI) is None
        assert stage.vault.open(entry_of(PERSON, ref), entry.sealed) is None
        body = {
            "doc": {"name": "李合成", "identity": LI},
            "facts": [{"kind": "residence", "home": "H1", "since": "2026-03-01"}],
        }
        again = client.post("/city/persons", json=body).json()["ref"]
    assert again != ref
    assert looks(stage)[-1].what == "person-entry"


def test_two_who_change_one_entry_at_once(stage: CityStage) -> None:
    from concurrent.futures import ThreadPoolExecutor

    ref = ref_of(stage, WANG)

    def change(tag: str) -> int:
        with stage.client("admin") as client:
            return client.patch(f"/city/persons/{ref}", json={"version": -1, "care": [tag]}).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(change, ["disabled", "low-income", "chronic-illness", "bereaved"]))
    assert statuses == [200, 409, 409, 409]


def test_whether_a_number_is_known_is_not_tried_in_silence(stage: CityStage) -> None:
    entry: dict[str, Any] = {"doc": {"name": "某合成", "identity": LI, "born": "1944-03-05"}}
    entry |= {"facts": [{"kind": "residence", "home": "H1", "since": "2026-01-01"}]}
    with stage.client("clerk1") as client:
        assert client.post("/city/persons", json=entry).status_code == 422
    asked = [(look.who, look.object) for look in looks(stage) if look.what == "person-lookup"]
    assert asked == [("clerk1", ref_of(stage, LI))]


def test_everything_is_no_more_than_ones_own_jurisdiction(stage: CityStage, tmp_path: Path) -> None:
    said = Registers(
        SITE, stage.journal, stage.store.registers, stage.objects, stage.vault, stage.clock,
        lambda access: stage.journal.note("/demo/test", access, stage.clock.wall_us()),
    )  # fmt: skip
    town = Actor("town", "administrator", TOWN)
    below = {one.ref for one in said.page(town)[0]}
    assert len(below) < said.sums(ADMIN, "*", "").persons == 4
    assert {one.ref for one in said.page(town, area="*")[0]} == below
    assert said.sums(town, "*", "").persons == len(below)
    assert said.export(town, tmp_path / "out.csv", "*", "a test") == len(below)


def test_an_erasure_is_told_of_though_the_store_is_behind(tmp_path: Path) -> None:
    with CityStage(tmp_path, projecting=False) as stage:
        said = Registers(
            SITE, stage.journal, stage.store.registers, stage.objects, stage.vault, stage.clock,
            lambda access: stage.journal.note("/demo/test", access, stage.clock.wall_us()), 0.0,
        )  # fmt: skip
        sealed = stage.vault.seal("person:" + "a" * 24, b"{}")
        row = PersonRow(ref="a" * 24, blind=b"", area=TOWN, home="", sealed=sealed, facts=())
        with writing(stage.store._engine) as connection:
            put_persons(connection, [row])
        change = RegisterChanged(what="person", entry=row.ref, object="k", who="clerk")
        stage.happens(change, register_source(SITE, "person", row.ref))
        stage.journal.flush()
        for _ in range(2):  # asked again, it is told once
            said.erase(ADMIN, row.ref, "asked")
        told = stage.journal.history(register_source(SITE, "person", row.ref), "register")
        assert [type(event.data).__name__ for event in told] == ["RegisterChanged", "RegisterErased"]


def test_an_erasure_that_a_kill_cut_short_is_finished_at_the_next_start(
    stage: CityStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Registers(
        SITE, stage.journal, stage.store.registers, stage.objects, stage.vault, stage.clock,
        lambda access: stage.journal.note("/demo/test", access, stage.clock.wall_us()),
    )  # fmt: skip
    assert said.finish("desk") == 0
    ref, stays = ref_of(stage, LI), ref_of(stage, WANG)

    def killed(*_: object) -> int:
        raise InterruptedError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(Registers, "_told", killed)
        with pytest.raises(InterruptedError):
            said.erase(ADMIN, ref, "asked")
    assert stage.store.registers.person(ref) is not None  # its words cannot be read, but it is listed
    assert said.finish("desk") == 1
    stage.settled()
    assert stage.store.registers.person(ref) is None
    assert stage.store.registers.person(stays) is not None
    assert said.finish("desk") == 0
    told = stage.journal.history(register_source(SITE, "person", ref), "register")
    assert isinstance(told[-1].data, RegisterErased)
    assert told[-1].data.who == "desk"


def test_figures_are_of_nobody_in_particular(stage: CityStage) -> None:
    with stage.client("clerk1") as client:
        sums = client.get("/city/registers/sums", params={"area": COMMUNITY}).json()
    assert (sums["persons"], sums["homes"], sums["lived_in"]) == (2, 2, 2)
    assert sums["care"] == {"living-alone": 1}
