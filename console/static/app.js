// The page: sign-in, what is shown, and the push that keeps it current.
import { Alerts, KINDS, origin } from "/static/alerts.js";
import { Counts } from "/static/counts.js";
import { Faces } from "/static/faces.js";
import { Faults } from "/static/faults.js";
import { el, getJson, postJson } from "/static/http.js";
import { onLanguage, startLanguage, t, word } from "/static/i18n.js";
import { Sensors } from "/static/sensors.js";
import { Tile } from "/static/tile.js";

const MAX_LIVE = 12; // a browser decodes only so many streams at once

const byId = (id) => document.getElementById(id);
let site;
let alerts;
let counts;
let faces;
let faults;
let sensors;
let openAlerts = new Map();
const tiles = new Map();
const visible = new Set();

const page = {
  get mayLive() {
    return site.viewer.rights.includes("live");
  },
  may: (right) => site.viewer.rights.includes(right),
  name: (camera) => tiles.get(camera)?.camera.name ?? camera,
  where: ({ camera, sensor }) => (sensor ? site.sensors.find(({ id }) => id === sensor)?.name ?? sensor : page.name(camera)),
  preset: (camera, id) => tiles.get(camera)?.camera.presets.find((preset) => preset.id === id)?.name ?? id,
  look: (alert) => alerts.look(alert),
  blurred: () => new Set(byId("blur").checked ? site.pixelate : []),
  tally: (camera, rule) => counts.tally(camera, rule),
  focus(tile) {
    const was = tile.node.classList.contains("focus");
    for (const other of tiles.values()) other.node.classList.remove("focus");
    tile.node.classList.toggle("focus", !was);
    byId("grid").classList.toggle("focused", !was && tiles.size > 1);
    byId("grid").prepend(...(was ? site.cameras.map((c) => tiles.get(c.id).node) : [tile.node]));
  },
};

function pushState(name) {
  const pill = byId("push");
  pill.textContent = t(name);
  pill.className = `pill ${{ pushOn: "good", pushOff: "bad" }[name] ?? ""}`;
  pill.dataset.state = name;
}

function figures() {
  const live = [...tiles.values()].filter((tile) => tile.player.running).length;
  const rows = [["figureCameras", tiles.size], ["figureOpen", openAlerts.size, openAlerts.size > 0], ["figureCrossings", counts.crossings()], ["figureShown", live]];
  byId("figures").replaceChildren(...rows.map(([key, value, warn]) =>
    el("div", { class: warn ? "warn" : "", "data-figure": key }, el("dd", {}, String(value)), el("dt", {}, t(key)))));
  byId("alerts-open").textContent = String(openAlerts.size);
  byId("alerts-open").classList.toggle("hot", openAlerts.size > 0);
  const alarmed = new Set([...openAlerts.values()].map(({ camera }) => camera));
  for (const tile of tiles.values()) tile.node.classList.toggle("alarm", alarmed.has(tile.camera.id));
}

function alarms() {
  const found = new Map();
  for (const [id, { sensor, kind, rule }] of openAlerts) if (sensor) found.set(sensor, [...(found.get(sensor) ?? []), { id, kind, rule }]);
  sensors.setAlarms(found);
}

// Only tiles in sight are live, and no more than a browser can decode.
function arrange() {
  let room = document.hidden ? 0 : MAX_LIVE;
  for (const tile of tiles.values()) tile.show(visible.has(tile.node) && room-- > 0);
  figures();
}

function texts() {
  pushState(byId("push").dataset.state ?? "pushStart");
  if (!site) return;
  const select = (id, first, rows) => {
    const box = byId(id);
    const chosen = box.value;
    box.replaceChildren(el("option", { value: "" }, t(first)), ...rows.map(([value, text]) => el("option", { value }, text)));
    box.value = chosen;
  };
  select("filter-camera", "allCameras", site.cameras.map((c) => [c.id, c.name]));
  select("filter-kind", "allKinds", KINDS.map((kind) => [kind, word(kind)]));
  byId("blur-label").title = t("blurNote");
  byId("cameras-note").textContent = site.cameras.length ? "" : t("noCameras");
  for (const tile of tiles.values()) tile.texts();
  alerts.show();
  counts.show();
  faults.show();
  faces.show();
  sensors.show();
  figures();
}

function build() {
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) visible[entry.isIntersecting ? "add" : "delete"](entry.target);
    arrange();
  }, { threshold: 0.15 });
  for (const camera of site.cameras) {
    const tile = new Tile(camera, page);
    tiles.set(camera.id, tile);
    byId("grid").append(tile.node);
    observer.observe(tile.node);
  }
  document.addEventListener("visibilitychange", arrange);
  byId("blur").addEventListener("change", () => [...tiles.values()].forEach((tile) => tile.redraw()));
  byId("who").textContent = site.viewer.who;
  byId("signout").hidden = !site.viewer.session;
  byId("site").textContent = site.name;
  document.title = `${site.name} · Linli`;
}

