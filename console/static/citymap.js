// The map, drawn by MapLibre GL JS from our own vector tiles and OGC API Features. No other server is asked.
import { el, getJson } from "/static/http.js";
import { t, word } from "/static/i18n.js";

const LIBRARY = "/static/maplibre-gl-csp.js";
const WORKER = "/static/maplibre-gl-csp-worker.js";
const LIVE = ["alerts", "videos", "matters", "appeals"]; // these move while one looks
const MOST = 1000; // live features at once

const OFF = ["duty", "unit", "organisation"]; // shown when asked for
const COLOURS = {
  jurisdiction: "#4b7f9c", estate: "#7d6aa8", building: "#53616e", unit: "#9a8f6a", component: "#6c9a78", station: "#58c1bf",
  organisation: "#a884c8", duty: "#7f8f5a", camera: "#6ba4f5", alerts: "#ee8a3c", videos: "#e0697a", matters: "#f2575a", appeals: "#d9b64a",
};
const order = (id) => Object.keys(COLOURS).indexOf(id);

// Chromium lets a worker be made only from what a policy vouches for: our own file, nothing else.
function allowWorker() {
  globalThis.trustedTypes?.createPolicy("default", {
    createScriptURL(url) {
      if (new URL(url, location.href).href === new URL(WORKER, location.href).href || new URL(url, location.href).href === new URL(LIBRARY, location.href).href) return url;
      throw new TypeError(`not a script of ours: ${url}`);
    },
  });
}

function loadLibrary() {
  return new Promise((resolve, reject) => {
    const script = el("script", { src: LIBRARY });
    script.addEventListener("load", () => resolve(globalThis.maplibregl));
    script.addEventListener("error", () => reject(new Error(LIBRARY)));
    document.head.append(script);
  });
}

export class CityMap {
  constructor(node, layers, note, chosen) {
    Object.assign(this, { node, legend: layers, note, chosen, hidden: new Set(OFF), shown: [] });
  }

  async begin(site) {
    allowWorker();
    try {
      const [maplibre, { collections }] = await Promise.all([loadLibrary(), getJson("/city/ogc/collections")]);
      this.maplibre = maplibre;
      this.collections = collections.toSorted((a, b) => order(a.id) - order(b.id));
    } catch (problem) {
      this.problem = problem;
      return this.texts();
    }
    this.maplibre.setWorkerUrl(WORKER);
    const extent = site.extent ?? [116, 34, 118, 36];
    this.map = new this.maplibre.Map({
      container: this.node,
      style: { version: 8, sources: {}, layers: [{ id: "ground", type: "background", paint: { "background-color": "#10171d" } }] },
      bounds: [extent.slice(0, 2), extent.slice(2)], fitBoundsOptions: { padding: 30 }, attributionControl: false, dragRotate: false,
    });
    await new Promise((resolve) => this.map.once("load", resolve));
    for (const { id } of this.collections) this.add(id);
    this.map.on("moveend", () => this.refresh());
    this.texts();
    await this.refresh();
    this.node.dataset.ready = "true";
  }

  add(id) {
    const live = LIVE.includes(id);
    const colour = COLOURS[id] ?? "#8796a5";
    this.map.addSource(id, live
      ? { type: "geojson", data: { type: "FeatureCollection", features: [] } }
      : { type: "vector", tiles: [`${location.origin}/city/tiles/${id}/{z}/{x}/{y}.mvt`], maxzoom: 16 });
    const source = live ? { source: id } : { source: id, "source-layer": id };
    this.shown.push(id);
    this.map.addLayer({ id: `${id}-area`, type: "fill", ...source, filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": colour, "fill-opacity": id === "jurisdiction" ? 0.04 : 0.3 } });
    this.map.addLayer({ id: `${id}-line`, type: "line", ...source, filter: ["!=", ["geometry-type"], "Point"], paint: { "line-color": colour, "line-width": id === "jurisdiction" ? 1.2 : 0.8 } });
    this.map.addLayer({ id: `${id}-point`, type: "circle", ...source, filter: ["==", ["geometry-type"], "Point"],
      paint: { "circle-color": colour, "circle-radius": live ? 6 : 3.5, "circle-stroke-color": "#0d1217", "circle-stroke-width": live ? 1.5 : 0.5 } });
    if (this.hidden.has(id)) this.toggle(id);
    if (id !== "jurisdiction") {
      for (const part of ["area", "point"]) this.map.on("click", `${id}-${part}`, (event) => this.tell(id, event));
    }
  }

  toggle(id) {
    for (const part of ["area", "line", "point"]) this.map.setLayoutProperty(`${id}-${part}`, "visibility", this.hidden.has(id) ? "none" : "visible");
  }

  tell(id, event) {
    const [feature] = event.features;
    const { case: of, ...values } = feature.properties;
    const rows = Object.entries(values).filter(([, value]) => !["", null, "null"].includes(value)).slice(0, 12);
    const card = el("div", { class: "card" }, el("h3", {}, `${word(`layer.${id}`)} ${feature.properties.name ?? ""}`),
      el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, word(name)), el("dd", {}, String(value))])),
      of ? el("button", { type: "button", class: "quiet", onclick: () => this.chosen(of) }, t("openCase")) : null);
    new this.maplibre.Popup({ maxWidth: "320px" }).setLngLat(event.lngLat).setDOMContent(card).addTo(this.map);
  }

  // Fly to a case and ring it.
  show({ place }) {
    if (!this.map || !place) return;
    this.map.easeTo({ center: place, zoom: Math.max(this.map.getZoom(), 15) });
    this.ring?.remove();
    this.ring = new this.maplibre.Marker({ element: el("div", { class: "ring" }) }).setLngLat(place).addTo(this.map);
  }

  async refresh() {
    if (!this.map) return;
    const box = this.map.getBounds().toArray().flat().map((x, i) => Math.min(Math.max(x, i % 2 ? -90 : -180), i % 2 ? 90 : 180)).join(",");
    await Promise.all(LIVE.filter((id) => this.shown.includes(id) && !this.hidden.has(id)).map(async (id) => {
      try {
        this.map.getSource(id).setData(await getJson(`/city/ogc/collections/${id}/items?limit=${MOST}&bbox=${box}`));
      } catch {
        // Shown again at the next round; the inbox says what is wrong.
      }
    }));
  }

  texts() {
    this.note.hidden = !this.problem;
    if (this.problem) this.note.textContent = t("noMap", { why: this.problem.message });
    this.legend.replaceChildren(el("legend", {}, t("layers")), ...this.shown.toReversed().map((id) => {
      const box = el("input", { type: "checkbox", checked: !this.hidden.has(id), "data-layer": id });
      box.addEventListener("change", () => {
        this.hidden[box.checked ? "delete" : "add"](id);
        this.toggle(id);
        if (box.checked) this.refresh();
      });
      const dot = el("span", { class: "dot" });
      dot.style.background = COLOURS[id] ?? "#8796a5";
      return el("label", { class: "check" }, box, dot, word(`layer.${id}`));
    }));
  }
}
