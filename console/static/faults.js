// What is wrong with the cameras, and with the box; of cameras with a picture from before and one from after it began.
import { el } from "/static/http.js";
import { t, time, wordOf } from "/static/i18n.js";
import { fault } from "/static/why.js";

const MENDED = 10; // mended ones that are still listed
const TRIES = [1500, 3000, 6000, 12000, 24000]; // ms until a picture is looked for (again)

export class Faults {
  constructor(page) {
    this.page = page; // { name(camera) }
    this.known = new Map(); // camera/what -> entry
    this.images = new Map(); // event/when -> img
    this.section = document.getElementById("faults");
    this.list = document.getElementById("fault-list");
  }

  // `others`: what is raised anywhere, each with its source.
  load(cameras, others) {
    this.known = new Map();
    for (const { id, health } of cameras) for (const entry of health) this.keep(id, entry);
    for (const entry of others) if (!entry.source.includes("/camera/")) this.keep(entry.source, entry);
    this.show();
  }

  keep(camera, entry) {
    if (!entry.event || entry.state === "note") return;
    this.known.set(`${camera}/${entry.what}`, { ...entry, camera });
  }

  // A health event of a camera, pushed as it was journaled.
  push(event) {
    const { what, state, message, since_us } = event.data;
    const camera = event.source.includes("/camera/") ? event.partitionkey : event.source;
    const before = this.known.get(`${camera}/${what}`);
    const at = Date.parse(event.time) * 1000;
    if (state === "raised" && before?.state !== "raised") {
      this.keep(camera, { what, state, message, since_us: since_us || at, event: event.id, pictures: [] });
      for (const when of ["before", "after"]) this.seek(event.id, when, 0);
    } else if (state === "cleared" && before?.state === "raised") {
      this.keep(camera, { ...before, state, message, since_us: at });
    }
    this.show();
  }

  // Pictures are made a moment after the event, and not of every fault.
  seek(id, when, tries) {
    if (tries === TRIES.length) return;
    setTimeout(async () => {
      const entry = [...this.known.values()].find((other) => other.event === id);
      if (!entry || entry.pictures.includes(when)) return;
      const answer = await fetch(`/api/health/${id}/${when}?ready=true`, { cache: "no-store" }).catch(() => null);
      const ready = answer?.ok && (await answer.json()).ready;
      if (!ready) {
        this.seek(id, when, tries + 1);
        return;
      }
      entry.pictures.push(when);
      this.show();
    }, TRIES[tries]);
  }

  show() {
    const all = [...this.known.values()].sort((a, b) => b.since_us - a.since_us);
    const raised = all.filter((entry) => entry.state === "raised");
    const mended = all.filter((entry) => entry.state !== "raised" && entry.pictures.length).slice(0, MENDED);
    this.section.hidden = !raised.length && !mended.length;
    this.list.replaceChildren(...[...raised, ...mended].map((entry) => this.row(entry)));
  }

  where({ camera }) {
    const [kind, id] = camera.split("/").slice(-2);
    if (kind === "sensor") return this.page.where({ sensor: id });
    return kind === "box" ? t("box") : this.page.name(camera);
  }

  row(entry) {
    const raised = entry.state === "raised";
    return el("li", { class: "fault", "data-fault": `${entry.camera}/${entry.what}` },
      el("div", {},
        el("strong", {}, `${this.where(entry)} · ${wordOf("what", entry.what.split(" ")[0])} `),
        el("span", { class: raised ? "tag bad" : "tag good" }, t(raised ? "faultOpen" : "faultMended")),
        el("p", {}, fault(entry)), el("p", { class: "muted" }, time(entry.since_us, true))),
      ...["before", "after"].filter((when) => entry.pictures.includes(when)).map((when) =>
        el("figure", { "data-when": when }, this.image(entry.event, when), el("figcaption", {}, t(`faultPicture.${when}`)))));
  }

  image(event, when) {
    const key = `${event}/${when}`;
    if (!this.images.has(key)) this.images.set(key, el("img", { alt: "", src: `/api/health/${key}` }));
    return this.images.get(key);
  }
}
