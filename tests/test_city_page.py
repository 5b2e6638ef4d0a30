"""The city's page in a real Chromium, with a real console and its desk behind it."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import cv2
import httpx
import numpy as np
import pytest

from city.features import Feature
from city.layers import KINDS
from city.packs import shipped
from city.rights import ROLES, SYSTEM
from city.scenario import LEVELS, Need
from cli import maplibrary
from events.civic import ClockKind
from events.errors import ConfigError
from tests.city_stage import GRID, GRID2, IN_COMMUNITY2, IN_FAR, IN_GRID, CityStage, token_of

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
MUST = os.environ.get("LINLI_REQUIRE_SERVERS") == "1"

if not MUST:
    pytest.importorskip("playwright", reason="the browser's driver is not installed (pip install playwright)")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM} (apt install chromium)", allow_module_level=True)

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
COMPONENT, MATTER = (0x6F, 0xAE, 0x80), (0xF2, 0x57, 0x5A)
"""Red, green, blue on the map."""


@pytest.fixture(scope="module")
def library() -> Path:
    try:
        return maplibrary.pull(lambda what, done: None)
    except ConfigError as error:
        if MUST:
            raise
        pytest.skip(f"what draws the map is not here and cannot be fetched: {error}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[CityStage]:
    with CityStage(tmp_path_factory.mktemp("city-page"), library=library) as stage:
        for n in range(30):
            at = [117.03 + n % 6 * 0.06, 35.03 + n // 6 * 0.03]
            stage.put(
                Feature(
                    id=f"3704810101{n:06}",
                    what="component",
                    name="上水井盖",
                    parent=GRID,
                    geometry={"type": "Point", "coordinates": at},
                    properties={"class": "0101", "state": "damaged", "owner": "water"},
                )
            )
        stage.put(
            Feature(
                id="water",
                what="organisation",
                name="Water company",
                parent=GRID2,
                geometry={"type": "Point", "coordinates": [117.07, 35.1]},
                properties={"kind": "department"},
            )
        )
        stage.settled()
        yield stage


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    """One without what draws the map."""
    with CityStage(tmp_path_factory.mktemp("city-desk")) as stage:
        yield stage


class Seat:
    """Somebody at the page, with all that the page should not have done."""

    def __init__(
        self, browser: Browser, stage: CityStage, who: str = "city", locale: str = "en-GB", **more: Any
    ) -> None:
        self.faults: list[str] = []
        self.url = stage.url
        self.context = browser.new_context(
            locale=locale, **{"viewport": {"width": 1300, "height": 850}, **more}
        )
        if who:
            answer = self.context.request.post(f"{stage.url}/api/session", data={"token": token_of(who)})
            assert answer.ok
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"threw {error}"))
        self.page.on("request", lambda request: self._asked(request.url))

    def at(self, where: str = "/map") -> Page:
        self.page.goto(self.url + where)
        return self.page

    def _said(self, message: Any) -> None:
        if message.type not in ("error", "warning") or "GL Driver Message" in message.text:
            return  # the software renderer complains of its own speed
        if message.location["url"].endswith("/steps") and "a status of 4" in message.text:
            return  # the browser's own note of a step that was refused
        self.faults.append(f"{message.type}: {message.text} {message.location['url']}")

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url, "blob:" + self.url)):
            self.faults.append(f"asked for {url}")

    def leave(self) -> None:
        self.context.close()
        assert self.faults == []


@pytest.fixture
def seat(browser: Browser) -> Iterator[Callable[..., Seat]]:
    """Makes seats; when the test is over none of them may have anything against it."""
    made: list[Seat] = []

    def sit(stage: CityStage, who: str = "city", locale: str = "en-GB", **more: Any) -> Seat:
        made.append(Seat(browser, stage, who, locale, **more))
        return made[-1]

    yield sit
    for one in made:
        one.leave()


def until(page: Page, holds: Callable[[], bool], what: str) -> None:
    """Wait for it. The page's policy forbids Playwright's own way."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(150)
    raise AssertionError(what)


