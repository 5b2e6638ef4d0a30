// Running totals, and a small chart of the intervals of each line and zone.
import { el, getJson } from "/static/http.js";
import { t, time } from "/static/i18n.js";

const SHOWN = 24; // intervals in a chart
const SVG = "http://www.w3.org/2000/svg";
const W = 260;
const H = 74;
const BASE = 60;

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// `in.person`, `in.car` ... summed over the classes.
function sum(counts, prefix) {
  return Object.entries(counts).reduce((n, [key, value]) => (key.startsWith(`${prefix}.`) ? n + value : n), 0);
}

export class Counts {
  constructor(site) {
    this.site = site;
    this.tallies = new Map();
    this.intervals = new Map(); // camera/rule -> [{start_us, end_us, counts}]
    this.running = new Map(); // camera/rule -> {start_us, counts}
    this.box = document.getElementById("charts");
    this.length = 60e6;
  }

  tally(camera, rule) {
    return this.tallies.get(`${camera}/${rule}`) ?? { in: 0, out: 0 };
  }

  crossings() {
    return [...this.tallies.values()].reduce((n, { in: a, out: b }) => n + a + b, 0);
  }

  async load() {
    const answer = await getJson("/api/counts");
    this.tallies.clear();
    this.intervals.clear();
    for (const { camera, rule, direction, count } of answer.totals) {
      const key = `${camera}/${rule}`;
      const tally = this.tallies.get(key) ?? { in: 0, out: 0 };
      if (direction in tally) tally[direction] += count;
      this.tallies.set(key, tally);
    }
    for (const interval of answer.intervals) this.interval(interval.camera, interval);
    this.show();
    return answer.offset;
  }

  interval(camera, { rule, start_us, end_us, counts }) {
    const key = `${camera}/${rule}`;
    const list = this.intervals.get(key) ?? [];
    // An interval cut in two by a reconnection is one bar.
    const same = list.find((other) => other.start_us === start_us);
    if (same) for (const [k, v] of Object.entries(counts)) {
      same.counts[k] = k.startsWith("max.") ? Math.max(same.counts[k] ?? 0, v) : (same.counts[k] ?? 0) + v;
    }
    else list.push({ start_us, end_us, counts: { ...counts } });
    list.sort((a, b) => a.start_us - b.start_us);
    this.intervals.set(key, list.slice(-SHOWN));
    if (end_us > start_us + 1e6 && (end_us - start_us) % 1e6 === 0) this.length = Math.max(this.length, end_us - start_us);
    const running = this.running.get(key);
    if (running && running.start_us <= start_us) this.running.delete(key);
  }

  // A count event, pushed as it was journaled. Answers whether totals changed.
  push(event) {
    const { data, partitionkey: camera } = event;
    if (event.type === "linli.count.interval.v1") {
      this.interval(camera, data);
      this.show();
      return false;
    }
    const key = `${camera}/${data.rule}`;
    const tally = this.tallies.get(key) ?? { in: 0, out: 0 };
    tally[data.direction] += 1;
    this.tallies.set(key, tally);
    const start = Math.floor((Date.parse(event.time) * 1000) / this.length) * this.length;
    const running = this.running.get(key);
    const now = running?.start_us === start ? running : { start_us: start, end_us: start + this.length, counts: {} };
    const name = `${data.direction}.${data.label}`;
    now.counts[name] = (now.counts[name] ?? 0) + 1;
    this.running.set(key, now);
    this.show();
    return true;
  }

  show() {
    const charts = [];
    for (const camera of this.site.cameras) {
      for (const rule of camera.rules) {
        const key = `${camera.id}/${rule.name}`;
        const running = this.running.get(key);
        const list = [...(this.intervals.get(key) ?? [])];
        if (running) list.push({ ...running, running: true });
        if (list.length && (rule.kind === "line" || rule.kind === "zone")) charts.push(this.chart(camera, rule, list.slice(-SHOWN)));
      }
    }
    this.box.replaceChildren(...(charts.length ? charts : [el("p", { class: "empty" }, t("noCounts"))]));
  }

  chart(camera, rule, list) {
    const ways = rule.kind === "line" ? ["in", "out"] : ["max"];
    const rows = list.map((interval) => ({ ...interval, values: ways.map((way) => sum(interval.counts, way)) }));
    const top = Math.max(1, ...rows.flatMap((row) => row.values));
    const picture = svg("svg", { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img" });
    const step = (W - 18) / SHOWN;
    const thick = (step - 2) / ways.length;
    rows.forEach((row, i) => {
      const x = 18 + (SHOWN - rows.length + i) * step;
      row.values.forEach((value, k) => {
        const tall = (value / top) * (BASE - 6);
        picture.append(svg("rect", { x: x + k * thick, y: BASE - tall, width: Math.max(1, thick - 0.6), height: tall,
          class: `bar-${ways[k] === "in" ? "in" : "out"}${row.running ? " running" : ""}` }));
      });
    });
    picture.append(svg("line", { x1: 18, y1: BASE + 0.5, x2: W, y2: BASE + 0.5, class: "axis" }));
    const words = [[0, 10, top], [0, BASE, 0], [18 + (SHOWN - rows.length) * step, H - 3, time(rows[0].start_us).slice(0, 5)]];
    for (const [x, y, text] of words) {
      const node = svg("text", { x, y });
      node.textContent = text;
      picture.append(node);
    }
    const last = rows.at(-1).values;
    const figures = rule.kind === "line"
      ? [el("span", { class: "in" }, `${t("in")} ${this.tally(camera.id, rule.name).in}`), "  ", el("span", { class: "out" }, `${t("out")} ${this.tally(camera.id, rule.name).out}`)]
      : [el("span", { class: "max" }, `${t("max")} ${last[0]}`)];
    picture.setAttribute("aria-label", `${camera.name} ${rule.name}`);
    return el("article", { class: "chart", "data-rule": `${camera.id}/${rule.name}` },
      el("header", {}, el("b", {}, rule.name), el("span", { class: "muted" }, camera.name), el("span", { class: "sum" }, ...figures)), picture);
  }
}
