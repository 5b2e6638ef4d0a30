// What things of the city are called: scenarios and their states by the packs, jurisdictions and organisations by the map.
import { getJson } from "/static/http.js";
import { language, t, word, wordOf } from "/static/i18n.js";

const MOST = 1000; // names asked for at once
const ITEMS = "/city/ogc/collections";

export const LEVELS = ["grid", "community", "town", "city"];

// The title of what has one in both languages.
export const titled = (thing) => (language() === "zh-CN" && thing.title_zh) || thing.title || thing.name;

export const when = (us) => (us ? new Date(us / 1000).toLocaleString(language() === "zh-CN" ? "zh-CN" : "en-GB", { dateStyle: "medium", timeStyle: "short" }) : "");

// A time as people say it: minutes, hours or days.
export function span(us) {
  const n = Math.abs(us) / 60e6;
  if (n < 120) return t("leftMinutes", { n: Math.round(n) });
  return n < 2880 ? t("leftHours", { n: Math.round(n / 60) }) : t("leftDays", { n: Math.round(n / 1440) });
}

export class Names {
  constructor() {
    Object.assign(this, { packs: [], collections: [], areas: new Map(), asked: new Set(), orgs: new Map(), skew: 0 });
  }

  async begin() {
    const [packs, { collections }] = await Promise.all([getJson("/city/packs"), getJson(ITEMS)]);
    this.packs = packs.items;
    this.collections = collections;
    if (this.has("organisation")) {
      const { features } = await getJson(`${ITEMS}/organisation/items?limit=${MOST}`);
      for (const { id, properties } of features) this.orgs.set(id, properties.name ?? id);
    }
  }

  has(layer) {
    return this.collections.some(({ id }) => id === layer);
  }

  // The server's time, in microseconds: deadlines are by its clock.
  now() {
    return Date.now() * 1000 + this.skew;
  }

  pack(id) {
    return this.packs.find((pack) => pack.id === id) ?? { id, title: id, states: [], actions: [], clocks: [] };
  }

  of(case_, what, name) {
    return titled(this.pack(case_.scenario)[what].find((one) => one.name === name) ?? { title: name });
  }

  state(case_) {
    return this.of(case_, "states", case_.state);
  }

  // Triggers call a case "kind: rule", by the words of events.
  title(case_) {
    const { category, title } = case_;
    return title.startsWith(`${category}: `) ? `${word(category)}${language() === "zh-CN" ? "：" : ": "}${title.slice(category.length + 2)}` : word(title);
  }

  layer(id) {
    const known = wordOf("layer", id);
    if (known !== id) return known;
    const pack = this.packs.find(({ layer }) => layer === id);
    const [english, chinese] = (this.collections.find((one) => one.id === id)?.title ?? id).split(" / ");
    return pack ? titled(pack) : (language() === "zh-CN" && chinese) || english;
  }

  org(id) {
    return this.orgs.get(id) ?? id;
  }

  // A jurisdiction with what contains it up to the community; its code as long as its name is not known.
  area(code) {
    const own = this.areas.get(code);
    if (!own) return code;
    const above = code.length > 12 && this.areas.get(code.slice(0, 12));
    return above ? `${above} ${own}` : own;
  }

  // Get the names of these; answers whether there is a new one. One question for a community and all its grids.
  async learn(codes) {
    if (!this.has("jurisdiction")) return false;
    const wanted = new Set(codes.filter(Boolean).map((code) => code.slice(0, 12)).filter((code) => !this.asked.has(code)));
    const before = this.areas.size;
    await Promise.all([...wanted].map(async (code) => {
      this.asked.add(code);
      const level = { 6: "&level=city", 9: "&level=town" }[code.length] ?? "";
      try {
        const { features } = await getJson(`${ITEMS}/jurisdiction/items?limit=${MOST}&area=${encodeURIComponent(code)}${level}`);
        for (const { id, properties } of features) this.areas.set(id, properties.name ?? id);
      } catch {
        this.asked.delete(code); // asked again with the next list
      }
    }));
    return this.areas.size > before;
  }
}