// All that is known now. Answers the log offset from which the push goes on without a hole.
async function load() {
  const [first, second, cameras, open, health] = await Promise.all([
    alerts.load(), counts.load(), getJson("/api/cameras"), getJson("/api/alerts?open=true&limit=500"),
    getJson("/api/health"), sensors.load(),
  ]);
  openAlerts = new Map(open.alerts.map((alert) => [alert.id, alert]));
  for (const camera of cameras.cameras) {
    for (const entry of camera.health) tiles.get(camera.id)?.setHealth(entry);
    if (camera.looking) tiles.get(camera.id)?.setView(camera.looking);
  }
  faults.load(cameras.cameras, health.raised);
  if (page.may("faces") && site.cameras.some((camera) => camera.kind === "face")) await faces.load().catch((error) => faces.failed(error));
  alarms();
  for (const tile of tiles.values()) tile.showCounts();
  figures();
  return { alerts: Math.min(first, open.offset), counts: second, cameras: cameras.offset };
}

function receive(event, offset, from) {
  const [, family] = event.type.split(".");
  if (family === "alert" && offset > from.alerts) {
    alerts.push(event);
    const { alert, kind, rule } = event.data;
    if (event.type === "linli.alert.raised.v1") openAlerts.set(alert, { ...origin(event), kind, rule });
    else if (event.type === "linli.alert.cleared.v1") openAlerts.delete(alert);
    alarms();
  } else if (family === "count" && offset > from.counts) {
    if (counts.push(event)) tiles.get(event.partitionkey)?.showCounts();
  } else if (family === "health" && offset > from.cameras) {
    tiles.get(event.partitionkey)?.setHealth(event.data);
    faults.push(event);
  } else if (family === "view" && offset > from.cameras) {
    const { state, preset = "" } = event.data;
    tiles.get(event.partitionkey)?.setView({ state, preset, epoch: Number(event.linliepoch), pts: Number(event.linlipts) });
  } else if (family === "judgement" && offset > from.alerts) {
    const { alert, verdict, who, note = "" } = event.data;
    alerts.judged(alert, { verdict, judged_by: who, judged_note: note });
  } else if (family === "face" && page.may("faces")) faces.push();
  figures();
}

async function follow() {
  const from = await load();
  let journal;
  const source = new EventSource(`/events?after=${Math.min(from.alerts, from.counts, from.cameras)}`);
  source.addEventListener("open", () => pushState("pushOn"));
  source.addEventListener("error", () => {
    pushState("pushOff");
    // The browser tries again by itself, except where it was refused.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
  // Offsets of one journal mean nothing in another: then everything is read again.
  source.addEventListener("hello", (event) => {
    const { journal: id } = JSON.parse(event.data);
    if (journal && journal !== id) location.reload();
    journal = id;
  });
  source.addEventListener("sensor", (event) => sensors.push(JSON.parse(event.data)));
  for (const family of ["alert", "count", "health", "view", "face", "judgement"]) {
    source.addEventListener(family, (event) => receive(JSON.parse(event.data), Number(event.lastEventId), from));
  }
}

function signIn() {
  byId("signin").hidden = false;
  byId("signin-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await postJson("/api/session", { token: new FormData(event.target).get("token") });
      location.reload();
    } catch (error) {
      byId("signin-error").textContent = error.status === 401 ? t("signInFailed") : error.message;
    }
  });
}

async function start() {
  startLanguage();
  onLanguage(texts);
  pushState("pushStart");
  try {
    const session = await getJson("/api/session");
    if (!session.who) return signIn();
    // Somebody of the city's desk who has nothing to see here has the other room.
    if (session.city && session.role && !session.rights.includes("alerts")) return location.replace("/map");
    byId("rooms").hidden = !(session.city && session.role);
    site = await getJson("/api/site");
  } catch (error) {
    byId("fatal").hidden = false;
    byId("fatal").textContent = t("fatal", { why: error.message });
    return;
  }
  byId("signout").addEventListener("click", async () => {
    await fetch("/api/session", { method: "DELETE" });
    location.reload();
  });
  alerts = new Alerts(page);
  counts = new Counts(site);
  faces = new Faces(page);
  faults = new Faults(page);
  sensors = new Sensors(site.sensors, page);
  byId("console").hidden = false;
  build();
  texts();
  await follow().catch((error) => alerts.failed(error));
}

start();
