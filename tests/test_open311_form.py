"""Open311's forms and answers, whatever is sent: an answer or a refusal in its form, never anything else."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city import services
from city.services import shipped
from desk.open311 import (
    CreatedShown,
    DefinitionShown,
    ErrorShown,
    Open311Error,
    RequestShown,
    definition,
    moment,
    service_list,
    written,
)
from desk.open311form import SPAN_US, report, wanted
from events.errors import ConfigError

NOW = 1_790_000_000_000_000
NAMES = (
    *("service_code", "lat", "long", "address_string", "address_id", "email", "phone", "description"),
    *("media_url", "attribute[SOURCE]", "attribute[HOURS][]", "attribute[", "api_key", "x"),
)
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["noise", "rubbish", "35.02", "117.02", "works", "day", "http://a/b", "1e400", "-0", "٣"]
    ),
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8))
def test_any_form_is_read_or_refused(fields: list[tuple[str, str]]) -> None:
    refused: Open311Error | None = None
    try:
        asked = report(fields, shipped())
    except Open311Error as error:
        refused = error
    if refused is not None:
        assert refused.status in (400, 404)
        assert refused.shown.description
    else:
        assert asked.service.public
        assert asked.place is not None or asked.words.address or asked.address_id


@given(
    st.dictionaries(
        st.sampled_from(["start_date", "end_date", "status", "page", "page_size", "service_code"]),
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00 08:00", "open", "1"]),
        ),
    )
)
def test_any_filter_is_read_or_refused(query: dict[str, str]) -> None:
    refused: Open311Error | None = None
    try:
        asked = wanted(query, NOW)
    except Open311Error as error:
        refused = error
    if refused is not None:
        assert refused.status == 400
    else:
        assert 0 <= asked.until_us - asked.since_us <= SPAN_US + 1
        assert 1 <= asked.page * asked.limit <= 1000


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_becomes_xml_that_can_be_read(said: str, other: str) -> None:
    shown = [ErrorShown(400, said), ErrorShown(404, other)]
    root = ElementTree.fromstring(written("xml", "errors", shown))
    assert [error.findtext("code") for error in root] == ["400", "404"]
    if said.isprintable():
        assert (root.findtext("error/description") or "") == said
    assert json.loads(written("json", "errors", shown))[1]["code"] == 404


def test_the_specifications_examples_have_this_form() -> None:
    created = [
        CreatedShown(service_request_id="293944", service_notice="The City will inspect", account_id=None)
    ]
    root = ElementTree.fromstring(written("xml", "service_requests", created))
    assert [(part.tag, part.text) for part in root[0]] == [
        ("service_request_id", "293944"),
        ("service_notice", "The City will inspect"),
        ("account_id", None),
    ]
    assert json.loads(written("json", "service_requests", created)) == [
        {"service_request_id": "293944", "service_notice": "The City will inspect", "account_id": None}
    ]
    request = RequestShown(
        service_request_id="638344",
        status="closed",
        status_notes="Duplicate request.",
        service_name="Sidewalk and Curb Issues",
        service_code="006",
        requested_datetime=moment(NOW),
        updated_datetime=moment(NOW),
        lat=37.762221815,
        long=-122.4651145,
    )
    names = [
        *("service_request_id", "status", "status_notes", "service_name", "service_code", "description"),
        *("agency_responsible", "service_notice", "requested_datetime", "updated_datetime"),
        *("expected_datetime", "address", "address_id", "zipcode", "lat", "long", "media_url"),
    ]
    root = ElementTree.fromstring(written("xml", "service_requests", [request]))
    assert [part.tag for part in root[0]] == names
    assert list(json.loads(written("json", "service_requests", [request]))[0]) == names
    assert moment(NOW) == "2026-09-21T14:13:20Z"


def test_every_service_that_ships_can_be_shown() -> None:
    all_ = shipped()
    assert len(service_list(all_, "")) == len(all_.public()) < len(service_list(all_, "", hidden=True))
    for service in all_.services.values():
        shown: DefinitionShown = definition(service, "zh")
        assert [attribute.order for attribute in shown.attributes] == list(
            range(1, len(shown.attributes) + 1)
        )
        ElementTree.fromstring(written("xml", "service_definition", shown))
        assert service.name_zh
        assert service.group in all_.groups


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[service]]\ncode = 'a'", "name"),
        ("[[service]]\ncode = 'a b'\nname = 'A'", "code"),
        ("[[service]]\ncode = 'a'\nname = 'A'\ngroup = 'g'", "no group 'g'"),
        ("[[service]]\ncode = 'a'\nname = 'A'\n[[service]]\ncode = 'a'\nname = 'B'", "twice"),
        (
            "[[service]]\ncode='a'\nname='A'\n[[service.attribute]]\ncode='q'\ndatatype='singlevaluelist'\ndescription='Q'",
            "lists",
        ),
        ("not toml", "services"),
    ],
)
def test_a_list_of_services_that_is_none(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "services.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        services.load(path)
