// One camera: its live picture with the overlay, its health, its running counts.
import { el } from "/static/http.js";
import { fill, t, word } from "/static/i18n.js";
import { Overlay, Trace, inside } from "/static/overlay.js";
import { LivePlayer } from "/static/player.js";
import { fault } from "/static/why.js";

export class Tile {
  constructor(camera, page) {
    this.camera = camera;
    this.page = page; // { mayLive, blurred(): Set, focus(tile) }
    this.trace = new Trace();
    this.health = new Map();
    this.size = null;
    this.mode = this.gate = null;
    this.views = []; // where a dome looked, the latest last: { state, preset, epoch, pts }
    this.tracks = [];
    this.build();
    this.player = new LivePlayer(this.video, camera.id, {
      state: (name, detail) => this.note(name, detail),
      message: (message) => this.message(message),
      picture: (blob) => this.still(blob),
    });
  }

  build() {
    this.video = el("video", { muted: true, playsinline: true, disablepictureinpicture: true });
    this.video.muted = true;
    this.image = el("img", { alt: "", hidden: true });
    this.canvas = el("canvas");
    this.noteBox = el("div", { class: "note" });
    this.tags = el("div", { class: "tags" });
    this.lag = el("span", { class: "tag lag" });
    this.counts = el("div", { class: "tile-counts" });
    this.trouble = el("div", { class: "tile-health", hidden: true });
    this.kind = el("span", { class: "kind" });
    this.screen = el("button", { type: "button", class: "screen", "aria-label": this.camera.name,
      onclick: () => this.page.focus(this) }, this.video, this.image, this.canvas, this.noteBox);
    this.node = el("article", { class: "tile", "data-camera": this.camera.id },
      el("div", { class: "tile-head" }, el("div", { class: "title" }, el("h3", {}, this.camera.name), this.kind), this.tags),
      this.screen, this.counts, this.trouble);
    this.overlay = new Overlay(this.canvas, this.camera);
    new ResizeObserver(() => this.redraw()).observe(this.canvas);
    this.texts();
  }

  texts() {
    this.kind.textContent = word(this.camera.kind);
    this.note(this.noteName ?? "livePaused", this.noteDetail);
    this.showHealth();
    this.showCounts();
    fill(this.node);
  }

  note(name, detail = {}) {
    this.noteName = name;
    this.noteDetail = detail;
    this.noteBox.hidden = !name;
    this.noteBox.textContent = name ? t(name, detail) : "";
    this.lag.hidden = Boolean(name);
  }

  show(visible) {
    if (!this.page.mayLive) {
      this.note("liveRefused");
      return;
    }
    if (visible === this.player.running) return;
    if (visible) {
      this.player.start();
      this.watch();
    } else {
      this.player.stop();
      this.note("livePaused");
    }
  }

  watch() {
    const step = (_, meta) => {
      if (!this.player.running) return;
      this.drawAt(meta.mediaTime);
      this.video.requestVideoFrameCallback(step);
    };
    this.video.requestVideoFrameCallback(step);
  }

  message(message) {
    if (message.type === "segment") this.size = [message.width, message.height];
    else if (message.type === "frame") this.trace.add(message);
    else if (message.type === "still") this.moment = message;
    else if (message.type === "mode") this.mode = message.mode;
    else if (message.type === "gate") this.gate = message.state;
    if (message.type === "mode" || message.type === "gate" || message.type === "segment") this.showHealth();
    if (message.type === "segment") this.redraw();
  }

  still(blob) {
    const old = this.image.src;
    this.image.src = URL.createObjectURL(blob);
    if (old) URL.revokeObjectURL(old);
    this.image.hidden = false;
    this.noteBox.classList.add("low");
    this.image.onload = () => this.drawStill();
  }

  drawStill() {
    this.tracks = this.trace.tracksAt(this.moment.epoch, this.moment.pts);
    this.redraw();
    this.showNow();
  }

  drawAt(seconds) {
    const moment = this.player.at(seconds);
    if (!moment || !this.size) return;
    this.moment = moment;
    this.tracks = this.trace.tracksAt(moment.epoch, moment.pts);
    this.redraw();
    this.showNow();
    if (!this.shownAt || Math.abs(seconds - this.shownAt) > 0.5) {
      this.shownAt = seconds;
      if (this.camera.kind === "dome") this.showHealth(); // the pictures come to the view
      const late = (Date.now() - moment.captureUs / 1000) / 1000;
      this.lag.textContent = t("behind", { s: late.toFixed(1) });
    }
  }

