"""Open311 GeoReport v2 against a running desk on both stores, by the specification's calls and examples."""

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from city.features import Feature
from city.rights import Actor
from city.scenario import Opening, Step
from desk.words import WordsBox
from tests.city_stage import CITY, COMMUNITY, GRID, IN_FAR, IN_GRID, OUTSIDE, CityStage, token_of

BASE = "/city/open311/v2"
KEY = {"api_key": token_of("hotline")}
WORDS = {
    "address_string": "1234 5th street",
    "email": "smit333@sfgov.edu",
    "device_id": "tt222111",
    "account_id": "123456",
    "first_name": "john",
    "last_name": "smith",
    "phone": "111111111",
    "description": "A large sinkhole is destroying the street",
    "media_url": "http://farm3.static.flickr.com/2002/2212426634_5ed477a060.jpg",
}
"""The specification's example of a request."""


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    where = None
    if request.param == "postgis":
        where = request.getfixturevalue("postgis").new_database()
    with CityStage(tmp_path_factory.mktemp("open311"), where) as stage:
        ring = [[117.02, 35.05], [117.021, 35.05], [117.021, 35.051], [117.02, 35.051], [117.02, 35.05]]
        stage.put(
            Feature(
                id="B1",
                what="building",
                name="幸福小区3号楼",
                parent=GRID,
                geometry={"type": "Polygon", "coordinates": [ring]},
            )
        )
        stage.settled()
        yield stage


@pytest.fixture
def client(stage: CityStage) -> Iterator[httpx.Client]:
    with stage.client() as client:
        yield client


def place(at: tuple[float, float]) -> dict[str, str]:
    return {"lat": str(at[1]), "long": str(at[0])}


def made(client: httpx.Client, **more: str) -> str:
    form = {**KEY, "service_code": "rubbish", **place(IN_GRID), **more}
    answer = client.post(f"{BASE}/requests.json", data=form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()[0]["service_request_id"])


def tree(answer: httpx.Response) -> ElementTree.Element:
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    assert answer.text.startswith('<?xml version="1.0" encoding="utf-8"?>')
    return ElementTree.fromstring(answer.text)


def error(answer: httpx.Response, status: int, text: str = "") -> str:
    assert answer.status_code == status, answer.text
    if answer.headers["content-type"].startswith("text/xml"):
        found = tree(answer)
        assert found.tag == "errors"
        code, said = found.findtext("error/code"), found.findtext("error/description")
    else:
        code, said = answer.json()[0]["code"], answer.json()[0]["description"]
    assert int(code or 0) >= 400
    assert text in (said or "")
    return said or ""


def test_services_in_both_formats(client: httpx.Client) -> None:
    found = tree(client.get(f"{BASE}/services.xml", params={**KEY, "jurisdiction_id": CITY}))
    assert found.tag == "services"
    first = found.find("service")
    assert first is not None
    assert [part.tag for part in first] == [
        *("service_code", "service_name", "description", "metadata", "type", "keywords", "group")
    ]
    assert first.findtext("metadata") == "true"
    assert first.findtext("type") == "realtime"
    listed = client.get(f"{BASE}/services.json", params=KEY).json()
    assert [service["service_code"] for service in listed] == [
        code.text for code in found.iter("service_code")
    ]
    assert listed[0]["metadata"] is True
    assert "welfare" not in [service["service_code"] for service in listed]  # not for the public


@pytest.mark.parametrize(
    ("language", "name"), [("zh-CN,zh;q=0.9,en", "噪音扰民"), ("en-GB", "Noise"), ("fr", "噪音扰民 Noise")]
)
def test_names_in_the_language_that_is_asked_for(client: httpx.Client, language: str, name: str) -> None:
    listed = client.get(f"{BASE}/services.json", params=KEY, headers={"accept-language": language}).json()
    assert listed[0]["service_name"] == name


def test_definition_of_a_service(client: httpx.Client) -> None:
    found = tree(client.get(f"{BASE}/services/noise.xml", params=KEY))
    assert found.tag == "service_definition"
    assert found.findtext("service_code") == "noise"
    attribute = found.find("attributes/attribute")
    assert attribute is not None
    assert attribute.findtext("variable") == "true"
    assert attribute.findtext("datatype") == "singlevaluelist"
    assert attribute.findtext("order") == "1"
    assert [value.findtext("key") for value in attribute.iter("value")][:2] == ["works", "music"]
    error(client.get(f"{BASE}/services/none.json", params=KEY), 404, "service_code")
    error(client.get(f"{BASE}/services/welfare.xml", params=KEY), 404, "service_code")


