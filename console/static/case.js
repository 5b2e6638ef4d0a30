// One case: where it is, its clocks, what may be done with it now, and every step that was.
import { el, getJson, request } from "/static/http.js";
import { t, word, wordOf } from "/static/i18n.js";
import { LEVELS, span, titled, when } from "/static/citynames.js";
import { StepForm } from "/static/stepform.js";
import { left } from "/static/inbox.js";

const path = (id, part = "") => `/city/cases/${encodeURIComponent(id)}${part}`;

function amount({ amount: n, kind }) {
  if (!n) return "";
  return kind !== "working-days" && n < 1 ? t("leftMinutes", { n: Math.round(n * 60) }) : `${+n.toFixed(2)} ${wordOf("unit", kind)}`;
}

export class CaseView {
  // on: { shown(case), changed() }; may(right): what the box's own grant says.
  constructor(dialog, names, on, may) {
    Object.assign(this, { dialog, names, on, may, one: null, looks: 0 });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => {
      this.one = null;
      this.looks++;
      dialog.replaceChildren();
      history.replaceState(null, "", location.pathname);
    });
  }

  get open() {
    return this.one?.case ?? "";
  }

  async look(id, said = "") {
    const mine = ++this.looks; // an answer that comes after the next look, or after it was closed, is not shown
    let read;
    try {
      read = await Promise.all(["", "/steps", "/actions"].map((part) => getJson(path(id, part))));
    } catch (problem) {
      if (mine !== this.looks) return;
      this.dialog.replaceChildren(this.head(t("caseFailed"), null), el("p", { class: "error said" }, problem.message));
      if (!this.dialog.open) this.dialog.showModal();
      return;
    }
    if (mine !== this.looks) return;
    const [one, { items: steps }, { items: actions }] = read;
    Object.assign(this, { one, steps, actions, form: null });
    if (!this.dialog.open) this.dialog.showModal();
    history.replaceState(null, "", `#case=${encodeURIComponent(id)}`);
    this.draw(said);
    this.on.shown(one);
    if (await this.names.learn([one.area, ...steps.map(({ area }) => area)]) && this.one === one && !this.form?.dirty) this.draw(said);
  }

  // Others may have moved it; what is half typed stays.
  fresh(cases) {
    const now = cases.find((one) => one.case === this.open);
    if (now && now.version !== this.one.version && !this.form?.dirty) this.look(now.case);
  }

  texts() {
    if (this.one) this.draw("");
  }

  head(title, one) {
    return el("header", {}, one ? el("span", { class: `dot ${one.severity}`, title: t(one.severity) }) : null, el("h2", {}, title),
      one ? left(one, this.names.now()) : null, el("button", { type: "button", class: "quiet", onclick: () => this.dialog.close() }, t("close")));
  }

  draw(said) {
    const { one } = this;
    this.error = el("p", { class: "error said", role: "alert" }, said);
    this.form = new StepForm(one, this.actions, this.names, (body) => this.step(body));
    this.dialog.replaceChildren(this.head(this.names.title(one), one),
      el("div", { class: "case-body" },
        el("ol", { class: "levels", "aria-label": t("levels") }, ...LEVELS.map((level) => el("li", level === one.level ? { class: "here", "aria-current": "step" } : {}, wordOf("level", level)))),
        this.error, this.form.node, this.facts(one), this.clocks(one), this.evidence(one), this.words(one), this.history(one)));
  }

  facts(one) {
    const names = this.names;
    const other = one.other ? el("button", { type: "button", class: "link", onclick: () => this.look(one.other) }, one.other.slice(0, 8)) : "";
    const rows = [["scenario", titled(names.pack(one.scenario))], ["state", names.state(one)], ["area", names.area(one.area)], ["holder", names.org(one.holder)],
      ["helpers", one.helpers.map((org) => names.org(org)).join(", ")], ["category", [word(one.category), one.code_system].filter(Boolean).join(" · ")],
      ["severity", t(one.severity)], ["channel", wordOf("channel", one.channel)], ["reference", one.reference], ["component", one.component],
      ["opened", when(one.opened_us)], ["closed", when(one.closed_us)], ["marks", one.marks.map((mark) => wordOf("mark", mark)).join(", ")], ["otherCase", other]];
    return el("dl", { class: "facts" }, ...rows.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, t(`case.${name}`)), el("dd", { "data-fact": name }, value))));
  }

  clocks(one) {
    if (!one.deadlines.length) return null;
    const now = this.names.now();
    const said = (clock) => {
      if (clock.met_us) return el("span", { class: clock.met_us > clock.due_us ? "tag bad" : "tag good" }, t(clock.met_us > clock.due_us ? "clockLate" : "clockMet", { when: when(clock.met_us) }));
      if (clock.stopped_us) return el("span", { class: "tag" }, t("clockStopped", { when: when(clock.stopped_us) }));
      const late = clock.due_us < now;
      return el("span", { class: late ? "tag bad" : clock.warn_us && clock.warn_us < now ? "tag warn" : "tag" }, t(late ? "overdueBy" : "dueIn", { time: span(clock.due_us - now) }));
    };
    return el("section", {}, el("h3", {}, t("clocks")), el("ul", { class: "clocks" }, ...one.deadlines.map((clock) => el("li", { "data-clock": clock.name },
      el("span", {}, this.names.of(one, "clocks", clock.name)), el("span", { class: "muted" }, amount(clock)),
      el("time", { class: "muted" }, when(clock.due_us)), said(clock)))));
  }

  // The picture of the alert that a video case is about, pixelated as everywhere.
  evidence(one) {
    if (one.channel !== "camera" || !one.cause || !this.may("alerts")) return null;
    const box = el("section", { class: "evidence", hidden: true });
    getJson(`/api/alerts/${encodeURIComponent(one.cause)}/picture?ready=true`).then(({ ready }) => {
      if (!ready) return;
      box.append(el("img", { src: `/api/alerts/${encodeURIComponent(one.cause)}/picture`, alt: this.names.title(one) }));
      box.hidden = false;
    }, () => {});
    return box;
  }

  // What a person wrote or is: read for a purpose, which is written down.
  words(one) {
    if (!one.words) return null;
    const shown = el("div", { class: "words" });
    const purpose = el("input", { name: "purpose", required: true, minlength: 3, maxlength: 200, placeholder: t("plainPurpose"), "aria-label": t("plainPurpose") });
    const form = el("form", { class: "purpose" }, purpose, el("button", { type: "submit", class: "quiet" }, t("wordsRead")));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const { items } = await getJson(path(one.case, `/words?${new URLSearchParams({ purpose: purpose.value })}`));
        shown.replaceChildren(...items.map((item) => el("blockquote", {}, item.erased ? t("wordsErased") : item.text,
          el("footer", { class: "muted" }, [item.name, item.phone, item.email, item.address].filter(Boolean).join(" · ")))));
      } catch (problem) {
        shown.replaceChildren(el("p", { class: "error" }, problem.message));
      }
    });
    return el("section", {}, el("h3", {}, t("words")), el("p", { class: "muted" }, t("wordsWhy")), form, shown);
  }

  history(one) {
    const names = this.names;
    const row = (step) => {
      const moved = step.was && step.was !== step.state ? `${names.of(one, "states", step.was)} → ${names.of(one, "states", step.state)}` : "";
      const more = [moved, wordOf("level", step.level), step.holder ? `${t("case.holder")}: ${names.org(step.holder)}` : "", step.approver ? `${t("case.approver")}: ${step.approver}` : "",
        step.marks.map((mark) => wordOf("mark", mark)).join(", ")];
      return el("li", { "data-step": step.version }, el("time", {}, when(step.time_us)), el("strong", {}, step.action === "open" ? t("opened") : names.of(one, "actions", step.action)),
        el("span", { class: "muted" }, [wordOf("who", step.who), wordOf("role", step.role)].filter(Boolean).join(", ")),
        el("p", { class: "muted" }, more.filter(Boolean).join(" · ")), step.note ? el("p", {}, step.note) : null);
    };
    return el("section", {}, el("h3", {}, t("steps")),
      this.steps.length ? el("ol", { class: "steps" }, ...this.steps.toReversed().map(row)) : el("p", { class: "muted" }, t("noSteps")));
  }

  async step(body) {
    const { one } = this;
    this.error.textContent = "";
    try {
      await request(path(one.case, "/steps"), { method: "POST", headers: { "content-type": "application/json", "if-match": `"${one.version}"` }, body: JSON.stringify(body) });
    } catch (problem) {
      return this.refused(problem);
    }
    await this.look(one.case);
    this.on.changed();
  }

  // Said in place. What somebody else changed, or what is not possible as it is now, is shown as it is now.
  async refused(problem) {
    if (problem.status === 412 || problem.status === 409) {
      const said = t(problem.status === 412 ? "stepChanged" : "stepIllegal", { why: problem.message });
      await this.look(this.one.case, said);
      this.on.changed();
    } else if (problem.status === 422 && this.form.ask(problem.parameter)) this.error.textContent = t("stepMissing", { why: problem.message });
    else this.error.textContent = t("stepFailed", { why: problem.message });
  }
}
