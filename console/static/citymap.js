// The map: vector tiles of what stands on the ground, and on top what moves: alerts and cases. No other server is asked.
import { el, getJson } from "/static/http.js";
import { t } from "/static/i18n.js";
import { card } from "/static/mapcard.js";
import { mapLibrary } from "/static/maplibrary.js";
import { colour, COLOURS, ground, labels, live, middle, nameLayer, OFF } from "/static/maplayers.js";

const MOST = 500; // cases, or alerts, at once
const DAY_MS = 86400e3; // alerts of so long are shown
const NEAR = 6; // pixels around a click

const ORDER = Object.keys(COLOURS);
const order = (id) => (ORDER.includes(id) ? ORDER.indexOf(id) : 0.5);

export class CityMap {
  // how: { site, library, chosen(case), filter() }
  constructor(byId, names, how) {
    Object.assign(this, { byId, names, how, node: byId("map"), hidden: new Set(OFF), parts: new Map(), here: new Map(), ids: [] });
  }

  async begin() {
    if (!this.how.library) return this.failed("noMapLibrary");
    try {
      this.library = await mapLibrary();
      await this.draw();
    } catch (problem) {
      return this.failed("noMap", problem.message);
    }
    await this.refresh();
    this.node.dataset.ready = "true";
  }

  failed(key, why = "") {
    this.problem = [key, { why }];
    this.byId("city").classList.add("no-map");
    this.texts();
  }

  async draw() {
    this.map = new this.library.Map({
      container: this.node,
      style: { version: 8, sources: {}, layers: [{ id: "ground", type: "background", paint: { "background-color": "#10171d" } }] },
      bounds: await this.extent(), fitBoundsOptions: { padding: { top: 40, bottom: 40, right: 50, left: this.node.clientWidth > 700 ? 180 : 40 } }, attributionControl: false, dragRotate: false, pitchWithRotate: false, maxZoom: 20,
    });
    this.map.touchZoomRotate.disableRotation();
    await new Promise((resolve) => this.map.once("load", resolve));
    const cases = this.names.packs.map(({ layer }) => layer);
    const placed = this.names.collections.filter((one) => one.extent && !cases.includes(one.id) && one.id !== "alerts").map(({ id }) => id).toSorted((a, b) => order(a) - order(b));
    for (const id of placed) this.add(id, { type: "vector", tiles: [`${location.origin}/city/tiles/${id}/{z}/{x}/{y}.mvt`], maxzoom: 16 }, ground(id));
    for (const layer of labels(placed)) {
      this.map.addLayer(layer);
      this.parts.get(layer.source).push(layer.id);
    }
    const empty = { type: "geojson", data: { type: "FeatureCollection", features: [] } };
    if (placed.includes("jurisdiction")) {
      this.map.addSource("names", empty);
      this.map.addLayer(nameLayer("names"));
      this.parts.get("jurisdiction").push("names");
      this.map.on("moveend", () => this.label());
      this.label();
    }
    if (this.names.has("alerts")) this.add("alerts", empty, live("alerts", "alerts"));
    this.map.addSource("cases", empty);
    for (const id of cases.toSorted((a, b) => order(a) - order(b))) this.add(id, null, live(id, "cases"));
    if (this.node.clientWidth < 600) this.byId("legend").open = false;
    this.listen();
    this.texts();
  }

  // Of what the viewer may see: the city, or the jurisdiction of its role.
  async extent() {
    const { viewer, extent } = this.how.site;
    let boxes = extent ? [extent] : [];
    if (viewer.place !== "*" && this.names.has("jurisdiction")) {
      const { features } = await getJson(`/city/ogc/collections/jurisdiction/items?limit=${MOST}&area=${encodeURIComponent(viewer.place)}`);
      const points = features.flatMap(({ geometry }) => geometry.coordinates.flat(geometry.type === "Polygon" ? 1 : 2));
      if (points.length) boxes = points.map(([x, y]) => [x, y, x, y]);
    }
    if (!boxes.length) return [[73, 18], [135, 54]];
    const far = (n, pick) => boxes.reduce((best, box) => pick(best, box[n]), boxes[0][n]);
    return [[far(0, Math.min), far(1, Math.min)], [far(2, Math.max), far(3, Math.max)]];
  }