def test_discovery_needs_nobody(client: httpx.Client) -> None:
    found = tree(client.get("/city/open311/discovery.xml"))
    assert found.findtext("endpoints/endpoint/specification") == "http://wiki.open311.org/GeoReport_v2"
    assert [one.text for one in found.iter("format")] == ["text/xml", "application/json"]
    url = found.findtext("endpoints/endpoint/url")
    assert client.get(f"{url}/services.json", params=KEY).status_code == 200
    assert client.get("/city/open311/discovery.json").json()["endpoints"][0]["url"] == url


def test_the_specifications_request(stage: CityStage, client: httpx.Client) -> None:
    form = {**KEY, **WORDS, **place(IN_GRID), "jurisdiction_id": CITY, "service_code": "road"}
    answer = client.post(f"{BASE}/requests.xml", data={**form, "attribute[DANGER]": "yes"})
    assert answer.status_code == 200
    found = tree(answer)
    id_ = found.findtext("request/service_request_id")
    assert id_
    assert found.find("request/token") is None
    assert found.findtext("request/account_id") == "123456"
    assert found.findtext("request/service_notice")
    case = stage.store.cases.case(id_)
    assert case is not None
    assert (case.scenario, case.state, case.area, case.channel) == ("appeal", "placed", GRID, "hotline")
    assert case.level == "grid"
    words = WordsBox(stage.objects, stage.vault).read(id_, case.sealed)
    assert words is not None
    assert (words.phone, words.name, words.address) == ("111111111", "smith john", "1234 5th street")
    assert words.text == "A large sinkhole is destroying the street\n[DANGER] 是 Yes"
    assert words.media.endswith("5ed477a060.jpg")


def test_nothing_of_a_person_is_journaled_or_answered(stage: CityStage, client: httpx.Client) -> None:
    id_ = made(client, **WORDS)
    stage.journal.flush()
    secret = [value.encode() for name, value in WORDS.items() if name != "account_id"]
    for path in stage.journal.path.parent.rglob("*"):
        if path.is_file() and path.suffix != ".db-shm":
            body = path.read_bytes()
            assert not any(word in body for word in secret), path
    for format in ("xml", "json"):
        shown = client.get(f"{BASE}/requests/{id_}.{format}", params=KEY).content
        assert not any(word in shown for word in secret)


def test_state_of_a_request(stage: CityStage, client: httpx.Client) -> None:
    id_ = made(client, service_code="dog", **place(IN_FAR))
    shown = client.get(f"{BASE}/requests/{id_}.json", params=KEY).json()[0]
    assert shown["status"] == "open"
    assert "Placed on the map" in shown["status_notes"]
    assert (shown["lat"], shown["long"]) == (IN_FAR[1], IN_FAR[0])
    assert shown["address"].startswith("community")
    assert shown["requested_datetime"].endswith("Z")
    assert shown["expected_datetime"] >= shown["requested_datetime"]
    clerk = Actor("desk", "clerk", "*")
    stage.desk.step(id_, 1, Step(action="answer-at-once", note="dog found", marks=("solved",)), clerk)
    root = tree(client.get(f"{BASE}/requests/{id_}.xml", params=KEY))
    assert root.tag == "service_requests"
    assert root.findtext("request/status") == "closed"
    assert "solved" in (root.findtext("request/status_notes") or "")
    assert root.find("request/description") is not None
    assert not root.findtext("request/description")


def test_lists_by_every_filter(client: httpx.Client) -> None:
    first = made(client, service_code="heating", **place((117.01, 35.11)))
    second = made(client, service_code="heating", **place((117.01, 35.13)))

    def ids(**params: str) -> list[str]:
        answer = client.get(f"{BASE}/requests.json", params={**KEY, **params})
        assert answer.status_code == 200, answer.text
        return [one["service_request_id"] for one in answer.json()]

    assert ids(service_code="heating") == [second, first]
    assert ids(service_code="heating,noise", status="open") == [second, first]
    assert ids(service_code="heating", status="closed") == []
    assert ids(service_code="heating", status="open,closed") == [second, first]
    assert ids(service_request_id=f"{first},{second}", service_code="dog") == [first, second]
    assert ids(service_code="heating", end_date="2020-01-01T00:00:00Z") == []
    assert ids(service_code="heating", start_date="2020-01-01T00:00:00Z") == []
    assert ids(service_code="heating", page_size="1", page="2") == [first]
    assert ids(service_request_id="none") == []


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"start_date": "yesterday"}, "start_date"),
        ({"start_date": "2026-01-01T00:00:00"}, "start_date"),
        ({"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-06-01T00:00:00Z"}, "90 days"),
        ({"start_date": "2026-02-01T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"}, "later"),
        ({"status": "done"}, "status"),
        ({"page_size": "0"}, "page_size"),
        ({"page": "3"}, "page"),
        ({"sort": "up"}, "'sort'"),
        ({"service_request_id": ",".join(map(str, range(200)))}, "service_request_id"),
    ],
)
def test_filters_that_cannot_be(client: httpx.Client, params: dict[str, str], text: str) -> None:
    error(client.get(f"{BASE}/requests.xml", params={**KEY, **params}), 400, text)