def drawn(page: Page) -> None:
    """The map has drawn all that it has."""
    expect(page.locator("#map[data-ready]")).to_be_visible(timeout=30_000)
    # Taken and awaited by the page itself: the library says when it has nothing left to do.
    until(page, lambda: int(page.locator("#map").get_attribute("data-idle") or 0) > 0, "it is never idle")


def spots(page: Page, colour: tuple[int, int, int]) -> list[tuple[float, float]]:
    """Middles of the patches of a colour on the map, in pixels of the page."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    x0, y0 = round(box["x"]), round(box["y"])
    part = picture[y0 : y0 + round(box["height"]), x0 : x0 + round(box["width"]), ::-1].astype(int)
    near = (np.abs(part - np.array(colour)).max(axis=2) <= 8).astype(np.uint8)
    # The legend lies over the map, and has a dot of each colour.
    legend = page.locator("#legend").bounding_box()
    if legend:
        near[: round(legend["y"] + legend["height"]) - y0, : round(legend["x"] + legend["width"]) - x0] = 0
    count, _, stats, middles = cv2.connectedComponentsWithStats(near)
    return [
        (x0 + float(middles[n][0]), y0 + float(middles[n][1]))
        for n in range(1, count)
        if stats[n][cv2.CC_STAT_AREA] >= 6
    ]


def opened(stage: CityStage, place: tuple[float, float] = IN_GRID, **more: Any) -> dict[str, Any]:
    body = {"scenario": "matter", "category": "0101", "place": list(place), "severity": "major", **more}
    with stage.client("operator" if body["scenario"] == "video" else "city") as client:
        answer = client.post("/city/cases", json=body)
    assert answer.status_code == 201, answer.text
    case: dict[str, Any] = answer.json()
    return case


def stepped(stage: CityStage, case: dict[str, Any], who: str, action: str, **more: Any) -> dict[str, Any]:
    with stage.client(who) as client:
        now = client.get(f"/city/cases/{case['case']}").json()
        answer = client.post(
            f"/city/cases/{case['case']}/steps", json={"action": action, "version": now["version"], **more}
        )
    assert answer.status_code == 200, answer.text
    case = answer.json()
    return case


def look(page: Page, case: dict[str, Any]) -> None:
    """Open it from the inbox."""
    page.locator(f"#case-list [data-case='{case['case']}']").click()
    expect(page.locator("#case h2")).to_have_text(case["title"])


def test_the_map_draws_its_layers_and_one_can_be_switched_off(
    seat: Callable[..., Seat], stage: CityStage
) -> None:
    page = seat(stage).at()
    drawn(page)
    until(page, lambda: len(spots(page, COMPONENT)) >= 20, "the components are not drawn")
    page.uncheck("[data-layer=component]")
    until(page, lambda: len(spots(page, COMPONENT)) == 0, "the components do not go away")
    page.check("[data-layer=component]")
    until(page, lambda: len(spots(page, COMPONENT)) >= 20, "the components do not come back")
    x, y = max(spots(page, COMPONENT))
    page.mouse.click(x, y)
    card = page.locator(".card")
    expect(card).to_contain_text("上水井盖")
    expect(card).to_contain_text("damaged")
    expect(card).to_contain_text(f"community {GRID[:12]} grid {GRID}")  # by name, when it is known
    card.locator("xpath=..").locator(".shut").click()
    expect(card).to_have_count(0)
    legend = page.locator("#layers label")
    expect(legend.filter(has_text="Grid matters")).to_be_visible()
    expect(legend.filter(has_text="City components")).to_be_visible()


def test_a_case_is_opened_from_the_map_a_step_is_taken_and_shows(
    seat: Callable[..., Seat], stage: CityStage
) -> None:
    case = opened(stage, IN_FAR, title="Cover missing")
    page = seat(stage).at()
    drawn(page)
    until(page, lambda: len(spots(page, MATTER)) > 0, "the case is not on the map")
    x, y = max(spots(page, MATTER))  # the easternmost
    page.mouse.click(x, y)
    page.locator(f".card [data-case='{case['case']}']").click()
    dialog = page.locator("#case")
    expect(dialog.locator("h2")).to_have_text("Cover missing")
    expect(dialog.locator(".levels .here")).to_have_text("Grid")
    expect(dialog.locator("[data-clock=accept]")).to_contain_text("left")
    dialog.locator("[data-action=accept]").click()
    dialog.locator("[name=note]").fill("within our power")
    dialog.locator("[data-do=accept]").click()
    first = dialog.locator(".steps li").first
    expect(first).to_contain_text("Accept")
    expect(first).to_contain_text("within our power")
    expect(first).to_contain_text("city, dispatcher")
    expect(dialog.locator("[data-fact=state]")).to_have_text("Accepted, to be dispatched")
    expect(dialog.locator("[data-clock=accept]")).to_contain_text("met")
    expect(page.locator(f"#case-list [data-case='{case['case']}']")).to_contain_text("Accepted")
    dialog.locator("[data-action=dispatch]").click()
    dialog.locator("[data-do=dispatch]").click()
    assert dialog.locator("[name=holder]").evaluate("i => i.matches(':invalid')")  # it asks for a holder
    dialog.locator("[name=holder]").fill("water")
    dialog.locator("[data-do=dispatch]").click()
    expect(dialog.locator("[data-fact=holder]")).to_have_text("Water company")
    with stage.client("city") as client:
        now = client.get(f"/city/cases/{case['case']}").json()
    assert (now["state"], now["version"], now["last_by"]) == ("dispatched", 2, "city")


def test_what_somebody_else_did_meanwhile_is_told_and_shown(
    seat: Callable[..., Seat], desk: CityStage
) -> None:
    case = opened(desk, title="Two at once")
    page = seat(desk).at()
    look(page, case)
    page.locator("#case [data-action=refuse]").click()
    page.locator("#case [name=note]").fill("not ours")
    stepped(desk, case, "city", "accept")
    page.locator("#case [data-do=refuse]").click()
    expect(page.locator("#case [role=alert]")).to_contain_text("Somebody else changed this case first")
    expect(page.locator("#case [data-fact=state]")).to_have_text("Accepted, to be dispatched")
    expect(page.locator("#case .steps")).not_to_contain_text("not ours")


def test_an_illegal_step_is_told_and_a_missing_value_asked_for(
    seat: Callable[..., Seat], desk: CityStage
) -> None:
    case = opened(desk, title="To be given back")
    for who, action, more in (("city", "accept", {}), ("city", "dispatch", {"holder": "water"})):
        case = stepped(desk, case, who, action, **more)
    page = seat(desk, "water").at()
    look(page, case)
    page.locator("#case [data-action=return-request]").click()
    page.locator("#case [name=note]").fill("not a water pipe")
    page.locator("#case [name=approver]").fill("water")
    page.locator("#case [data-do=return-request]").click()
    expect(page.locator("#case [role=alert]")).to_contain_text("cannot approve their own step")
    expect(page.locator("#case [data-fact=state]")).to_have_text("Dispatched, to be signed for")
    video = opened(desk, scenario="video", category="crowd", title="crowd: gathering")
    page = seat(desk, "operator").at()
    page.locator(f"#case-list [data-case='{video['case']}']").click()
    expect(page.locator("#case h2")).to_have_text("Crowd: gathering")
    page.locator("#case [data-action=judge]").click()
    page.locator("#case [data-do=judge]").click()
    assert page.locator("#case input[value=true]").evaluate("i => i.matches(':invalid')")
    page.check("#case input[value=duplicate]")
    page.locator("#case [data-do=judge]").click()
    expect(page.locator("#case [name=other]")).to_be_focused()
    expect(page.locator("#case [role=alert]")).to_contain_text("Something is missing")
    page.check("#case input[value=exercise]")
    page.locator("#case [data-do=judge]").click()
    expect(page.locator("#case [data-fact=marks]")).to_have_text("exercise")


def test_who_has_an_organisation_sees_its_cases_alone(seat: Callable[..., Seat], stage: CityStage) -> None:
    mine = stepped(stage, opened(stage, IN_COMMUNITY2, title="Of the roads"), "city", "accept")
    mine = stepped(stage, mine, "city", "dispatch", holder="roads")
    page = seat(stage, "roads").at()
    drawn(page)
    expect(page.locator("#case-list .case")).to_have_count(1)
    expect(page.locator("#map")).to_have_attribute("data-cases", "1")


def test_filters_and_a_link_to_a_case(seat: Callable[..., Seat], desk: CityStage) -> None:
    case = opened(desk, title="To be found")
    page = seat(desk).at(f"/map#case={case['case']}")
    expect(page.locator("#case h2")).to_have_text("To be found")
    page.keyboard.press("Escape")
    expect(page.locator("#case")).to_be_hidden()
    expect(page).to_have_url(re.compile("/map$"))
    page.click("#scenarios [data-scenario=appeal]")
    expect(page.locator("#cases-empty")).to_have_text("Nothing to do here.")
    page.click("[data-show=overdue]")
    expect(page.locator("#cases-empty")).to_have_text("Nothing is overdue.")
    page.click("#scenarios [data-scenario=matter]")
    page.click("[data-show=open]")
    expect(page.locator("#case-list .case").first).to_contain_text("To be found")


def test_words_of_a_person_are_read_for_a_purpose_that_is_noted(
    seat: Callable[..., Seat], desk: CityStage
) -> None:
    with desk.client("super") as client:
        body = {"scenario": "appeal", "category": "noise", "place": IN_GRID, "title": "Noise at night"}
        answer = client.post(
            "/city/cases", json=body | {"words": {"text": "<b>so loud</b>", "name": "合成人"}}
        )
    assert answer.status_code == 201, answer.text
    page = seat(desk, "clerk1").at()
    look(page, answer.json())
    expect(page.locator("#case")).not_to_contain_text("so loud")
    page.fill("#case [name=purpose]", "call back 7")
    page.press("#case [name=purpose]", "Enter")
    expect(page.locator("#case blockquote")).to_contain_text("<b>so loud</b>")  # as text
    desk.settled()
    for _ in range(100):  # the box's own store takes the note
        looks = [(row.who, row.what) for row in desk.box.access(20) if row.purpose == "call back 7"]
        if looks:
            break
        desk.clock.sleep(0.05)
    assert looks == [("clerk1", "words")]


LATIN = """() => [...document.querySelectorAll(
    "[data-i18n], #layers label, .segmented button, .figures dt, .tag, .case .muted, #case h3, #case dt, " +
    "#case .buttons button, #case .levels li, #case .steps strong, #case .clocks li, #case .field span")]
  .map((n) => n.textContent.replace(/(community|grid) \\w+/g, ""))
  .filter((text) => /[A-Za-z]{3}/.test(text))"""


def test_both_languages_on_the_page(seat: Callable[..., Seat], stage: CityStage) -> None:
    case = stepped(stage, opened(stage, title="井盖丢失"), "city", "accept")
    page = seat(stage, locale="zh-CN").at()
    drawn(page)
    look(page, case)
    expect(page.locator("#case [data-fact=state]")).to_have_text("已立案")
    page.locator("#case [data-action=dispatch]").click()
    assert page.evaluate(LATIN) == []
    page.keyboard.press("Escape")
    page.click("[data-language=en]")
    expect(page.locator("#inbox-title")).to_have_text("Inbox")
    expect(page.locator("#layers")).to_contain_text("City components")
    look(page, case)
    expect(page.locator("#case [data-action=dispatch]")).to_have_text("Dispatch")


def test_words_for_all_that_the_desk_can_say(seat: Callable[..., Seat], desk: CityStage) -> None:
    page = seat(desk).at()
    texts = page.evaluate(
        """async () => { await import("/static/citytexts.js");
        return (await import("/static/i18n.js")).TEXTS; }"""
    )
    packs = shipped().values()
    marks = {m for p in packs for a in p.actions for m in (*a.mark, *(m for g in a.choose for m in g))}
    needs = {need for p in packs for a in p.actions for need in (*a.needs, *a.optional)}
    own = {f"case.{need}" for need in get_args(Need) if need in needs and need not in ("due", "sealed")}
    wanted = {f"mark.{mark}" for mark in marks} | {f"level.{level}" for level in LEVELS} | own
    wanted |= {f"unit.{kind}" for kind in get_args(ClockKind)}
    wanted |= {f"role.{role}" for role in (*ROLES, SYSTEM)}
    wanted |= {f"layer.{kind}" for kind in KINDS if kind != "duty"}  # which has no place
    assert len(marks) > 20
    assert wanted - set(texts) == set()
    for pack in packs:
        things: tuple[Any, ...] = (*pack.states.values(), *pack.actions, *pack.clocks.values(), pack)
        assert all(thing.title and thing.title_zh for thing in things), pack.id


def test_without_the_maps_library_the_page_says_so_and_the_inbox_works(
    seat: Callable[..., Seat], desk: CityStage
) -> None:
    case = opened(desk, title="Seen all the same")
    page = seat(desk).at()
    expect(page.locator("#map-note")).to_contain_text("linli map-library")
    look(page, case)
    page.locator("#case [data-action=accept]").click()
    page.locator("#case [data-do=accept]").click()
    expect(page.locator("#case [data-fact=state]")).to_have_text("Accepted, to be dispatched")


def test_the_way_in_and_between_the_rooms(seat: Callable[..., Seat], desk: CityStage) -> None:
    stranger = seat(desk, "").at()
    expect(stranger.locator("#signin")).to_be_visible()  # of the page that asks who it is
    stranger.fill("#signin [name=token]", token_of("clerk1"))
    stranger.press("#signin [name=token]", "Enter")
    expect(stranger.locator("#inbox-title")).to_be_visible()  # a clerk has no other room
    expect(stranger.locator(".rooms")).to_be_hidden()
    stranger.click("#signout")
    expect(stranger.locator("#signin")).to_be_visible()
    page = seat(desk, "room").at("/")
    page.click(".rooms a[href='/map']")
    expect(page.locator("#inbox-title")).to_be_visible()
    page.click(".rooms a[href='/']")
    expect(page.locator("#alerts-title")).to_be_visible()
    gate = seat(desk, "gate").at("/")
    expect(gate.locator("#alerts-title")).to_be_visible()
    expect(gate.locator(".rooms")).to_be_hidden()


def test_on_a_telephone_nothing_is_cut_off(seat: Callable[..., Seat], stage: CityStage) -> None:
    case = opened(stage, title="A title that is quite long for a narrow screen, and says it twice " * 2)
    page = seat(stage, viewport={"width": 390, "height": 800}, has_touch=True).at()
    drawn(page)
    wide = "() => [document.documentElement.scrollWidth, document.querySelector('#case').scrollWidth]"
    assert page.evaluate(wide)[0] <= 390
    page.locator(f"#case-list [data-case='{case['case']}']").click()
    expect(page.locator("#case h2")).to_be_visible()
    page.locator("#case [data-action=accept]").click()
    assert max(page.evaluate(wide)) <= 390


POLICY = """async () => {
  const { mapLibrary } = await import("/static/maplibrary.js");
  if (!trustedTypes.defaultPolicy) await mapLibrary();
  const tried = {
    worker: () => new Worker("/static/app.js"),
    script: () => { document.createElement("script").src = "/static/app.js"; },
    markup: () => { document.createElement("p").innerHTML = "<b>x</b>"; },
    code: () => { document.createElement("script").textContent = "1"; },
  };
  return Object.entries(tried).filter(([, go]) => { try { go(); return true; } catch { return false; } })
    .map(([name]) => name);
}"""


def test_the_policy_lets_in_the_library_and_nothing_else(browser: Browser, stage: CityStage) -> None:
    one = Seat(browser, stage)  # its faults are what is tried
    page = one.at()
    drawn(page)
    assert page.evaluate(POLICY) == []
    one.context.close()
    with httpx.Client(base_url=stage.url) as client:
        foreign = {"sec-fetch-site": "cross-site"}
        page_of = [client.get(path, headers=foreign) for path in ("/", "/map")]
        assert [answer.status_code for answer in page_of] == [200, 200]
        assert client.get("/static/city.js", headers=foreign).status_code == 403
        policies = {answer.headers["content-security-policy"] for answer in page_of}
    (policy,) = policies
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "worker-src" not in policy  # so that default-src or script-src 'self' holds
