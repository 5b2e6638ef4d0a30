// The inbox: cases of the scenarios, those whose time runs out first on top, each with its steps and what may be done.
import { el, getJson, request } from "/static/http.js";
import { language, t, word } from "/static/i18n.js";

const PAGE = 40;
const LEVELS = ["grid", "community", "town", "city"];

const named = (thing) => (language() === "zh-CN" && thing.title_zh) || thing.title || thing.name;
const when = (us) => (us ? new Date(us / 1000).toLocaleString(language(), { dateStyle: "short", timeStyle: "short" }) : "");

function left(case_) {
  if (!case_.due_us) return null;
  const minutes = Math.round((case_.due_us / 1000 - Date.now()) / 60000);
  const n = Math.abs(minutes);
  const text = n < 120 ? t("leftMinutes", { n }) : n < 2880 ? t("leftHours", { n: Math.round(n / 60) }) : t("leftDays", { n: Math.round(n / 1440) });
  return el("span", { class: minutes < 0 ? "tag bad" : minutes < 240 ? "tag warn" : "tag" }, minutes < 0 ? t("overdueBy", { time: text }) : t("dueIn", { time: text }));
}

export class Inbox {
  constructor(byId, chosen, changed) {
    Object.assign(this, { byId, chosen, changed, cases: [], packs: [], scenario: "", show: "open", next: null, counts: {} });
  }

  async begin() {
    this.packs = (await getJson("/city/packs")).items;
    for (const button of this.byId("inbox-filters").querySelectorAll("[data-show]")) {
      button.addEventListener("click", () => this.choose({ show: button.dataset.show }));
    }
    this.byId("cases-more").addEventListener("click", () => this.more());
    this.byId("case").addEventListener("click", (event) => event.target === this.byId("case") && this.byId("case").close());
    this.texts();
    await this.refresh();
  }

  choose(change) {
    Object.assign(this, change);
    for (const button of this.byId("inbox-filters").querySelectorAll("[data-show]")) button.setAttribute("aria-pressed", String(button.dataset.show === this.show));
    this.texts();
    return this.refresh();
  }

  query(after) {
    const query = new URLSearchParams({ limit: PAGE });
    if (this.scenario) query.set("scenario", this.scenario);
    if (this.show !== "all") query.set("open", "true");
    if (this.show === "overdue") query.set("overdue", "true");
    if (after) query.set("after", after);
    return `/city/cases?${query}`;
  }

  async refresh() {
    try {
      const [page, counts] = await Promise.all([getJson(this.query()), getJson("/city/statistics/open")]);
      if (this.cases.length <= PAGE) [this.cases, this.next] = [page.items, page.next];
      this.counts = counts;
      this.problem = "";
    } catch (problem) {
      this.problem = problem.message;
    }
    this.draw();
    this.changed();
  }

  async more() {
    const page = await getJson(this.query(this.next));
    this.cases = [...this.cases, ...page.items];
    this.next = page.next;
    this.draw();
  }

  figures() {
    return { open: String(this.counts.open ?? "–"), overdue: String(this.counts.overdue ?? "–") };
  }

  pack(id) {
    return this.packs.find((pack) => pack.id === id) ?? { id, title: id, states: [], actions: [] };
  }

  state(case_) {
    return named(this.pack(case_.scenario).states.find(({ name }) => name === case_.state) ?? { title: case_.state });
  }

  texts() {
    const all = [{ id: "", title: t("all") }, ...this.packs];
    this.byId("scenarios").replaceChildren(...all.map((pack) =>
      el("button", { type: "button", "data-scenario": pack.id, "aria-pressed": String(pack.id === this.scenario), onclick: () => this.choose({ scenario: pack.id }) }, named(pack))));
    this.draw();
  }

