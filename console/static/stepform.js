// The actions that the viewer may take with a case now, and the form of the one that was chosen.
import { el } from "/static/http.js";
import { t, wordOf } from "/static/i18n.js";
import { LEVELS, titled } from "/static/citynames.js";

const FIELDS = ["note", "approver", "holder", "helpers", "other", "level", "area", "place", "category", "amount", "marks"];
let serial = 0; // of lists to choose from

export class StepForm {
  // send(body): take the step.
  constructor(one, actions, names, send) {
    Object.assign(this, { one, names, send, action: null });
    this.box = el("div", { class: "asked" });
    this.node = actions.length
      ? el("section", { class: "actions" }, el("h3", {}, t("actions")), el("div", { class: "buttons" }, ...actions.map((action) =>
        el("button", { type: "button", class: "quiet", "data-action": action.name, "aria-pressed": "false", onclick: () => this.choose(action) }, titled(action)))), this.box)
      : el("p", { class: "muted" }, t("noActions"));
  }

  // Whether something is typed that a newer view would lose.
  get dirty() {
    return this.action !== null;
  }

  choose(action) {
    this.action = action;
    for (const button of this.node.querySelectorAll("[data-action]")) button.setAttribute("aria-pressed", String(button.dataset.action === action.name));
    const asked = [...new Set([...action.needs, ...action.optional, "note"])].filter((name) => FIELDS.includes(name));
    this.fields = el("div", { class: "fields" }, ...asked.map((name) => this.field(name, action.needs.includes(name))));
    const form = el("form", {}, this.fields, el("div", { class: "buttons" }, el("button", { type: "submit", class: "primary", "data-do": action.name }, titled(action)),
      el("button", { type: "button", class: "quiet", onclick: () => this.leave() }, t("cancel"))));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(this.body(new FormData(form)));
    });
    this.box.replaceChildren(form);
    form.querySelector("input, textarea, select")?.focus();
  }

  leave() {
    this.action = null;
    this.box.replaceChildren();
    for (const button of this.node.querySelectorAll("[data-action]")) button.setAttribute("aria-pressed", "false");
  }

  // One more value is needed after all (a mark may ask for it); false: it is none of a form's.
  ask(name) {
    const field = name?.split(".")[0];
    if (!this.action || !FIELDS.includes(field)) return false;
    if (!this.fields.querySelector(`[name="${field}"]`)) {
      const more = this.field(field, true);
      this.fields.append(more);
      for (const mark of this.fields.querySelectorAll("[type=radio]")) mark.addEventListener("change", () => more.remove()); // another mark may not
    }
    this.fields.querySelector(`[name="${field}"]`)?.focus();
    return true;
  }

  field(name, required) {
    if (name === "marks") return this.marks(required);
    const label = el("span", {}, t(`case.${name}`), required ? "" : el("small", { class: "muted" }, ` ${t("optional")}`));
    return el("label", { class: "field" }, label, ...this.inputs(name, required));
  }

  inputs(name, required) {
    const input = (more = {}) => el("input", { name, required, maxlength: 200, autocomplete: "off", ...more });
    if (name === "note") return [el("textarea", { name, required, maxlength: 200, rows: 2 })];
    if (name === "amount") return [input({ type: "number", min: 0.25, step: "any" })];
    if (name === "place") return [input({ placeholder: "117.1612, 35.0842", pattern: "\\s*-?[\\d.]+\\s*[,，]\\s*-?[\\d.]+\\s*" })];
    if (name === "level") return [el("select", { name, required }, el("option", { value: "" }, ""), ...LEVELS.map((level) => el("option", { value: level }, wordOf("level", level))))];
    if (name === "holder" || name === "helpers") {
      const list = `orgs-${++serial}`;
      return [input({ list }), el("datalist", { id: list }, ...[...this.names.orgs].map(([id, called]) => el("option", { value: id }, called)))];
    }
    return [input()];
  }

  // From each group one mark; of the first one must be chosen where marks are needed.
  marks(required) {
    return el("fieldset", { class: "marks" }, el("legend", {}, t("case.marks")), ...this.action.marks.map((group, n) => el("div", { class: "choices" }, ...group.map((mark) =>
      el("label", { class: "check" }, el("input", { type: "radio", name: `marks-${n}`, value: mark, required: required && n === 0 }), wordOf("mark", mark))))));
  }

  body(data) {
    const body = { action: this.action.name };
    for (const [name, value] of data) {
      const text = value.trim();
      if (text === "") continue;
      if (name.startsWith("marks-")) body.marks = [...(body.marks ?? []), text];
      else if (name === "amount") body.amount = Number(text);
      else if (name === "place") body.place = text.split(/[,，]/).map(Number);
      else if (name === "helpers") body.helpers = text.split(/[,，\s]+/).filter(Boolean);
      else body[name] = text.replace(/\s+/g, " ");
    }
    return body;
  }
}
