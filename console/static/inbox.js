// The inbox: cases of the scenarios, those whose time runs out first on top.
import { el, getJson } from "/static/http.js";
import { t, wordOf } from "/static/i18n.js";
import { span, titled } from "/static/citynames.js";

const PAGE = 40;
const MOST = 500; // as many as one answer has
const SHOWS = { due: { open: "true", order: "due" }, open: { open: "true" }, overdue: { open: "true", overdue: "true" }, all: {} };
const SOON_US = 4 * 3600e6;

// What is left until a case is due, as a tag; null: no clock of it runs.
export function left(case_, now) {
  if (!case_.due_us || case_.final) return null;
  const us = case_.due_us - now;
  const late = us < 0;
  return el("span", { class: late ? "tag bad" : us < SOON_US ? "tag warn" : "tag" }, t(late ? "overdueBy" : "dueIn", { time: span(us) }));
}

export class Inbox {
  constructor(byId, names, on) {
    Object.assign(this, { byId, names, on, cases: [], scenario: "", show: "due", next: null, counts: {}, round: 0, chosen: "" });
  }

  async begin() {
    for (const button of this.byId("inbox-filters").querySelectorAll("[data-show]")) {
      button.addEventListener("click", () => this.choose({ show: button.dataset.show }));
    }
    this.byId("cases-more").addEventListener("click", () => this.more());
    this.texts();
    await this.refresh();
  }

  choose(change) {
    Object.assign(this, change, { cases: [], next: null });
    for (const button of this.byId("inbox-filters").querySelectorAll("[data-show]")) button.setAttribute("aria-pressed", String(button.dataset.show === this.show));
    this.texts();
    this.on.filter();
    return this.refresh();
  }

  // What is asked for, as parameters; the map asks for the same.
  filter() {
    return { ...SHOWS[this.show], ...(this.scenario ? { scenario: this.scenario } : {}) };
  }

  async refresh() {
    const round = ++this.round;
    const limit = Math.min(Math.max(PAGE, Math.ceil(this.cases.length / PAGE) * PAGE), MOST);
    try {
      const [page, counts] = await Promise.all([getJson(`/city/cases?${new URLSearchParams({ ...this.filter(), limit })}`), getJson("/city/statistics/open")]);
      if (round !== this.round) return; // another filter was chosen meanwhile
      if (this.cases.length <= MOST) [this.cases, this.next] = [page.items, page.next];
      this.counts = counts;
      this.names.skew = counts.now_us - Date.now() * 1000;
      this.problem = "";
    } catch (problem) {
      if (round !== this.round) return;
      this.problem = problem.message;
    }
    this.draw();
    this.on.changed();
    if (await this.names.learn(this.cases.map(({ area }) => area))) this.draw();
  }

  async more() {
    try {
      const page = await getJson(`/city/cases?${new URLSearchParams({ ...this.filter(), limit: PAGE, after: this.next })}`);
      this.cases = [...this.cases, ...page.items];
      this.next = page.next;
    } catch (problem) {
      this.problem = problem.message;
    }
    this.draw();
    if (await this.names.learn(this.cases.map(({ area }) => area))) this.draw();
  }

  figures() {
    const { open, overdue, most } = this.counts;
    const figure = (n) => (n === undefined ? "–" : n >= most ? `${most}+` : String(n));
    return { open: figure(open), overdue: figure(overdue) };
  }

  texts() {
    const all = [{ id: "", title: t("all") }, ...this.names.packs];
    this.byId("scenarios").replaceChildren(...all.map((pack) =>
      el("button", { type: "button", "data-scenario": pack.id, "aria-pressed": String(pack.id === this.scenario), onclick: () => this.choose({ scenario: pack.id }) }, titled(pack))));
    this.draw();
  }

  draw() {
    const focused = document.activeElement?.dataset?.case;
    this.byId("case-list").replaceChildren(...this.cases.map((one) => el("li", {}, this.card(one))));
    if (focused) this.byId("case-list").querySelector(`[data-case="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.byId("cases-more").hidden = !this.next;
    this.byId("inbox-open").textContent = this.figures().open;
    const empty = this.byId("cases-empty");
    empty.hidden = !this.problem && this.cases.length > 0;
    empty.classList.toggle("error", Boolean(this.problem));
    empty.textContent = this.problem ? t("casesFailed", { why: this.problem }) : t(this.show === "overdue" ? "noneOverdue" : "noCases");
  }

  card(one) {
    const where = [titled(this.names.pack(one.scenario)), this.names.area(one.area), wordOf("level", one.level)].filter(Boolean).join(" · ");
    return el("button", { type: "button", class: "case", "data-case": one.case, "data-state": one.state, onclick: () => this.on.chosen(one.case) },
      el("span", { class: `dot ${one.severity}`, title: t(one.severity) }), el("strong", {}, this.names.title(one)), el("span", { class: "muted" }, where),
      el("span", { class: "tags" }, el("span", { class: one.final ? "tag good" : "tag" }, this.names.state(one)), left(one, this.names.now())));
  }
}
