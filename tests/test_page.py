"""The page in a real Chromium, with a real console behind it and cameras that run meanwhile."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from console.site import CameraView, SiteView
from events.events import AlertCleared, AlertRaised, Crossing, Health, Interval
from tests.clipmaker import make_clip
from tests.console_stage import DESK_TOKEN, LOCKED, SITE, Stage

STATIC = Path(__file__).parents[1] / "console" / "static"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
MUST = os.environ.get("LINLI_REQUIRE_SERVERS") == "1"

if not MUST:
    pytest.importorskip("playwright", reason="the browser's driver is not installed (pip install playwright)")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM} (apt install chromium)", allow_module_level=True)

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright  # noqa: E402

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=24)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Stage]:
    """One that most tests share: the gate's camera runs, the plaza's never did."""
    with Stage(tmp_path_factory.mktemp("page")) as stage:
        stage.camera_runs("gate", clip, segment_s=3)
        yield stage


class Visit:
    """A page, with all that it should not have done."""

    def __init__(self, browser: Browser, stage: Stage, locale: str = "en-GB") -> None:
        self.faults: list[str] = []
        self.context = browser.new_context(locale=locale, viewport={"width": 1400, "height": 900})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(8000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"threw {error}"))
        self.page.on("request", lambda request: self._asked(request.url, stage.url))
        self.page.goto(stage.url)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _asked(self, url: str, ours: str) -> None:
        if not url.startswith((ours, "blob:" + ours)):
            self.faults.append(f"asked for {url}")

    def leave(self) -> None:
        self.context.close()
        assert self.faults == []


@pytest.fixture
def visit(browser: Browser, stage: Stage) -> Iterator[Page]:
    visit = Visit(browser, stage)
    yield visit.page
    visit.leave()


def raised(stage: Stage, name: str, **more: Any) -> AlertRaised:
    now = stage.clock.wall_us()
    fields: dict[str, Any] = {
        "alert": name,
        "rule": "lawn",
        "kind": "intrusion",
        "severity": "major",
        "label": "person",
        "tracks": (1,),
        "box": (0.6, 0.5, 0.7, 0.9),
        "since_us": now - 2_000_000,
        "detail": {"dwell_s": 2.0},
    }
    return AlertRaised(**(fields | more))


PLAYS = """async (gate) => {
  const video = document.querySelector(`[data-camera=${gate}] video`);
  for (let i = 0; i < 100 && video.readyState < 3; i++) await new Promise((r) => setTimeout(r, 100));
  const from = video.currentTime;
  await new Promise((r) => setTimeout(r, SECONDS * 1000));
  const end = video.buffered.length ? video.buffered.end(video.buffered.length - 1) : 0;
  return { passed: video.currentTime - from, ahead: end - video.currentTime, ranges: video.buffered.length };
}"""


def plays(page: Page, seconds: float, camera: str = "gate") -> dict[str, float]:
    page.wait_for_selector(f"[data-camera={camera}] video")
    found: dict[str, float] = page.evaluate(PLAYS.replace("SECONDS", str(seconds)), camera)
    return found


def reaches(video: Locator, seconds: float) -> None:
    """Wait until a clip has played so far. The page's policy forbids Playwright's own way."""
    for _ in range(60):
        if video.evaluate("v => v.currentTime") > seconds:
            return
        video.page.wait_for_timeout(100)
    raise AssertionError(f"the clip stands at {video.evaluate('v => v.currentTime')} s")


def test_live_video_plays_on_over_segment_borders_near_the_live_edge(visit: Page) -> None:
    found = plays(visit, 5)
    assert 4.3 < found["passed"] < 6
    assert 0 < found["ahead"] < 3
    assert found["ranges"] == 1
    tile = visit.locator("[data-camera=gate]")
    expect(tile.locator(".note")).to_be_hidden()
    expect(tile.locator(".tags")).to_contain_text("connected")
    expect(tile.locator(".tags")).to_contain_text("lazy")
    expect(tile.locator(".tags")).to_contain_text("awake")
    expect(tile.locator(".lag")).to_contain_text(re.compile(r"live −[0-4]\.\d s"))
    expect(visit.locator("[data-camera=plaza] .note")).to_contain_text("No video from this camera yet")


# In one row across the walker: where the video shows its checks, and where the canvas over it is opaque over
# a stretch (the blurred box; lines are thin and zones let through). Fractions of the width.
ROW = """() => new Promise((resolve) => {
  const tile = document.querySelector("[data-camera=gate]");
  const video = tile.querySelector("video");
  const canvas = tile.querySelector("canvas");
  const copy = new OffscreenCanvas(320, 180);
  const rows = [];
  const step = () => {
    const g = copy.getContext("2d", { willReadFrequently: true });
    g.drawImage(video, 0, 0, 320, 180);
    const sharp = [];
    for (let x = 0; x < 320; x++) {
      const column = g.getImageData(x, 70, 1, 60).data.filter((_, i) => i % 4 === 0);
      if (Math.max(...column) - Math.min(...column) > 90) sharp.push(x / 320);
    }
    const middle = Math.round(canvas.height * 100 / 180);
    const over = new OffscreenCanvas(canvas.width, 1).getContext("2d", { willReadFrequently: true });
    over.drawImage(canvas, 0, -middle);
    const line = over.getImageData(0, 0, canvas.width, 1).data;
    let best = [0, 0], start = 0;
    for (let x = 0; x <= canvas.width; x++) {
      if (x === canvas.width || line[x * 4 + 3] < 255) {
        if (x - start > best[1] - best[0]) best = [start, x];
        start = x + 1;
      }
    }
    rows.push({ sharp: [sharp[0], sharp.at(-1)], opaque: best.map((x) => x / canvas.width) });
    if (rows.length === 12) resolve(rows); else video.requestVideoFrameCallback(step);
  };
  video.requestVideoFrameCallback(step);
})"""


def test_boxes_lie_on_the_people_of_the_very_frame_that_is_shown(visit: Page) -> None:
    plays(visit, 0.5)
    rows = visit.evaluate(ROW)
    walker = 30 / 320
    hidden = [
        row
        for row in rows
        if row["opaque"][0] <= row["sharp"][0] + 0.012 and row["opaque"][1] >= row["sharp"][1] - 0.012
    ]
    assert len(hidden) >= 10, rows
    assert all(row["opaque"][1] - row["opaque"][0] < 1.5 * walker for row in hidden)
    assert hidden[0]["opaque"][0] != hidden[-1]["opaque"][0]


FAINT = """async () => {
  const { Overlay, Trace } = await import("/static/overlay.js");
  const trace = new Trace();
  const faint = [{ label: "person", box: [100, 40, 140, 80] }, { label: "car", box: [10, 120, 50, 160] }];
  trace.add({ epoch: 7, pts: 90000, tracks: [], faint });
  trace.add({ epoch: 7, pts: 108000, tracks: [] });
  const canvas = document.createElement("canvas");
  canvas.style = "position: fixed; width: 320px; height: 180px";
  document.body.append(canvas);
  const picture = document.createElement("canvas");
  Object.assign(picture, { width: 320, height: 180 });
  const p = picture.getContext("2d");
  for (let x = 0; x < 320; x += 2) p.fillRect(x, 0, 1, 180);
  p.globalCompositeOperation = "destination-over";
  p.fillStyle = "white";
  p.fillRect(0, 0, 320, 180);
  new Overlay(canvas, { rules: [] }).draw(picture, [320, 180], trace.tracksAt(7, 100000),
    trace.faintAt(7, 100000), () => [], new Set(["person"]));
  const k = canvas.width / 320;
  const size = [canvas.width, canvas.height];
  const copy = new OffscreenCanvas(...size).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const pixel = (x, y) => [...copy.getImageData(x * k, y * k, 1, 1).data];
  const answer = { person: pixel(120, 60), around: pixel(85, 25), car: pixel(30, 140),
    near: [50000, 134000, 136000].map((t) => trace.faintAt(7, t).length),
    other: trace.faintAt(8, 90000).length };
  canvas.remove();
  return answer;
}"""


def test_who_is_detected_but_not_tracked_is_blurred_and_not_drawn(visit: Page) -> None:
    """The blur is grey where the picture is striped black and white; a drawn box would be coloured."""
    found = visit.evaluate(FAINT)
    for place in ("person", "around"):
        red, green, blue, alpha = found[place]
        assert alpha == 255
        assert red == green == blue
    assert found["car"][3] == 0
    assert (found["near"], found["other"]) == ([2, 2, 0], 0)


def test_blurring_can_be_turned_off_and_the_overlay_stays(visit: Page) -> None:
    plays(visit, 0.5)
    visit.uncheck("#blur")
    visit.wait_for_timeout(400)
    rows = visit.evaluate(ROW)
    assert all(row["opaque"][1] - row["opaque"][0] < 0.03 for row in rows)
    drawn = visit.evaluate(
        """() => { const c = document.querySelector("[data-camera=gate] canvas");
        const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
        return data.filter((v, i) => i % 4 === 3 && v).length }"""
    )
    assert drawn > 5000


def test_an_alert_appears_by_push_its_picture_and_clip_follow_and_it_clears(
    visit: Page, stage: Stage
) -> None:
    expect(visit.locator("#push")).to_have_attribute("data-state", "pushOn")
    stage.happens(raised(stage, "push1"))
    card = visit.locator("[data-alert=push1]")
    expect(card).to_be_visible(timeout=2500)
    expect(card).to_contain_text("Intrusion")
    expect(card).to_contain_text("picture follows")
    expect(visit.locator("[data-camera=gate]")).to_have_class(re.compile("alarm"))
    cv2.imwrite(str(stage.objects / "pictures/push1.jpg"), np.full((90, 160, 3), 90, np.uint8))
    expect(card.locator("img")).to_be_visible(timeout=6000)
    card.click()
    dialog = visit.locator("#detail")
    expect(dialog).to_contain_text("The clip follows")
    make_clip(stage.objects / "clips/push1.mp4", seconds=2)
    video = dialog.locator("video")
    expect(video).to_be_visible(timeout=5000)
    reaches(video, 0.5)
    assert video.evaluate("v => v.duration") == pytest.approx(2, abs=0.3)
    visit.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    stage.happens(AlertCleared(alert="push1", rule="lawn", reason="left", until_us=stage.clock.wall_us()))
    expect(card).to_contain_text("Cleared", timeout=2500)


def test_counts_run_at_once_and_are_the_same_after_a_reload(visit: Page, stage: Stage) -> None:
    figure = visit.locator("[data-figure=figureCrossings] dd")
    expect(visit.locator("#push")).to_have_attribute("data-state", "pushOn")
    before = int(figure.inner_text())
    for n in range(5):
        way = "in" if n < 3 else "out"
        stage.happens(Crossing(rule="door", direction=way, label="person", track=n, at=(0.5, 0.5)))  # type: ignore[arg-type]
    expect(figure).to_have_text(str(before + 5), timeout=2500)
    tally = visit.locator("[data-camera=gate] .tally.line").inner_text()
    minute = stage.clock.wall_us() // 60_000_000 * 60_000_000
    stage.happens(
        Interval(
            rule="door", start_us=minute, end_us=minute + 60_000_000, counts={"in.person": 3}, observed_s=60
        )
    )
    expect(visit.locator("[data-rule='gate/door'] rect").first).to_be_attached(timeout=2500)
    stage.settled()
    visit.reload()
    expect(visit.locator("#push")).to_have_attribute("data-state", "pushOn")
    visit.wait_for_timeout(800)  # what was counted already would be pushed now
    expect(figure).to_have_text(str(before + 5))
    assert visit.locator("[data-camera=gate] .tally.line").inner_text() == tally


def test_trouble_is_said_on_the_cameras_tile(visit: Page, stage: Stage) -> None:
    expect(visit.locator("#push")).to_have_attribute("data-state", "pushOn")
    tile = visit.locator("[data-camera=plaza]")
    stage.happens(Health(what="connection", state="raised", message="no answer; check its power"), "plaza")
    expect(tile).to_contain_text("no answer; check its power", timeout=2500)
    expect(tile).to_contain_text("no connection")
    stage.happens(Health(what="connection", state="cleared", message="answers again"), "plaza")
    expect(tile).not_to_contain_text("no answer", timeout=2500)


def test_filters_and_words_for_nothing_found(visit: Page, stage: Stage) -> None:
    stage.happens(raised(stage, "filter1", kind="crowd"), "plaza")
    card = visit.locator("[data-alert=filter1]")
    expect(card).to_be_visible()
    visit.select_option("#filter-kind", "crowd")
    visit.select_option("#filter-camera", "plaza")
    expect(visit.locator(".alert")).to_have_count(1)
    visit.click("[data-open=false]")
    expect(visit.locator("#alerts-empty")).to_have_text("No alert matches these filters.")
    stage.happens(
        AlertCleared(alert="filter1", rule="lawn", reason="dispersed", until_us=stage.clock.wall_us()),
        "plaza",
    )
    expect(card).to_be_visible(timeout=3000)


def test_what_events_say_is_text_and_never_markup(visit: Page, stage: Stage) -> None:
    expect(visit.locator("#push")).to_have_attribute("data-state", "pushOn")
    evil = "<img src=x onerror=alert(1)>"
    stage.happens(raised(stage, "evil1", rule=evil, label=evil, detail={evil: evil}))
    card = visit.locator("[data-alert=evil1]")
    expect(card).to_contain_text(evil)
    card.click()
    expect(visit.locator("#detail .facts")).to_contain_text(evil)
    assert visit.locator("img[src=x]").count() == 0


def test_a_plain_look_states_its_purpose_and_is_noted(visit: Page, stage: Stage) -> None:
    plays(visit, 3)
    now = stage.clock.wall_us()
    stage.happens(raised(stage, "plain1", since_us=now - 3_000_000), time_us=now - 2_000_000)
    visit.locator("[data-alert=plain1]").click()
    visit.fill("#detail [name=purpose]", "report 7")
    stage.settled()
    visit.click("#detail button[value=picture]")
    expect(visit.locator("#detail .stage img")).to_be_visible()
    assert visit.locator("#detail .stage img").evaluate("i => [i.naturalWidth, i.naturalHeight]") == [
        320,
        180,
    ]
    visit.click("#detail button[value=clip]")
    reaches(visit.locator("#detail .stage video"), 0.3)
    expect(visit.locator("#detail .plain [role=status]")).to_contain_text("This look was logged")
    stage.settled()
    looks = [
        (row.what, row.purpose) for row in stage.store.access(20) if row.plain and row.object == "plain1"
    ]
    assert looks == [("clip", "report 7"), ("snapshot", "report 7")]


def test_nobody_polls_when_nobody_watches(browser: Browser, stage: Stage) -> None:
    visit = Visit(browser, stage)
    plays(visit.page, 0.2)
    assert stage.app.state.console.live == 2
    visit.leave()
    for _ in range(100):
        if (stage.app.state.console.live, stage.app.state.console.pushes) == (0, 0):
            break
        stage.clock.sleep(0.05)
    assert (stage.app.state.console.live, stage.app.state.console.pushes) == (0, 0)


def test_chinese_by_the_browsers_language_and_by_the_switch(browser: Browser, stage: Stage) -> None:
    visit = Visit(browser, stage, locale="zh-CN")
    page = visit.page
    expect(page.locator("#alerts-title")).to_have_text("告警")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    expect(page.locator("[data-camera=gate] .kind")).to_have_text("枪机")
    page.click("[data-language=en]")
    expect(page.locator("#alerts-title")).to_have_text("Alerts")
    page.reload()
    expect(page.locator("#cameras-title")).to_have_text("Cameras")
    page.click("[data-language=zh-CN]")
    expect(page.locator("#cameras-title")).to_have_text("摄像机")
    latin = page.evaluate(
        """() => [...document.querySelectorAll("[data-i18n], .pill, .figures dt, .empty")]
        .map((n) => n.textContent).filter((text) => /[A-Za-z]{3}/.test(text))"""
    )
    assert latin == []
    visit.leave()


def test_every_text_is_there_in_both_languages_and_every_key_is_known(visit: Page) -> None:
    texts = visit.evaluate(
        """async () => {
            await import("/static/citytexts.js");
            return (await import("/static/i18n.js")).TEXTS; }"""
    )
    for key, pair in texts.items():
        assert len(pair) == 2, key
        assert all(pair), key
        assert re.findall(r"\{\w+\}", pair[0]).sort() == re.findall(r"\{\w+\}", pair[1]).sort()
        assert set(re.findall(r"\{\w+\}", pair[0])) == set(re.findall(r"\{\w+\}", pair[1])), key
    used = set()
    for path in STATIC.glob("*.js"):
        used |= set(re.findall(r"\b(?:t|note|state|pushState)\(\"(\w+)\"", path.read_text(encoding="utf-8")))
    for path in STATIC.glob("*.html"):
        used |= set(re.findall(r'data-i18n(?:-label)?="(\w+)"', path.read_text(encoding="utf-8")))
    assert len(used) > 40
    assert used - set(texts) == set()


def test_a_new_epoch_goes_on_in_the_same_player(browser: Browser, tmp_path: Path, clip: Path) -> None:
    with Stage(tmp_path) as stage:
        first = stage.camera_runs("gate", clip)
        visit = Visit(browser, stage)
        assert plays(visit.page, 1)["passed"] > 0.6
        first.stop()
        stage.camera_runs("gate", clip)
        visit.page.wait_for_timeout(2500)
        found = plays(visit.page, 2)
        assert found["passed"] > 1.3
        assert found["ahead"] < 3
        lag = visit.page.locator("[data-camera=gate] .lag").inner_text()
        assert 0 < float(re.findall(r"\d+\.\d", lag)[0]) < 5
        visit.leave()


def test_h265_is_shown_as_stills_with_the_reason(browser: Browser, tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        stage.camera_runs("gate", make_clip(tmp_path / "h265.mp4", seconds=12, codec="libx265"))
        visit = Visit(browser, stage)
        tile = visit.page.locator("[data-camera=gate]")
        expect(tile.locator(".note")).to_contain_text("cannot play H.265", timeout=10000)
        expect(tile.locator(".screen img")).to_be_visible(timeout=10000)
        size = tile.locator(".screen img").evaluate("i => [i.naturalWidth, i.naturalHeight]")
        assert size == [320, 180]
        visit.leave()


def test_signing_in_with_a_token_and_without_the_live_right(
    browser: Browser, tmp_path: Path, clip: Path
) -> None:
    with Stage(tmp_path, LOCKED) as stage:
        stage.camera_runs("gate", clip)
        visit = Visit(browser, stage)
        page = visit.page
        expect(page.locator("#signin")).to_be_visible()
        page.fill("[name=token]", "not-the-right-token")
        page.click("#signin-form button")
        expect(page.locator("#signin-error")).to_contain_text("not known here")
        visit.faults.clear()  # Chromium itself reports the 401
        page.fill("[name=token]", DESK_TOKEN)
        page.click("#signin-form button")
        expect(page.locator("#who")).to_have_text("front desk")
        expect(page.locator("[data-camera=gate] .note")).to_contain_text("no right to the live view")
        assert stage.app.state.console.lives_opened == 0
        page.click("#signout")
        expect(page.locator("#signin")).to_be_visible()
        visit.leave()


def test_a_site_without_cameras_says_how_to_add_one(browser: Browser, tmp_path: Path) -> None:
    with Stage(tmp_path, site=SiteView(id="empty", name="Empty", cameras=())) as stage:
        visit = Visit(browser, stage)
        expect(visit.page.locator("#cameras-note")).to_contain_text("[[camera]]")
        expect(visit.page.locator("#alerts-empty")).to_contain_text("No alerts yet")
        visit.leave()


def test_of_many_cameras_only_those_in_sight_are_live(browser: Browser, tmp_path: Path) -> None:
    cameras = tuple(
        CameraView(id=f"c{n:03d}", name=f"Camera {n}", kind="face", stream="sub") for n in range(105)
    )
    with Stage(tmp_path, site=SiteView(id=SITE.id, name="City", cameras=cameras)) as stage:
        visit = Visit(browser, stage)
        expect(visit.page.locator("[data-figure=figureCameras] dd")).to_have_text("105")
        visit.page.wait_for_timeout(1500)
        assert 1 <= stage.app.state.console.live <= 12
        visit.leave()