  add(id, source, layers) {
    if (source) this.map.addSource(id, source);
    for (const layer of layers) this.map.addLayer(layer);
    this.ids.push(id);
    this.parts.set(id, layers.map((layer) => layer.id));
  }

  listen() {
    const { map } = this;
    const home = map.getBounds();
    map.on("moveend", () => this.refresh());
    map.on("move", () => this.scale());
    this.scale();
    map.on("click", (event) => this.tell(event));
    map.on("idle", () => (this.node.dataset.idle = String(Number(this.node.dataset.idle ?? 0) + 1)));
    map.on("mousemove", ({ point }) => (map.getCanvas().style.cursor = this.at(point).length ? "pointer" : ""));
    this.byId("zoom-in").addEventListener("click", () => map.zoomIn());
    this.byId("zoom-out").addEventListener("click", () => map.zoomOut());
    this.byId("zoom-all").addEventListener("click", () => map.fitBounds(home));
    for (const id of this.hidden) this.toggle(id);
    for (const id of ["zoom", "scale"]) this.byId(id).hidden = false;
  }

  // A round length and how long it is here. (The library's own scale writes markup, which the page's policy forbids.)
  scale() {
    const metre = (2 ** this.map.getZoom() * 512) / (40_075_016.7 * Math.cos((this.map.getCenter().lat * Math.PI) / 180)); // pixels
    const length = [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5].map((power) => n * 10 ** power)).toSorted((a, b) => b - a).find((n) => n * metre < 130) ?? 1;
    this.byId("scale").style.width = `${length * metre}px`;
    this.byId("scale").textContent = length < 1000 ? `${length} m` : `${length / 1000} km`;
  }

  // Names of the jurisdictions that fit the zoom, each once: a tile's polygons end at the tile.
  async label() {
    const zoom = this.map.getZoom();
    const level = zoom < 12 ? "town" : zoom < 14.3 ? "community" : "grid";
    try {
      const { features } = await getJson(`/city/ogc/collections/jurisdiction/items?${new URLSearchParams({ limit: 200, level, bbox: this.box() })}`);
      this.map.getSource("names").setData({ type: "FeatureCollection", features: features.filter(({ geometry }) => geometry).map(({ geometry, properties }) =>
        ({ type: "Feature", properties: { name: properties.name ?? "", level }, geometry: { type: "Point", coordinates: middle(geometry) } })) });
    } catch {
      // The map is as good without names.
    }
  }

  box() {
    const bounds = this.map.getBounds();
    return [Math.max(bounds.getWest(), -180), Math.max(bounds.getSouth(), -90), Math.min(bounds.getEast(), 180), Math.min(bounds.getNorth(), 90)].map((x) => x.toFixed(6)).join(",");
  }

  toggle(id) {
    for (const part of this.parts.get(id) ?? []) this.map.setLayoutProperty(part, "visibility", this.hidden.has(id) ? "none" : "visible");
  }

  // Features that can be asked about a click, the topmost first.
  at({ x, y }) {
    const layers = this.ids.filter((id) => id !== "jurisdiction" && !this.hidden.has(id)).flatMap((id) => this.parts.get(id)).filter((part) => /-(point|line|area)$/.test(part));
    return this.map.queryRenderedFeatures([[x - NEAR, y - NEAR], [x + NEAR, y + NEAR]], { layers });
  }

  tell(event) {
    const found = this.at(event.point);
    if (!found.length) return;
    const moving = [...new Set(found.filter(({ source }) => source === "cases" || source === "alerts").map(({ properties }) => properties.key))];
    const still = found.find(({ source }) => source !== "cases" && source !== "alerts");
    const popup = new this.library.Popup({ maxWidth: "340px", closeButton: false }); // its own button is markup
    const close = el("button", { type: "button", class: "shut", "aria-label": t("close"), onclick: () => popup.remove() }, "×");
    const fill = () => popup.setDOMContent(el("div", {}, card(moving.flatMap((key) => this.here.get(key) ?? []), moving.length ? null : still, this.names, (id) => {
      popup.remove();
      this.how.chosen(id);
    }), close));
    popup.setLngLat(event.lngLat);
    fill();
    popup.addTo(this.map);
    this.names.learn([still?.properties.parent ?? ""]).then((more) => more && popup.isOpen() && fill());
  }

  // Fly to a case and ring it.
  show({ place }) {
    this.ring?.remove();
    if (!this.map || !place) return;
    this.map.easeTo({ center: place, zoom: Math.max(this.map.getZoom(), 15) });
    this.ring = new this.library.Marker({ element: el("div", { class: "ring", role: "presentation", "aria-label": "" }) }).setLngLat(place).addTo(this.map);
  }

  async refresh() {
    if (!this.map?.getSource("cases")) return;
    const bbox = this.box();
    const round = (this.round = (this.round ?? 0) + 1);
    const since = new Date(this.names.now() / 1000 - DAY_MS).toISOString();
    const ask = async (source, url, read) => {
      try {
        const answer = await getJson(url);
        if (round === this.round) this.put(source, read(answer));
      } catch {
        // Shown again at the next round; the inbox says what is wrong.
      }
    };
    const cases = ask("cases", `/city/cases?${new URLSearchParams({ ...this.how.filter(), limit: MOST, bbox })}`, ({ items }) => items.map((one) => this.ofCase(one)));
    const alerts = this.names.has("alerts") && !this.hidden.has("alerts");
    await Promise.all([cases, alerts && ask("alerts", `/city/ogc/collections/alerts/items?${new URLSearchParams({ limit: MOST, bbox, datetime: `${since}/..` })}`,
      ({ features }) => features.map((one) => this.ofAlert(one)))]);
  }

  ofCase(one) {
    return { layer: this.names.pack(one.scenario).layer, place: one.place, late: Boolean(one.due_us) && one.due_us < this.names.now() && !one.final, faint: one.final, case: one };
  }

  ofAlert({ id, geometry, properties }) {
    return { layer: "alerts", place: geometry.coordinates, late: false, faint: properties.state === "cleared", alert: { id, ...properties } };
  }

  // What is at one place is one feature.
  put(source, things) {
    const groups = Map.groupBy(things.filter(({ place }) => place), ({ layer, place }) => `${layer} ${place}`);
    for (const key of this.here.keys()) if (this.here.get(key)[0].source === source) this.here.delete(key);
    for (const [key, all] of groups) this.here.set(key, all.map((one) => ({ ...one, source })));
    const features = [...groups].map(([key, all]) => ({ type: "Feature", geometry: { type: "Point", coordinates: all[0].place },
      properties: { key, layer: all[0].layer, here: all.length, late: all.some(({ late }) => late), faint: all.every(({ faint }) => faint) } }));
    this.map.getSource(source).setData({ type: "FeatureCollection", features });
    this.node.dataset[source] = String(things.length);
  }

  texts() {
    const note = this.byId("map-note");
    note.hidden = !this.problem;
    if (this.problem) note.textContent = t(...this.problem);
    for (const [id, key] of [["zoom-in", "zoomIn"], ["zoom-out", "zoomOut"], ["zoom-all", "zoomAll"]]) {
      this.byId(id).title = t(key);
      this.byId(id).setAttribute("aria-label", t(key));
    }
    this.map?.getCanvas().setAttribute("aria-label", t("map"));
    this.byId("legend").hidden = !this.ids.length;
    this.byId("layers").replaceChildren(...this.ids.toReversed().map((id) => this.row(id)));
  }

  row(id) {
    const box = el("input", { type: "checkbox", "data-layer": id, checked: !this.hidden.has(id) });
    box.addEventListener("change", () => {
      this.hidden[box.checked ? "delete" : "add"](id);
      this.toggle(id);
      if (box.checked) this.refresh();
    });
    const dot = el("span", { class: ["jurisdiction", "estate", "building", "camera-view"].includes(id) ? "swatch" : "dot" });
    dot.style.background = colour(id);
    return el("label", { class: "check" }, box, dot, this.names.layer(id));
  }
}
