// The list of alerts and the dialog in which one is looked at.
import { el, getJson, postJson, request } from "/static/http.js";
import { duration, t, time, word } from "/static/i18n.js";
import { judgeBar } from "/static/judging.js";
import { why } from "/static/why.js";

const PAGE = 40;
export const KINDS = ["intrusion", "loitering", "crowd", "wrong_way", "stationary", "crossing", "anomaly",
  "threshold", "rate", "deviation", "silence", "joint"];
const OURS = { why: true, attribute: true, usual: true, group: true, label: true }; // figures that the sentence has said

// Camera and sensor of an event: { camera: "gate", sensor: "" }.
export function origin(event) {
  const [kind, id] = event.source.split("/").slice(-2);
  return { camera: kind === "camera" ? id : "", sensor: kind === "sensor" ? id : "" };
}

export class Alerts {
  constructor(page) {
    this.page = page; // { where(alert), preset(camera, id), may(right) }
    this.known = new Map();
    this.filter = { open: "", camera: "", kind: "" };
    this.list = document.getElementById("alert-list");
    this.empty = document.getElementById("alerts-empty");
    this.moreButton = document.getElementById("alerts-more");
    this.dialog = document.getElementById("detail");
    this.dialog.addEventListener("close", () => this.leave());
    this.moreButton.addEventListener("click", () => this.older());
    this.bindFilters();
  }

  bindFilters() {
    for (const button of document.querySelectorAll("[data-open]")) {
      button.addEventListener("click", () => {
        for (const other of document.querySelectorAll("[data-open]")) other.setAttribute("aria-pressed", String(other === button));
        this.change({ open: button.dataset.open });
      });
    }
    document.getElementById("filter-camera").addEventListener("change", (e) => this.change({ camera: e.target.value }));
    document.getElementById("filter-kind").addEventListener("change", (e) => this.change({ kind: e.target.value }));
  }

  change(part) {
    Object.assign(this.filter, part);
    this.load().catch((error) => this.failed(error));
  }

  query(extra = {}) {
    const values = { limit: PAGE, ...this.filter, ...extra };
    return new URLSearchParams(Object.entries(values).filter(([, v]) => v !== "" && v !== undefined));
  }

  // The newest page. Answers the log offset up to which the list is complete.
  async load() {
    const answer = await getJson(`/api/alerts?${this.query()}`);
    this.known = new Map(answer.alerts.map((alert) => [alert.id, alert]));
    this.moreButton.hidden = answer.alerts.length < PAGE;
    this.show();
    return answer.offset;
  }

  async older() {
    const last = [...this.known.values()].reduce((a, b) => (a.raised_us < b.raised_us ? a : b));
    const answer = await getJson(`/api/alerts?${this.query({ before: last.raised_us + 1 })}`);
    for (const alert of answer.alerts) this.known.set(alert.id, alert);
    this.moreButton.hidden = answer.alerts.length < PAGE;
    this.show();
  }

  failed(error) {
    this.empty.hidden = false;
    this.empty.textContent = t("alertsFailed", { why: error.message });
  }

  // An alert event, pushed as it was journaled.
  push(event) {
    const { data } = event;
    if (event.type === "linli.alert.raised.v1") {
      const alert = { id: data.alert, ...origin(event), rule: data.rule, kind: data.kind, severity: data.severity,
        label: data.label, since_us: data.since_us, raised_us: Date.parse(event.time) * 1000, until_us: null, reason: "",
        open: true, detail: data.detail ?? {}, place: data.place ?? null, preset: data.preset ?? "", causes: data.causes ?? [], verdict: null };
      if (this.matches(alert)) this.known.set(alert.id, alert);
      this.fresh = alert.id;
    } else {
      const alert = this.known.get(data.alert);
      if (!alert) {
        this.fetched(event);
        return;
      }
      if (event.type === "linli.alert.updated.v1") {
        Object.assign(alert.detail, data.detail ?? {});
        alert.place = data.place ?? alert.place;
      }
      else Object.assign(alert, { open: false, until_us: data.until_us, reason: data.reason });
      if (!this.matches(alert)) this.known.delete(alert.id);
    }
    this.show();
    this.fresh = null;
  }