  draw() {
    this.byId("case-list").replaceChildren(...this.cases.map((one) => el("li", {},
      el("button", { type: "button", class: "case", "data-case": one.case, "data-state": one.state, onclick: () => this.open(one.case) },
        el("span", { class: `dot ${one.severity}` }), el("strong", {}, one.title),
        el("span", { class: "muted" }, [named(this.pack(one.scenario)), one.area, word(`level.${one.level}`)].filter(Boolean).join(" · ")),
        el("span", { class: "tags" }, el("span", { class: one.final ? "tag good" : "tag" }, this.state(one)), left(one))))));
    this.byId("cases-more").hidden = !this.next;
    this.byId("inbox-open").textContent = this.figures().open;
    const empty = this.byId("cases-empty");
    empty.hidden = !this.problem && this.cases.length > 0;
    empty.textContent = this.problem ? t("casesFailed", { why: this.problem }) : t("noCases");
  }

  async open(id) {
    const dialog = this.byId("case");
    let one, steps, actions;
    try {
      [one, { items: steps }, { items: actions }] = await Promise.all(["", "/steps", "/actions"].map((part) => getJson(`/city/cases/${encodeURIComponent(id)}${part}`)));
    } catch (problem) {
      dialog.replaceChildren(el("p", { class: "error" }, problem.message));
      return dialog.open || dialog.showModal();
    }
    this.chosen(one);
    const facts = [["state", this.state(one)], ["level", word(`level.${one.level}`)], ["area", one.area], ["holder", one.holder], ["category", one.category],
      ["channel", one.channel], ["opened", when(one.opened_us)], ["due", when(one.due_us)], ["marks", (one.marks ?? []).map(word).join(", ")], ["from", one.cause]];
    dialog.replaceChildren(
      el("header", {}, el("h3", {}, one.title), left(one), el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, t("close"))),
      el("ol", { class: "levels", "aria-label": t("levels") }, ...LEVELS.map((level) => el("li", { class: level === one.level ? "here" : "" }, word(`level.${level}`)))),
      el("dl", { class: "facts" }, ...facts.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, t(`case.${name}`)), el("dd", {}, value)])),
      this.form(one, actions),
      el("h4", {}, t("steps")),
      el("ol", { class: "steps" }, ...steps.toReversed().map((step) => el("li", {},
        el("time", {}, when(step.time_us)), el("strong", {}, this.action(one, step.action)), el("span", { class: "muted" }, [step.who, word(step.role)].filter(Boolean).join(", ")), step.note ? el("p", {}, step.note) : null))));
    if (!dialog.open) dialog.showModal();
  }

  action(one, name) {
    return named(this.pack(one.scenario).actions.find((action) => action.name === name) ?? { title: name });
  }

  // What this viewer may do now; each action asks for what it needs.
  form(one, actions) {
    if (!actions.length) return el("p", { class: "muted" }, t("noActions"));
    const box = el("div", { class: "asked" });
    const error = el("p", { class: "error", role: "alert" });
    const choose = (action) => {
      const inputs = [...new Set(["note", ...(action.needs ?? [])])].map((name) => el("label", {}, el("span", {}, t(`case.${name}`)), el("input", { name, type: name === "amount" ? "number" : "text", maxlength: 500, required: (action.needs ?? []).includes(name) })));
      const form = el("form", {}, ...inputs, el("button", { type: "submit", class: "primary", "data-do": action.name }, named(action)));
      form.addEventListener("submit", (event) => this.step(event, one, action, error));
      box.replaceChildren(form);
      form.querySelector("input")?.focus();
    };
    return el("section", { class: "actions" }, el("h4", {}, t("actions")),
      el("div", { class: "buttons" }, ...actions.map((action) => el("button", { type: "button", class: "quiet", "data-action": action.name, onclick: () => choose(action) }, named(action)))), box, error);
  }

  async step(event, one, action, error) {
    event.preventDefault();
    const body = { action: action.name };
    for (const [name, value] of new FormData(event.target)) {
      if (value === "") continue;
      body[name] = name === "amount" ? Number(value) : ["helpers", "marks"].includes(name) ? value.split(/[,，\s]+/).filter(Boolean) : value;
    }
    try {
      await request(`/city/cases/${encodeURIComponent(one.case)}/steps`, { method: "POST", headers: { "content-type": "application/json", "if-match": `"${one.version}"` }, body: JSON.stringify(body) });
    } catch (problem) {
      error.textContent = problem.message;
      return;
    }
    await Promise.all([this.open(one.case), this.refresh()]);
  }
}