@pytest.mark.parametrize(
    ("form", "status", "text"),
    [
        ({"service_code": ""}, 400, "service_code was not provided"),
        ({"service_code": "none"}, 404, "service_code"),
        ({"service_code": "welfare"}, 404, "service_code"),
        ({"lat": "", "long": ""}, 400, "location"),
        ({"lat": ""}, 400, "lat and long go together"),
        ({"lat": "91"}, 400, "lat"),
        ({"lat": "nan"}, 400, "lat"),
        ({"lat": "1e1"}, 400, "lat"),
        ({"lat": str(OUTSIDE[1]), "long": str(OUTSIDE[0])}, 400, "no jurisdiction"),
        ({"lat": "", "long": "", "address_id": "nowhere"}, 400, "address_id"),
        ({"description": "x" * 4001}, 400, "4000"),
        ({"description": "a\x00b"}, 400, "description"),
        ({"media_url": "file:///etc/passwd"}, 400, "media_url"),
        ({"media_url": "javascript:alert(1)"}, 400, "media_url"),
        ({"jurisdiction_id": "elsewhere"}, 404, "jurisdiction_id"),
        ({"unknown": "1"}, 400, "unknown"),
        ({"service_code": "noise"}, 400, "attribute[SOURCE] was not provided"),
        ({"service_code": "noise", "attribute[SOURCE]": "aliens"}, 400, "must be one of works"),
        ({"service_code": "noise", "attribute[SOURCE]": "works", "attribute[X]": "1"}, 400, "attribute[X]"),
        ({"service_code": "heating", "attribute[DEGREES]": "cold"}, 400, "number"),
        ({"service_code": "water", "attribute[SINCE]": "long"}, 400, "attribute[SINCE]"),
    ],
)
def test_requests_that_cannot_be(client: httpx.Client, form: dict[str, str], status: int, text: str) -> None:
    whole = {**KEY, "service_code": "rubbish", **place(IN_GRID), **form}
    for format in ("xml", "json"):
        error(client.post(f"{BASE}/requests.{format}", data=whole), status, text)


def test_several_answers_to_one_question(stage: CityStage, client: httpx.Client) -> None:
    body = (
        f"api_key={KEY['api_key']}&service_code=noise&lat={IN_FAR[1]}&long={IN_FAR[0]}"
        "&attribute[SOURCE]=works&attribute[HOURS][]=day&attribute%5BHOURS%5D%5B%5D=night"
    )
    kind = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    answer = client.post(f"{BASE}/requests.json", content=body, headers=kind)
    assert answer.status_code == 200, answer.text
    id_ = answer.json()[0]["service_request_id"]
    case = stage.store.cases.case(id_)
    assert case is not None
    words = WordsBox(stage.objects, stage.vault).read(id_, case.sealed)
    assert words is not None
    assert words.text == "[SOURCE] 施工 Building works\n[HOURS] 白天 By day, 夜间 At night"


def test_by_address_alone(stage: CityStage, client: httpx.Client) -> None:
    for form in ({"address_string": "滕州市 幸福小区3号楼 1单元"}, {"address_id": "B1"}):
        id_ = made(client, service_code="light", lat="", long="", **form)
        case = stage.store.cases.case(id_)
        assert case is not None
        assert (case.place, case.area) == ((117.0205, 35.0505), GRID)
    id_ = made(client, lat="", long="", address_id=COMMUNITY)
    case = stage.store.cases.case(id_)
    assert case is not None
    assert (case.place, case.area, case.state) == (None, COMMUNITY, "placed")
    id_ = made(client, lat="", long="", address_string="nobody knows where")
    case = stage.store.cases.case(id_)
    assert case is not None
    assert (case.place, case.state) == (None, "received")  # waits for somebody to place it