  // A judgement, pushed or of our own.
  judged(id, judgement) {
    const alert = this.known.get(id);
    if (!alert || alert.verdict === judgement.verdict && alert.judged_by === judgement.judged_by) return;
    Object.assign(alert, judgement);
    this.show();
  }

  // An alert that is not in the list, but may belong there now (the filter shows those that were cleared).
  async fetched(event) {
    if (event.type !== "linli.alert.cleared.v1" || this.filter.open !== "false") return;
    const { until_us, reason, alert: id } = event.data;
    const alert = { ...(await getJson(`/api/alerts/${id}`)), open: false, until_us, reason };
    if (this.matches(alert)) this.known.set(id, alert);
    this.show();
  }

  matches(alert) {
    const { open, camera, kind } = this.filter;
    return (!open || String(alert.open) === open) && (!camera || alert.camera === camera) && (!kind || alert.kind === kind);
  }

  show() {
    const alerts = [...this.known.values()].sort((a, b) => b.raised_us - a.raised_us || (a.id < b.id ? 1 : -1));
    this.list.replaceChildren(...alerts.map((alert) => this.card(alert)));
    this.empty.hidden = alerts.length > 0;
    const filtered = Object.values(this.filter).some(Boolean);
    this.empty.textContent = alerts.length ? "" : t(filtered ? "noAlertsFilter" : "noAlerts");
  }

  card(alert) {
    const what = [this.page.where(alert), alert.rule, word(alert.label)].filter(Boolean).join(" · ");
    const sentence = why(alert);
    const state = alert.open ? "open" : "cleared";
    const lasted = alert.open ? "" : duration(alert.until_us - alert.since_us);
    const button = el("button", { type: "button", class: `alert ${state} ${alert.severity}${this.fresh === alert.id ? " fresh" : ""}`,
      "data-alert": alert.id, onclick: () => this.look(alert.id) },
      this.thumb(alert),
      el("span", {},
        el("span", { class: "line" }, el("strong", {}, word(alert.kind)), el("span", { class: `state ${state}` }, t(state))),
        el("span", { class: "what line" }, what),
        el("span", { class: "what line" }, [time(alert.raised_us), lasted].filter(Boolean).join(" · ")),
        sentence ? el("span", { class: "why" }, sentence) : null));
    return el("li", {}, button, this.page.may("judge") ? judgeBar(alert, (said) => this.judged(alert.id, said)) : null);
  }

  // The picture is made a moment after the alert: until it is there, ask again.
  thumb(alert) {
    const box = el("span", { class: "thumb" }, t(alert.camera ? "pictureFollows" : "noPicture"));
    if (!alert.camera) return box;
    const cached = this.pictures?.get(alert.id);
    if (cached) box.append(cached);
    else this.picture(alert.id, box, 0);
    return box;
  }

  picture(id, box, tries) {
    this.pictures ??= new Map();
    const image = el("img", { alt: "", loading: "lazy" });
    image.addEventListener("load", () => this.pictures.set(id, image));
    image.addEventListener("error", () => {
      image.remove();
      if (tries < 8 && box.isConnected) setTimeout(() => this.picture(id, box, tries + 1), 1000 * 2 ** Math.min(tries, 4));
    });
    // The check first: a missing picture is an answer, not an error to print.
    fetch(`/api/alerts/${id}/picture?ready=true`, { cache: "no-store" }).then((answer) => answer.json()).then(({ ready }) => {
      if (ready) {
        image.src = `/api/alerts/${id}/picture`;
        if (!box.querySelector("img")) box.append(image);
      } else image.dispatchEvent(new Event("error"));
    }, () => image.dispatchEvent(new Event("error")));
  }

  async look(id) {
    const alert = this.known.get(id) ?? (await getJson(`/api/alerts/${id}`));
    this.shown = id;
    this.stage = el("div", { class: "stage", hidden: !alert.camera }, el("p", {}, t("clipFollows")));
    const sentence = why(alert);
    this.dialog.replaceChildren(
      el("header", {}, el("h2", {}, [word(alert.kind), this.page.where(alert)].filter(Boolean).join(" · ")),
        el("button", { type: "button", class: "quiet", onclick: () => this.dialog.close() }, t("close"))),
      this.stage, sentence ? el("p", { class: "sentence" }, sentence) : "", this.causes(alert), this.facts(alert),
      this.page.may("judge") ? judgeBar(alert, (said) => this.judged(id, said), true) : "",
      this.page.may("plain") && alert.camera ? this.plainForm(alert) : "");
    if (!this.dialog.open) this.dialog.showModal();
    if (alert.camera) this.clip(id, 0);
  }

