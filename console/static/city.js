// The city's page: one map, and the inbox of cases. It reads the same HTTP API as everybody else.
import { el, getJson } from "/static/http.js";
import "/static/citytexts.js";
import { onLanguage, startLanguage, t } from "/static/i18n.js";
import { CaseView } from "/static/case.js";
import { CityMap } from "/static/citymap.js";
import { Names } from "/static/citynames.js";
import { Inbox } from "/static/inbox.js";

const AGAIN_MS = 5000; // what others change shows after so long

const byId = (id) => document.getElementById(id);

function fatal(key, why = "") {
  const say = () => (byId("fatal").textContent = t(key, { why }));
  say();
  onLanguage(say);
  byId("fatal").hidden = false;
  byId("city").hidden = true;
}

function figures(inbox) {
  const { open, overdue } = inbox.figures();
  const rows = [["figureCases", open], ["figureOverdue", overdue, !["0", "–"].includes(overdue)]];
  byId("figures").replaceChildren(...rows.map(([key, value, warn]) =>
    el("div", { class: warn ? "warn" : "", "data-figure": key }, el("dd", {}, value), el("dt", {}, t(key)))));
}

function signedIn(session) {
  byId("who").textContent = session.who;
  byId("signout").hidden = !session.session;
  byId("signout").addEventListener("click", async () => {
    await fetch("/api/session", { method: "DELETE" });
    location.assign("/");
  });
  // Who has no right to alerts has no other room.
  if (!session.rights.includes("alerts")) document.querySelector(".rooms").hidden = true;
}

function named(site) {
  byId("site").textContent = site.title;
  document.title = `${site.title} · Linli`;
}

// The parts, connected.
function rooms(site, session) {
  const names = new Names();
  const view = new CaseView(byId("case"), names, { shown: (one) => map.show(one), changed: () => inbox.refresh() }, (right) => session.rights.includes(right));
  const inbox = new Inbox(byId, names, {
    chosen: (id) => view.look(id),
    filter: () => map.refresh(),
    changed: () => {
      figures(inbox);
      view.fresh(inbox.cases);
    },
  });
  const map = new CityMap(byId, names, { site, library: session.map, chosen: (id) => view.look(id), filter: () => inbox.filter() });
  onLanguage(() => {
    for (const part of [map, inbox, view]) part.texts();
    figures(inbox);
  });
  return { names, view, inbox, map };
}

async function begin() {
  startLanguage();
  let session;
  let site;
  try {
    session = await getJson("/api/session");
    if (!session.who) return location.assign("/"); // there one signs in
    if (!session.city) return fatal("noCity");
    site = await getJson("/city/");
  } catch (problem) {
    return fatal("fatal", problem.message);
  }
  signedIn(session);
  named(site);
  const { names, view, inbox, map } = rooms(site, session);
  try {
    await names.begin();
  } catch (problem) {
    return fatal(problem.status === 403 ? "noRole" : "fatal", problem.message);
  }
  byId("city").hidden = false;
  await Promise.all([inbox.begin(), map.begin()]);
  const [, wanted] = /^#case=([\w.:-]+)$/.exec(decodeURIComponent(location.hash)) ?? [];
  if (wanted) view.look(wanted);
  again(inbox, map);
}

// One round after the other: a slow answer is waited for.
function again(inbox, map) {
  setTimeout(async () => {
    if (!document.hidden) await Promise.all([inbox.refresh(), map.refresh()]);
    again(inbox, map);
  }, AGAIN_MS);
}

begin();
