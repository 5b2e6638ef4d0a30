// Captured faces, pixelated, and the dialog in which one original is opened for a stated purpose.
import { el, getJson, postJson, request } from "/static/http.js";
import { t, time } from "/static/i18n.js";

const PAGE = 24;
const SETTLE = 2500; // ms after a pushed capture: its picture is made meanwhile

export class Faces {
  constructor(page) {
    this.page = page; // { name(camera), may(right) }
    this.section = document.getElementById("faces");
    this.list = document.getElementById("face-list");
    this.holding = document.getElementById("faces-holding");
    this.dialog = document.getElementById("face-dialog");
    this.dialog.addEventListener("close", () => this.leave());
    this.images = new Map(); // capture -> img
    this.answer = null;
  }

  async load() {
    this.answer = await getJson(`/api/faces?limit=${PAGE}`);
    this.section.hidden = false;
    this.show();
  }

  // Captures and deletions come one by one; the list is read again once they have settled.
  push() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load().catch((error) => this.failed(error)), SETTLE);
  }

  failed(error) {
    this.section.hidden = false;
    this.holding.textContent = error.message;
  }

  show() {
    if (!this.answer) return;
    const shown = new Set(this.answer.faces.filter((face) => face.picture).map((face) => face.capture));
    for (const capture of this.images.keys()) if (!shown.has(capture)) this.images.delete(capture); // a page stays open for weeks
    const { pictures, sealed, filing_at_persons: filing } = this.answer.holding;
    this.holding.replaceChildren(el("b", {}, t("facesHeld", { n: pictures.toLocaleString() })),
      ` · ${t("facesSealed", { n: sealed.toLocaleString() })} · ${t("facesFiling", { n: filing.toLocaleString() })} `,
      el("span", { class: "muted" }, t("facesNote")));
    this.list.replaceChildren(...this.answer.faces.map((face) => this.card(face)));
    if (!this.answer.faces.length) this.list.append(el("p", { class: "empty" }, t("noFaces")));
  }

  card(face) {
    return el("button", { type: "button", class: "face", "data-capture": face.capture, onclick: () => this.look(face) },
      el("span", { class: "crop" }, face.picture ? this.image(face) : t(face.state === "deleted" ? "faceDeleted" : "pictureFollows")),
      el("span", { class: "muted" }, time(face.at)),
      el("span", { class: "muted" }, `${t("quality")} ${face.quality.toFixed(2)}`));
  }

  image(face) {
    if (!this.images.has(face.capture)) this.images.set(face.capture, el("img", { alt: "", src: face.picture }));
    return this.images.get(face.capture);
  }

  look(face) {
    this.stage = el("div", { class: "stage" }, face.picture ? el("img", { alt: "", src: face.picture }) : el("p", {}, t("faceDeleted")));
    const rows = [[t("camera"), this.page.name(face.camera)], [t("faceAt"), time(face.at, true)], [t("quality"), face.quality.toFixed(2)],
      [t("faceOriginal"), t(face.sealed ? "faceSealed" : "faceNone")]];
    const mayOpen = this.page.may("plain");
    this.dialog.replaceChildren(
      el("header", {}, el("h2", {}, t("faceTitle")),
        el("button", { type: "button", class: "quiet", onclick: () => this.dialog.close() }, t("close"))),
      this.stage, el("dl", { class: "facts" }, ...rows.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v)))),
      mayOpen && face.sealed && this.answer.holding.opens_here !== false ? this.openForm(face) : "",
      mayOpen && face.state !== "deleted" ? this.deletion(face) : "");
    if (!this.dialog.open) this.dialog.showModal();
  }

  openForm(face) {
    const purpose = el("input", { name: "purpose", required: true, minlength: 4, maxlength: 200, placeholder: t("plainPurpose"), "aria-label": t("plainPurpose") });
    const pass = el("input", { name: "passphrase", type: "password", required: true, autocomplete: "off", placeholder: t("passphrase"), "aria-label": t("passphrase") });
    const said = el("p", { class: "muted", role: "status" }, t("faceOpenWhy"));
    const button = el("button", { type: "submit", class: "quiet" }, t("faceOpen"));
    const form = el("form", { class: "plain" }, said, purpose, pass, button);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const body = { purpose: purpose.value, passphrase: pass.value };
      pass.value = "";
      button.disabled = true;
      said.textContent = t("faceOpening");
      try {
        const blob = await (await postJson(`/api/faces/${face.capture}/open`, body)).blob();
        if (!form.isConnected) return;
        this.release();
        this.url = URL.createObjectURL(blob);
        this.stage.replaceChildren(el("img", { src: this.url, alt: "" }));
        said.textContent = t("plainShown");
      } catch (error) {
        said.textContent = t("plainRefused", { why: error.message });
      }
      button.disabled = false;
    });
    return form;
  }

  // Asked twice: what is deleted is gone.
  deletion(face) {
    let sure = false;
    const button = el("button", { type: "button", class: "quiet", onclick: async () => {
      if (!sure) {
        sure = true;
        button.textContent = t("faceDeleteSure");
        return;
      }
      try {
        await request(`/api/faces/${face.capture}`, { method: "DELETE" });
        this.dialog.close();
        this.push();
      } catch (error) {
        button.textContent = t("plainRefused", { why: error.message });
      }
    } }, t("faceDelete"));
    return el("div", { class: "plain" }, button);
  }

  release() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
  }

  leave() {
    this.release();
    this.dialog.replaceChildren();
  }
}