  redraw() {
    const { epoch = null, pts = 0 } = this.moment ?? {};
    const trails = (ordinal) => this.trace.trail(ordinal, epoch, pts);
    const picture = this.image.hidden ? this.video : this.image;
    const tracks = this.size ? this.tracks : [];
    const faint = this.size ? this.trace.faintAt(epoch, pts) : [];
    this.overlay.draw(picture, this.size ?? [16, 9], tracks, faint, trails, this.page.blurred(), this.rules());
  }

  // A dome's view from some media time on; without one, as it was last known.
  setView(view) {
    this.views = [...this.views.slice(-9), view];
    this.showHealth();
    this.redraw();
  }

  // The view at the moment that is shown: events come before their pictures.
  view() {
    const { epoch, pts } = this.moment ?? {};
    return this.views.findLast((view) => view.epoch === undefined || view.epoch !== epoch || view.pts <= pts) ?? null;
  }

  // The rules that hold now: of a dome those of the preset where it looks, none while it moves.
  rules() {
    const { kind, rules } = this.camera;
    const view = this.view();
    if (kind !== "dome") return rules;
    return view?.state === "settled" ? rules.filter((rule) => rule.preset === view.preset) : [];
  }

  viewTag() {
    const view = this.view();
    if (view?.state === "settled") {
      const name = this.camera.presets.find((preset) => preset.id === view.preset)?.name ?? view.preset;
      return el("span", { class: "tag view" }, name);
    }
    return el("span", { class: "tag view warn" }, t(view?.state === "moving" ? "viewMoving" : "viewUnknown"));
  }

  // Health events say what is wrong; the trace says how the camera is decoded just now.
  setHealth(entry) {
    if (entry.state === "note") return;
    this.health.set(entry.what, entry);
    this.showHealth();
  }

  showHealth() {
    const raised = [...this.health.values()].filter((entry) => entry.state === "raised");
    const offline = raised.some((entry) => entry.what === "connection");
    const tags = [];
    if (offline) tags.push(el("span", { class: "tag bad" }, t("offline")));
    else if (this.health.size || this.size) tags.push(el("span", { class: "tag good" }, t("healthy")));
    else tags.push(el("span", { class: "tag" }, t("unknown")));
    if (this.camera.kind === "dome") tags.push(this.viewTag());
    if (this.mode) tags.push(el("span", { class: "tag" }, word(this.mode)));
    if (this.gate) tags.push(el("span", { class: this.gate === "awake" ? "tag good" : "tag" }, word(this.gate)));
    if (raised.some((entry) => entry.what === "shedding")) tags.push(el("span", { class: "tag warn" }, t("shedding")));
    this.tags.replaceChildren(this.lag, ...tags);
    this.trouble.hidden = !raised.length;
    this.trouble.textContent = raised.map(fault).join(" · ");
  }

  showCounts() {
    this.nows = new Map();
    const parts = this.camera.rules.map((rule) => {
      const tally = this.page.tally(this.camera.id, rule.name);
      const name = el("span", { class: "rule" }, rule.name);
      if (rule.kind === "line") {
        return el("span", { class: "tally line" }, name,
          el("b", {}, String(tally.in)), el("span", { class: "way" }, t("in")),
          el("b", {}, String(tally.out)), el("span", { class: "way" }, t("out")));
      }
      const now = el("b", {}, "–");
      this.nows.set(rule.name, now);
      return el("span", { class: "tally zone" }, name, now, el("span", { class: "way" }, t("now")));
    });
    this.counts.replaceChildren(...parts);
  }

  // How many of the tracks shown stand in each zone now.
  showNow() {
    const [w, h] = this.size;
    const holds = new Set(this.rules());
    for (const rule of this.camera.rules) {
      const box = this.nows.get(rule.name);
      if (!box) continue;
      if (!holds.has(rule)) {
        box.textContent = "–";
        continue;
      }
      const count = this.tracks.filter(({ label, box: [x1, , x2, y2] }) =>
        rule.labels.includes(label) && inside([(x1 + x2) / 2 / w, y2 / h], rule.polygon)).length;
      if (box.textContent !== String(count)) box.textContent = String(count);
    }
  }
}
