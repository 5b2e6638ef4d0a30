// The sensors: latest values and their age, the last hour as a line, open alerts.
import { el, getJson } from "/static/http.js";
import { ago, t, word, wordOf } from "/static/i18n.js";

const SVG = "http://www.w3.org/2000/svg";
const W = 240;
const H = 34;
const HOUR = 3600e6;
const POINTS = 240;
const UNITS = { Cel: "°C", "%RH": "%", "/": "" }; // SENML's names where others are better known
const SHOWN = 60; // cards: those with an open alert first

export class Sensors {
  constructor(sensors, page) {
    this.page = page; // { name(camera), look(alert) }
    this.sensors = sensors;
    this.values = new Map(); // sensor -> Map(quantity -> { unit, value, time_us, points })
    this.alarms = new Map(); // sensor -> [alert]
    this.list = document.getElementById("sensor-list");
    document.getElementById("sensors").hidden = !sensors.length;
    this.seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) this.chart(target.dataset.sensor);
    });
    this.asked = new Set();
    if (sensors.length) setInterval(() => this.ages(), 5000);
  }

  async load() {
    if (!this.sensors.length) return;
    const { sensors } = await getJson("/api/sensors");
    for (const { id, values } of sensors) for (const value of values) this.quantity(id, value);
  }

  quantity(sensor, { quantity, unit, value, time_us }) {
    const of = this.values.get(sensor) ?? new Map();
    this.values.set(sensor, of);
    const known = of.get(quantity) ?? { points: [], time_us: -1 };
    of.set(quantity, known);
    if (time_us <= known.time_us) return;
    Object.assign(known, { unit, value, time_us });
    known.points.push([time_us, value]);
    if (known.points.length > POINTS) known.points.shift();
  }

  // The last hour, once its card is in sight.
  async chart(sensor) {
    if (this.asked.has(sensor)) return;
    this.asked.add(sensor);
    const { series } = await getJson(`/api/sensors/${sensor}/readings?limit=120`);
    for (const { quantity, readings } of series) {
      const known = this.values.get(sensor)?.get(quantity);
      if (!known || !readings.length) continue;
      const last = readings.at(-1).time_us;
      known.points = [...readings.map((step) => [step.time_us, step.mean]), ...known.points.filter(([at]) => at > last)];
    }
    this.showValues(sensor);
  }

  // Latest readings, pushed in lists.
  push(rows) {
    for (const row of rows) this.quantity(row.sensor, row);
    for (const id of new Set(rows.map((row) => row.sensor))) this.showValues(id);
  }

  // Open alerts, as lists by sensor.
  setAlarms(alarms) {
    this.alarms = alarms;
    this.show();
  }

  // Cards stay where they are, so that a click meets what it was meant for.
  showValues(id) {
    this.list.querySelector(`[data-sensor="${CSS.escape(id)}"] .values`)?.replaceChildren(...this.rows(id));
  }

  show() {
    const first = this.sensors.filter(({ id }) => this.alarms.has(id));
    const rest = this.sensors.filter(({ id }) => !this.alarms.has(id));
    const shown = [...first, ...rest].slice(0, SHOWN);
    const hidden = this.sensors.length - shown.length;
    document.getElementById("sensors-note").textContent = hidden ? t("sensorsMore", { n: hidden }) : "";
    this.seen.disconnect();
    this.list.replaceChildren(...shown.map((sensor) => this.card(sensor)));
    for (const node of this.list.children) if (!this.asked.has(node.dataset.sensor)) this.seen.observe(node);
  }

  ages() {
    for (const node of this.list.querySelectorAll("[data-time]")) node.textContent = ago(Number(node.dataset.time));
  }

  rows(id) {
    const values = [...(this.values.get(id) ?? new Map())];
    if (!values.length) return [el("p", { class: "muted" }, t("sensorSilent"))];
    return values.map(([quantity, known]) => el("div", { class: "value", "data-quantity": quantity },
      el("span", {}, wordOf("quantity", quantity)), el("b", {}, `${+known.value.toPrecision(4)} ${UNITS[known.unit] ?? known.unit}`.trim()),
      el("span", { class: "muted", "data-time": known.time_us }, ago(known.time_us)), sparkline(known.points)));
  }

  card(sensor) {
    const alarms = this.alarms.get(sensor.id) ?? [];
    const where = [sensor.component, sensor.camera && this.page.name(sensor.camera), sensor.zone].filter(Boolean).join(" · ");
    return el("article", { class: `sensor${alarms.length ? " alarm" : ""}`, "data-sensor": sensor.id },
      el("header", {}, el("b", {}, sensor.name), el("span", { class: "muted" }, where)),
      el("div", { class: "values" }, ...this.rows(sensor.id)),
      ...alarms.map((alert) => el("button", { type: "button", class: "quiet alarm-link", onclick: () => this.page.look(alert.id) },
        `${word(alert.kind)} · ${alert.rule}`)));
  }
}

// The last hour up to the newest point; a value holds until the next one.
function sparkline(points) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", "aria-hidden": "true" })) svg.setAttribute(name, value);
  const end = points.at(-1)?.[0] ?? 0;
  const shown = points.filter(([at]) => at > end - HOUR);
  if (shown.length < 2) return svg;
  const start = shown[0][0];
  const values = shown.map(([, value]) => value);
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", shown.map(([at, value], i) => {
    const x = (((at - start) / (end - start)) * W).toFixed(1);
    const y = (H - 2 - ((value - low) / span) * (H - 4)).toFixed(1);
    return i ? `H${x}V${y}` : `M${x},${y}`;
  }).join(""));
  svg.append(path);
  return svg;
}