  // The alerts that a joint one is made of; each can be looked at.
  causes(alert) {
    if (!alert.causes?.length) return "";
    const list = el("ul", { class: "causes" }, el("li", { class: "muted" }, t("causes")));
    for (const id of alert.causes) {
      const button = el("button", { type: "button", class: "quiet", "data-cause": id, onclick: () => this.look(id) }, id.slice(0, 8));
      list.append(el("li", {}, button));
      Promise.resolve(this.known.get(id) ?? getJson(`/api/alerts/${id}`)).then((cause) => {
        button.textContent = [word(cause.kind), this.page.where(cause), cause.rule, time(cause.raised_us)].filter(Boolean).join(" · ");
      }, () => {});
    }
    return list;
  }

  facts(alert) {
    const rows = [[t("state"), t(alert.open ? "open" : "cleared")], [t("severity"), word(alert.severity)], [t("rule"), alert.rule],
      [t("object"), word(alert.label)], [t("since"), time(alert.since_us, true)]];
    if (!alert.open) {
      rows.push([t("until"), time(alert.until_us, true)], [t("duration"), duration(alert.until_us - alert.since_us)],
        [t("reason"), word(`reason.${alert.reason}`)]);
    }
    if (alert.preset) rows.push([t("preset"), this.page.preset(alert.camera, alert.preset)]);
    if (alert.place) rows.push([t("place"), `${alert.place[1].toFixed(6)}, ${alert.place[0].toFixed(6)}`]);
    if (alert.verdict) rows.push([t("judgement"), t("judgedBy", { verdict: t(`judge.${alert.verdict}`), who: alert.judged_by })]);
    for (const [key, value] of Object.entries(alert.detail)) if (!OURS[key]) rows.push([word(key), typeof value === "number" ? +value.toFixed(2) : value]);
    return el("dl", { class: "facts" }, ...rows.filter(([, v]) => v !== "").map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, String(v)))));
  }

  async clip(id, tries) {
    if (this.shown !== id || !this.dialog.open) return;
    try {
      const { ready } = await getJson(`/api/alerts/${id}/clip?ready=true`);
      if (this.shown !== id || !this.dialog.open) return;
      if (ready) this.play(`/api/alerts/${id}/clip`, `/api/alerts/${id}/picture`);
      else setTimeout(() => this.clip(id, tries + 1), 1500);
    } catch (error) {
      this.say(t("clipMissing", { why: error.message }));
    }
  }

  play(url, poster) {
    const video = el("video", { controls: true, autoplay: true, loop: true, playsinline: true, poster });
    video.muted = true;
    video.addEventListener("error", () => this.say(t("clipMissing", { why: video.error?.message ?? "" })));
    video.src = url;
    this.stage.replaceChildren(video);
  }

  say(text) {
    this.stage.replaceChildren(el("p", {}, text));
  }

  plainForm(alert) {
    const purpose = el("input", { name: "purpose", required: true, minlength: 4, maxlength: 200, placeholder: t("plainPurpose"), "aria-label": t("plainPurpose") });
    const said = el("p", { class: "muted", role: "status" }, t("plainWhy"));
    const form = el("form", { class: "plain" }, said, purpose,
      el("button", { type: "submit", class: "quiet", value: "picture" }, t("plainPicture")),
      el("button", { type: "submit", class: "quiet", value: "clip" }, t("plainClip")));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const what = event.submitter?.value ?? "picture";
      try {
        const grant = await (await postJson(`/api/alerts/${alert.id}/plain`, { what, purpose: purpose.value })).json();
        const blob = await (await request(grant.url)).blob();
        this.release();
        this.url = URL.createObjectURL(blob);
        if (what === "clip") this.play(this.url);
        else this.stage.replaceChildren(el("img", { src: this.url, alt: "" }));
        said.textContent = t("plainShown");
      } catch (error) {
        said.textContent = t("plainRefused", { why: error.message });
      }
    });
    return form;
  }

  release() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
  }

  leave() {
    this.shown = null;
    this.release();
    this.dialog.replaceChildren();
  }
}
