"""The page with domes, face cameras and sensors: views, judgements and why, faults, values, captures."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import msgspec
import numpy as np
import pytest

from console.access import Grant, PrivacySettings
from console.site import CameraView
from events.events import AlertRaised, FaceCaptured, Health, Judged, Reading, ViewChanged, sensor_source
from storage.captures import FacesSettings
from storage.sealing import seal
from tests.console_stage import SITE, Stage
from tests.facekeys import IDENTITY, PASSPHRASE, RECIPIENT
from tests.test_page import Visit, browser  # noqa: F401  skips without Chromium

from playwright.sync_api import Browser, Page, expect  # isort: skip

ALL = PrivacySettings(
    grant=(Grant(who="demo viewer", loopback=True, rights=("alerts", "faces", "judge", "plain")),)
)
DOOR = CameraView(id="door", name="Entrance", kind="face", stream="main")
TOWN = msgspec.structs.replace(SITE, cameras=(*SITE.cameras, DOOR))
SECOND = 1_000_000


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("kinds")
    identity = folder / "identity.age"
    identity.write_bytes(IDENTITY)
    identity.chmod(stat.S_IRUSR | stat.S_IWUSR)
    faces = FacesSettings(originals="sealed", recipient=RECIPIENT, identity=str(identity))
    with Stage(folder, ALL, TOWN, faces=faces, identity=identity) as stage:
        (stage.objects / "faces/door").mkdir(parents=True)
        yield stage


@pytest.fixture
def visit(browser: Browser, stage: Stage) -> Iterator[Page]:  # noqa: F811
    visit = Visit(browser, stage)
    expect(visit.page.locator("#push")).to_have_attribute("data-state", "pushOn")
    yield visit.page
    visit.leave()


def alert(stage: Stage, name: str, kind: Any = "anomaly", **more: Any) -> AlertRaised:
    now = stage.clock.wall_us()
    fields: dict[str, Any] = {"rule": "unusual", "severity": "minor", "label": "bicycle", "since_us": now}
    return AlertRaised(alert=name, kind=kind, **(fields | more))


def grey(path: Path) -> None:
    cv2.imwrite(str(path), np.full((90, 160, 3), 90, np.uint8))


DRAWN = """() => { const c = document.querySelector("[data-camera=plaza] canvas");
  const g = new OffscreenCanvas(c.width, c.height).getContext("2d", { willReadFrequently: true });
  g.drawImage(c, 0, 0);
  const { data } = g.getImageData(0, 0, c.width, c.height);
  const index = (x, y) => Math.round(y * (c.height - 1)) * c.width + Math.round(x * (c.width - 1));
  const at = (x, y) => data[index(x, y) * 4 + 3];
  return { lane: at(0.3, 0.5) > 0, kerb: at(0.25, 0.25) > 0 }; }"""


def test_a_dome_shows_its_preset_and_only_that_presets_rules(visit: Page, stage: Stage) -> None:
    tag = visit.locator("[data-camera=plaza] .view")
    expect(tag).to_have_text("unknown view")
    assert visit.evaluate(DRAWN) == {"lane": False, "kerb": False}
    stage.happens(ViewChanged(state="settled", preset="road", score=0.9), "plaza")
    expect(tag).to_have_text("Ring road", timeout=2500)
    assert visit.evaluate(DRAWN) == {"lane": True, "kerb": False}
    stage.happens(ViewChanged(state="moving", was="road"), "plaza")
    expect(tag).to_have_text("moving", timeout=2500)
    assert visit.evaluate(DRAWN) == {"lane": False, "kerb": False}
    stage.happens(ViewChanged(state="settled", preset="steps", score=0.9), "plaza")
    expect(tag).to_have_text("Steps", timeout=2500)
    assert visit.evaluate(DRAWN) == {"lane": False, "kerb": True}
    stage.settled()
    visit.reload()
    expect(tag).to_have_text("Steps")
    expect(visit.locator("[data-camera=plaza] .kind")).to_have_text("pan-tilt-zoom")
    expect(visit.locator("[data-camera=gate] .view")).to_have_count(0)


VIEWS = """async () => {
  const { Tile } = await import("/static/tile.js");
  const rules = [{ name: "a", kind: "zone", preset: "a", polygon: [] }];
  const tile = { camera: { kind: "dome", rules }, views: [{ state: "settled", preset: "a" },
    { state: "moving", preset: "", epoch: 7, pts: 900 },
    { state: "settled", preset: "a", epoch: 7, pts: 1800 }] };
  tile.view = Tile.prototype.view.bind(tile);
  return [[7, 100], [7, 900], [7, 1799], [7, 1800], [8, 5]].map(([epoch, pts]) => {
    tile.moment = { epoch, pts };
    return Tile.prototype.rules.call(tile).length;
  });
}"""


def test_rules_follow_the_picture_that_is_shown_not_the_event_that_came_before_it(visit: Page) -> None:
    assert visit.evaluate(VIEWS) == [1, 0, 0, 1, 1]


FIGURES: dict[str, float | str] = {
    "attribute": "speed",
    "value": 6.1,
    "unit": "m/s",
    "usual_low": 0.8,
    "usual_high": 1.9,
    "percentile": 99.8,
    "days": 14.0,
    "label": "bicycle",
    "group": "bicycle",
    "why": "a bicycle at 6.1 m/s where 0.8 to 1.9 m/s is usual; 99.8th percentile of 14 days",
}


def test_why_is_said_in_the_readers_language_from_the_alerts_own_figures(visit: Page, stage: Stage) -> None:
    stage.happens(alert(stage, "why1", detail=FIGURES))
    turned = FIGURES | {"attribute": "direction", "value": 271.0, "unit": "deg", "why": "against the others"}
    stage.happens(alert(stage, "why2", detail=turned))
    dry = {"value": 0.2, "limit": 0.5, "unit": "m", "why": "level is 0.2 m, below the limit of 0.5 m"}
    stage.happens(
        alert(stage, "why3", "threshold", label="level", detail=dry), source=sensor_source("demo", "pump")
    )
    said = visit.locator("[data-alert=why1] .why")
    expect(said).to_have_text(str(FIGURES["why"]), timeout=2500)
    visit.click("[data-language=zh-CN]")
    expect(said).to_have_text("自行车速度 6.1 m/s，此处通常为 0.8～1.9 m/s；比 14 天内 99.8% 的情况更少见")
    expect(visit.locator("[data-alert=why2] .why")).to_contain_text("向左行进（271°）")
    expect(visit.locator("[data-alert=why3] .why")).to_have_text("数值 0.2 m，低于下限 0.5 m")
    expect(visit.locator("[data-alert=why3] .what").first).to_contain_text("Pump house")
    visit.click("[data-language=en]")
    visit.locator("[data-alert=why1]").click()
    expect(visit.locator("#detail .sentence")).to_have_text(str(FIGURES["why"]))
    expect(visit.locator("#detail .facts")).to_contain_text("Value")


def test_a_judgement_is_kept_shown_and_seen_by_others(visit: Page, stage: Stage) -> None:
    stage.happens(alert(stage, "judge1"))
    row = visit.locator("li:has([data-alert=judge1])")
    row.locator("[data-verdict=false]").click(timeout=3000)
    expect(row.locator("[data-verdict=false]")).to_have_attribute("aria-pressed", "true")
    stage.settled()
    kept = stage.store.alert("judge1")
    assert kept is not None
    assert (kept.verdict, kept.judged_by) == ("false", "demo viewer")
    other = Judged(alert="judge1", rule="unusual", verdict="ignore", who="night desk", note="cats")
    stage.happens(other)
    expect(row.locator("[data-verdict=ignore]")).to_have_attribute("aria-pressed", "true", timeout=2500)
    expect(row.locator("[data-verdict=false]")).to_have_attribute("aria-pressed", "false")
    visit.locator("[data-alert=judge1]").click()
    dialog = visit.locator("#detail")
    expect(dialog.locator(".facts")).to_contain_text("Ignore here, by night desk")
    expect(dialog.locator(".judge input")).to_have_value("cats")
    dialog.locator(".judge input").fill("it was a fox")
    dialog.locator("[data-verdict=true]").click()
    expect(dialog.locator("[data-verdict=true]")).to_have_attribute("aria-pressed", "true")
    stage.settled()
    kept = stage.store.alert("judge1")
    assert kept is not None
    assert (kept.verdict, kept.judged_note) == ("true", "it was a fox")


def test_who_may_not_judge_has_no_buttons(browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    watcher = PrivacySettings(grant=(Grant(who="watcher", loopback=True, rights=("alerts",)),))
    with Stage(tmp_path, watcher, TOWN) as stage:
        stage.happens(alert(stage, "a1"))
        stage.settled()
        visit = Visit(browser, stage)
        expect(visit.page.locator("[data-alert=a1]")).to_be_visible()
        expect(visit.page.locator(".verdict")).to_have_count(0)
        expect(visit.page.locator("#faces")).to_be_hidden()
        visit.leave()


def test_a_joint_alert_lists_what_it_is_made_of(visit: Page, stage: Stage) -> None:
    stage.happens(alert(stage, "part1", "intrusion", rule="roadway", label="person"))
    stage.happens(
        alert(stage, "part2", "threshold", rule="lid", label="open"),
        source=sensor_source("demo", "manhole-7"),
    )
    joint = alert(
        stage,
        "joint1",
        "joint",
        rule="open-and-occupied",
        label="",
        place=(121.4737, 31.2304),
        causes=("part1", "part2"),
        detail={"why": "roadway and lid at the same time"},
    )
    stage.happens(joint, source="/demo/joint/open-and-occupied")
    card = visit.locator("[data-alert=joint1]")
    expect(card).to_contain_text("Several at once", timeout=2500)
    expect(card).to_contain_text("no picture")
    card.click()
    expect(visit.locator("[data-cause=part1]")).to_contain_text("Intrusion · North gate · roadway")
    expect(visit.locator("#detail .facts")).to_contain_text("31.230400, 121.473700")
    visit.click("[data-cause=part2]")
    expect(visit.locator("#detail h2")).to_have_text("Over the limit · Manhole 7")
    expect(visit.locator("#detail .stage")).to_be_hidden()


def test_a_fault_shows_before_and_after_and_stays_when_mended(visit: Page, stage: Stage) -> None:
    fault = stage.happens(Health(what="covered", state="raised", message="covered; clean the lens"), "plaza")
    row = visit.locator("[data-fault='plaza/covered']")
    expect(row).to_contain_text("clean the lens", timeout=2500)
    for when in ("before", "after"):
        grey(stage.objects / f"health/{fault.id}-{when}.jpg")
    expect(row.locator("figure img")).to_have_count(2, timeout=6000)
    expect(row.locator("[data-when=before] img")).to_have_js_property("naturalWidth", 160)
    stage.happens(Health(what="covered", state="cleared", message="the lens is clear"), "plaza")
    expect(row).to_contain_text("mended", timeout=2500)
    stage.settled()
    visit.reload()
    expect(row.locator("figure img")).to_have_count(2)


def test_what_is_wrong_with_box_and_broker_is_shown_and_in_chinese(visit: Page, stage: Stage) -> None:
    box, broker = "/demo/box/b1", "mqtt broker.example:8883"
    stage.happens(Health(what=broker, state="raised", message="mend `credentials`"), source=box)
    row = visit.locator(f"[data-fault='{box}/{broker}']")
    expect(row).to_contain_text("This box · broker", timeout=2500)
    expect(row).to_contain_text("mend `credentials`")
    stage.happens(Health(what="shaken", state="raised", message="shaken; fasten it"), "gate")
    stage.settled()
    visit.reload()
    visit.click("[data-language=zh-CN]")
    expect(row).to_contain_text("本机 · 消息代理")
    expect(row).to_contain_text("将自动重试（mend `credentials`）")
    expect(visit.locator("[data-fault='gate/shaken'] p").first).to_have_text("画面持续抖动，请紧固支架")
    visit.click("[data-language=en]")
    expect(visit.locator("[data-fault='gate/shaken'] p").first).to_have_text("shaken; fasten it")


def test_a_joint_alert_says_why_in_chinese(visit: Page, stage: Stage) -> None:
    detail = {"apart_s": 3.5, "why": "English", "part_1": "open of sensor a", "part_2": "road of camera b"}
    data = alert(stage, "joint2", "joint", rule="both", label="cover + person", detail=detail)
    stage.happens(data, source="/demo/joint/both")
    card = visit.locator("[data-alert=joint2] .why")
    expect(card).to_have_text("English", timeout=2500)
    visit.click("[data-language=zh-CN]")
    expect(card).to_have_text("open of sensor a、road of camera b 同时发生，起始相差 3.5 秒")
    visit.click("[data-language=en]")


def test_sensors_show_value_age_line_and_open_alert(visit: Page, stage: Stage) -> None:
    now = stage.clock.wall_us()
    for n in range(20):
        data = Reading(quantity="level", value=n / 10, unit="m", received_us=now)
        stage.happens(data, time_us=now - (20 - n) * 60 * SECOND, source=sensor_source("demo", "manhole-7"))
    card = visit.locator("[data-sensor=manhole-7]")
    expect(card.locator(".value b")).to_have_text("1.9 m", timeout=3500)
    expect(card).to_contain_text("manhole/7 · Plaza · kerb")
    expect(card.locator("[data-time]")).to_have_text(re.compile(r"6\d s ago"))
    expect(visit.locator("[data-sensor=pump]")).to_contain_text("No reading yet")
    stage.settled()
    visit.reload()
    line = card.locator("path")
    expect(line).to_be_attached()
    steps = len(re.findall("H", line.get_attribute("d") or ""))
    assert steps == 19
    data = Reading(quantity="level", value=7.5, unit="m", received_us=now)
    stage.happens(data, source=sensor_source("demo", "manhole-7"))
    expect(card.locator(".value b")).to_have_text("7.5 m", timeout=3500)
    stage.happens(
        alert(stage, "flood", "threshold", rule="high-water", label="level"),
        source=sensor_source("demo", "manhole-7"),
    )
    expect(card).to_have_class(re.compile("alarm"), timeout=2500)
    card.locator(".alarm-link", has_text="high-water").click()
    expect(visit.locator("#detail h2")).to_have_text("Over the limit · Manhole 7")


def captured(stage: Stage, name: str) -> None:
    """A capture with its crop and its sealed original."""
    now = stage.clock.wall_us()
    key = f"faces/door/{name}"
    grey(stage.objects / f"{key}.jpg")
    original = cv2.imencode(".jpg", np.full((64, 48, 3), 200, np.uint8))[1].tobytes()
    (stage.objects / f"{key}.age").write_bytes(seal(original, RECIPIENT))
    data = FaceCaptured(
        capture=name,
        track=1,
        since_us=now,
        until_us=now,
        at_us=now,
        box=(0.4, 0.4, 0.5, 0.6),
        quality=0.82,
        picture=f"{key}.jpg",
        sealed=f"{key}.age",
    )
    stage.happens(data, "door")


def test_faces_are_held_counted_opened_for_a_purpose_and_deleted(visit: Page, stage: Stage) -> None:
    panel = visit.locator("#faces")
    expect(panel).to_contain_text("No captures.")
    captured(stage, "face1")
    tile = visit.locator("[data-capture=face1]")
    expect(tile.locator("img")).to_be_visible(timeout=6000)
    holding = visit.locator("#faces-holding")
    expect(holding).to_contain_text("1 pictures held")
    expect(holding).to_contain_text("100,000 persons")
    expect(holding).to_contain_text("A capture is not a person")
    tile.click()
    dialog = visit.locator("#face-dialog")
    shown = dialog.locator(".stage img")
    expect(shown).to_have_js_property("naturalWidth", 160)
    dialog.locator("[name=purpose]").fill("report 12")
    dialog.locator("[name=passphrase]").fill(PASSPHRASE)
    dialog.locator("[type=submit]").click()
    expect(shown).to_have_js_property("naturalWidth", 48)
    expect(dialog.locator("[name=passphrase]")).to_have_value("")
    stage.settled()
    looks = [(row.what, row.object, row.purpose) for row in stage.store.access(20) if row.plain]
    assert ("original", "face1", "report 12") in looks
    dialog.get_by_text("Delete this capture").click()
    dialog.get_by_text("Press again").click()
    expect(dialog).to_be_hidden()
    expect(tile).to_contain_text("deleted", timeout=6000)
    expect(holding).to_contain_text("0 pictures held")
    assert not (stage.objects / "faces/door/face1.jpg").exists()


def test_captures_are_pushed_only_to_who_may_see_them(stage: Stage, tmp_path: Path) -> None:
    def families(at: Stage) -> list[str]:
        at.journal.flush()
        before = at.journal.last_offset()
        captured(at, "face2")
        at.happens(Health(what="black", state="note", message="looked"))
        found = []
        with (
            httpx.Client(base_url=at.url) as client,
            client.stream("GET", f"/events?after={before}") as stream,
        ):
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    found.append(line.removeprefix("event: "))
                if line == "event: health":
                    return found
        return found

    assert "face" in families(stage)
    watcher = PrivacySettings(grant=(Grant(who="watcher", loopback=True, rights=("alerts",)),))
    with Stage(tmp_path, watcher, TOWN) as locked:
        (locked.objects / "faces/door").mkdir(parents=True)
        assert families(locked) == ["hello", "health"]


def test_pictures_of_captures_that_are_not_listed_any_more_are_let_go(visit: Page, stage: Stage) -> None:
    """The page stays open for weeks."""
    captured(stage, "face7")
    stage.settled()
    kept = """async () => {
        const { Faces } = await import("/static/faces.js");
        window.faces = new Faces({ name: (id) => id, may: () => true });
        await window.faces.load();
        const before = window.faces.images.has("face7");
        window.faces.answer = { ...window.faces.answer, faces: [] };
        window.faces.show();
        return [before, window.faces.images.size];
    }"""
    assert visit.evaluate(kept) == [True, 0]
