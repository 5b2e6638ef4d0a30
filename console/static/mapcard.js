// What the map says about a thing that was clicked, in words.
import { el } from "/static/http.js";
import { has, t, word, wordOf } from "/static/i18n.js";
import { titled, when } from "/static/citynames.js";
import { left } from "/static/inbox.js";

const MOST = 12; // rows
const OWN = new Set(["name", "id", "why", "label"]); // said otherwise, or in one language only
const TIMES = new Set(["since", "until"]);

function value(name, given, names) {
  if (typeof given === "boolean" || given === "true" || given === "false") return t(String(given) === "true" ? "yes" : "no");
  if (name === "parent" || name === "serves") return names.area(given);
  if (name === "company" || name === "holder") return names.org(given);
  if (TIMES.has(name)) return when(Date.parse(given) * 1000);
  return has(`is.${given}`) ? t(`is.${given}`) : word(String(given));
}

function thing({ source, properties }, names) {
  const rows = Object.entries(properties).filter(([name, given]) => !OWN.has(name) && !["", null, "null", "[]"].includes(given)).slice(0, MOST);
  const many = properties.count > 1;
  return el("div", { class: "card" }, el("h3", {}, many ? `${properties.count} × ${names.layer(source)}` : properties.name || properties.id || names.layer(source)),
    el("p", { class: "muted" }, many ? t("zoomNearer") : names.layer(source)),
    many ? null : el("dl", {}, ...rows.flatMap(([name, given]) => [el("dt", {}, wordOf("property", name)), el("dd", {}, value(name, given, names))])));
}

function row({ case: one, alert }, names, chosen) {
  if (one) {
    return el("li", {}, el("button", { type: "button", class: "case", "data-case": one.case, onclick: () => chosen(one.case) }, el("span", { class: `dot ${one.severity}` }),
      el("strong", {}, names.title(one)), el("span", { class: "muted" }, [titled(names.pack(one.scenario)), names.state(one)].join(" · ")), el("span", { class: "tags" }, left(one, names.now()))));
  }
  return el("li", { class: "alarm-row", "data-alarm": alert.id }, el("span", { class: `dot ${alert.severity}` }), el("strong", {}, `${word(alert.kind)} · ${alert.rule}`),
    el("span", { class: "muted" }, [alert.source, t(alert.state), when(Date.parse(alert.since) * 1000)].filter(Boolean).join(" · ")));
}

// moving: cases and alerts at the place; still: a feature of a tile, or null. chosen(id): a case is to be opened.
export function card(moving, still, names, chosen) {
  if (!moving.length) return thing(still, names);
  const cases = moving.filter((one) => one.case);
  const all = cases.length ? cases : moving;
  const shown = all.slice(0, MOST);
  return el("div", { class: "card" }, el("h3", {}, t(cases.length ? "casesHere" : "alertsHere", { n: all.length })),
    el("ul", { class: "here" }, ...shown.map((one) => row(one, names, chosen))),
    all.length > shown.length ? el("p", { class: "muted" }, t("andMore", { n: all.length - shown.length })) : null);
}