def test_a_token_finds_its_request(client: httpx.Client) -> None:
    form = {**KEY, "service_code": "parking", **place(IN_GRID)}
    answer = client.post(f"{BASE}/requests.json", data=form)
    id_, token = answer.json()[0]["service_request_id"], answer.headers["linli-token"]
    assert client.get(f"{BASE}/tokens/{token}.json").json() == [{"service_request_id": id_, "token": token}]
    found = tree(client.get(f"{BASE}/tokens/{token}.xml"))
    assert found.findtext("request/service_request_id") == id_
    for wrong in (id_, token[:-1], token + "0", f"{id_}-{token[:20]}"):
        error(client.get(f"{BASE}/tokens/{wrong}.xml"), 404)


def test_nobody_without_a_key(client: httpx.Client) -> None:
    id_ = made(client)
    for path in ("services", "services/noise", "requests", f"requests/{id_}"):
        error(client.get(f"{BASE}/{path}.json"), 403, "api_key")
        error(client.get(f"{BASE}/{path}.xml", params={"api_key": "guessed-guessed-guessed"}), 403, "api_key")
    form = {"service_code": "rubbish", **place(IN_GRID)}
    error(client.post(f"{BASE}/requests.xml", data=form), 403, "api_key")
    error(client.post(f"{BASE}/requests.xml", data={**form, "api_key": "guessed-guessed-guessed"}), 403)
    # One that may read, and may not bring requests.
    error(client.post(f"{BASE}/requests.xml", data={**form, "api_key": token_of("viewer")}), 403, "case.open")


def test_a_key_sees_its_jurisdiction_only(client: httpx.Client) -> None:
    id_ = made(client)
    for who, seen in (("townclerk", 200), ("grid1", 200), ("grid2", 404), ("town2", 404), ("water", 404)):
        answer = client.get(f"{BASE}/requests/{id_}.json", params={"api_key": token_of(who)})
        assert answer.status_code == seen, who
        listed = client.get(f"{BASE}/requests.json", params={"api_key": token_of(who)}).json()
        assert (id_ in [one["service_request_id"] for one in listed]) == (seen == 200), who


def test_no_form_no_request(client: httpx.Client) -> None:
    url = f"{BASE}/requests.xml"
    error(client.post(url, json={"service_code": "rubbish"}), 400, "x-www-form-urlencoded")
    kind = {"content-type": "application/x-www-form-urlencoded"}
    error(client.post(url, content=b"a=" + b"x" * 70_000, headers=kind), 400, "at most")
    error(client.post(url, content=b"\xff\xfe=1", headers=kind), 400, "form")
    error(client.post(url, content=b"a=%ff", headers=kind), 400, "form")
    error(client.post(url, content=b"&".join(b"a%d=1" % n for n in range(300)), headers=kind), 400, "form")
    error(client.get(f"{BASE}/services.html", params=KEY), 400)
    entity = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'
    error(client.post(url, content=entity, headers={"content-type": "text/xml"}), 400)


def test_everybody_reads_where_the_site_says_so(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with CityStage(tmp_path_factory.mktemp("public"), open311_public=True) as stage, stage.client() as client:
        shown = made(client)
        hidden = stage.desk.open(
            "appeal",
            _opening("welfare"),
            Actor("desk", "clerk", "*"),
        ).case
        listed: list[dict[str, Any]] = client.get(f"{BASE}/requests.json").json()
        assert [one["service_request_id"] for one in listed] == [shown]
        assert client.get(f"{BASE}/requests/{shown}.xml").status_code == 200
        error(client.get(f"{BASE}/requests/{hidden}.xml"), 404)
        assert client.get(f"{BASE}/services.xml").status_code == 200
        form = {"service_code": "rubbish", **place(IN_GRID)}
        error(client.post(f"{BASE}/requests.xml", data=form), 403, "api_key")


def test_a_token_while_the_store_is_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        CityStage(tmp_path_factory.mktemp("behind"), projecting=False, wait_s=0.05) as stage,
        stage.client() as client,
    ):
        form = {**KEY, "service_code": "rubbish", "address_string": "somewhere"}
        answer = client.post(f"{BASE}/requests.xml", data=form)
        found = tree(answer)
        assert answer.status_code == 200
        assert found.find("request/service_request_id") is None
        token = found.findtext("request/token")
        assert token
        error(client.get(f"{BASE}/tokens/{token}.json"), 404, "moment")
        _projected(stage)
        id_ = client.get(f"{BASE}/tokens/{token}.json").json()[0]["service_request_id"]
        assert client.get(f"{BASE}/requests/{id_}.xml", params=KEY).status_code == 200


def _opening(category: str) -> Opening:
    return Opening(category=category, area=GRID, channel="clerk")


def _projected(stage: CityStage) -> None:
    records, _ = stage.journal.page(stage.store.offset(stage.journal.id), 1000)
    stage.store.apply(stage.journal.id, records)
