// The city's page: one map, and the inbox of cases. It reads the same HTTP API as everybody else.
import { el, getJson } from "/static/http.js";
import "/static/citytexts.js";
import { onLanguage, startLanguage, t } from "/static/i18n.js";
import { Inbox } from "/static/inbox.js";
import { CityMap } from "/static/citymap.js";

const AGAIN_MS = 5000; // what others change shows after so long

const byId = (id) => document.getElementById(id);

function fatal(why) {
  byId("fatal").textContent = why;
  byId("fatal").hidden = false;
  byId("city").hidden = true;
}

function figures(inbox) {
  const { open, overdue } = inbox.figures();
  const rows = [["figureCases", open], ["figureOverdue", overdue, overdue !== "0"]];
  byId("figures").replaceChildren(...rows.map(([key, value, warn]) =>
    el("div", { class: warn ? "warn" : "", "data-figure": key }, el("dd", {}, value), el("dt", {}, t(key)))));
}

async function begin() {
  startLanguage();
  let session;
  try {
    session = await getJson("/api/session");
  } catch (problem) {
    if (problem.status === 401) location.assign("/");
    return fatal(t("fatal", { why: problem.message }));
  }
  byId("who").textContent = session.who ?? "";
  let site;
  try {
    site = await getJson("/city/");
  } catch (problem) {
    return fatal(problem.status === 404 ? t("noCity") : t("fatal", { why: problem.message }));
  }
  byId("site").textContent = site.title;
  document.title = `${site.title} · Linli`;
  byId("city").hidden = false;
  const map = new CityMap(byId("map"), byId("layers"), byId("map-note"), (id) => inbox.open(id));
  const inbox = new Inbox(byId, (one) => map.show(one), () => figures(inbox));
  onLanguage(() => {
    map.texts();
    inbox.texts();
    figures(inbox);
  });
  await Promise.all([inbox.begin(), map.begin(site)]);
  setInterval(() => {
    if (document.hidden) return;
    inbox.refresh();
    map.refresh();
  }, AGAIN_MS);
}

begin();
