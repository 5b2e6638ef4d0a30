// How each layer of the map looks. What is on top on the map is on top in the legend.
export const COLOURS = {
  jurisdiction: "#5b8fae", estate: "#7d6aa8", "camera-view": "#6ba4f5", building: "#64737f", unit: "#b3a06a", component: "#6fae80", visit: "#c08bb0",
  organisation: "#a884c8", station: "#58c1bf", camera: "#6ba4f5", alerts: "#ee8a3c", videos: "#e77fc0", matters: "#f2575a", appeals: "#e3c04a",
};
export const colour = (id) => COLOURS[id] ?? "#8796a5";
export const OFF = new Set(["duty", "unit", "organisation"]); // shown when asked for

const AREA = ["match", ["geometry-type"], ["Polygon", "MultiPolygon"], true, false];
const LINE = ["match", ["geometry-type"], ["Point", "MultiPoint"], false, true];
const POINT = ["match", ["geometry-type"], ["Point", "MultiPoint"], true, false];
const HALO = { "text-color": "#d9e1e8", "text-halo-color": "#0d1217", "text-halo-width": 1.4 };
const label = (size, more = {}) => ({ "text-size": size, "text-max-width": 9, "text-padding": 4, ...more });

// Layers of the first kind: what stands on the ground, from vector tiles.
export function ground(id) {
  const source = { source: id, "source-layer": id };
  const faint = id === "jurisdiction" || id === "camera-view";
  const many = ["coalesce", ["get", "count"], 1]; // what a point stands for
  const radius = (one) => ["case", [">", many, 1], ["min", 22, ["+", 5, ["*", 1.6, ["ln", many]]]], one];
  return [
    { id: `${id}-area`, type: "fill", ...source, filter: AREA, paint: { "fill-color": colour(id), "fill-opacity": faint ? 0.05 : id === "building" ? 0.6 : 0.22 } },
    { id: `${id}-line`, type: "line", ...source, filter: LINE, paint: { "line-color": colour(id), "line-width": id === "jurisdiction"
      ? ["match", ["get", "level"], "city", 2.6, "town", 2, "community", 1.6, 0.7] : id === "component" ? 1.6 : 1, "line-opacity": id === "jurisdiction" ? ["match", ["get", "level"], ["city", "town", "community"], 0.95, 0.6] : 0.9 } },
    { id: `${id}-point`, type: "circle", ...source, filter: POINT, paint: { "circle-color": colour(id), "circle-stroke-color": "#0d1217", "circle-stroke-width": 0.7,
      "circle-opacity": ["case", [">", many, 1], 0.55, 1], "circle-radius": ["interpolate", ["linear"], ["zoom"], 11, radius(3), 15, radius(id === "component" ? 3.6 : 5), 18, radius(8)] } },
    { id: `${id}-count`, type: "symbol", ...source, filter: ["all", POINT, [">", many, 1]], layout: label(10, { "text-field": ["to-string", many] }), paint: HALO },
  ];
}

// Names of buildings, estates and cameras when near.
export function labels(ids) {
  const of = (id, more) => ({ id: `${id}-name`, type: "symbol", source: id, "source-layer": id, ...more });
  return [
    of("building", { minzoom: 16.5, filter: AREA, layout: label(10, { "text-field": ["get", "name"] }), paint: { ...HALO, "text-color": "#a9b6c1" } }),
    of("estate", { minzoom: 15.5, filter: AREA, layout: label(11, { "text-field": ["get", "name"] }), paint: { ...HALO, "text-color": "#c1b4e4" } }),
    of("camera", { minzoom: 14.3, layout: label(11, { "text-field": ["get", "name"], "text-anchor": "top", "text-offset": [0, 0.8] }), paint: { ...HALO, "text-color": "#a8c8f8" } }),
  ].filter(({ source }) => ids.includes(source));
}

// Names of jurisdictions, from points.
export const nameLayer = (source) => ({ id: source, type: "symbol", source, layout: label(["match", ["get", "level"], "grid", 12, 14], { "text-field": ["get", "name"] }), paint: { ...HALO, "text-color": "#9cc4dc" } });

// The centroid of a polygon's outline (of a multipolygon: its longest one), by the surveyor's formula.
export function middle({ type, coordinates }) {
  const rings = type === "Polygon" ? [coordinates[0]] : coordinates.map(([outline]) => outline);
  const ring = rings.reduce((best, one) => (one.length > best.length ? one : best));
  const [x0, y0] = ring[0]; // from here, for the digits
  let [area, x, y] = [0, 0, 0];
  for (let i = 0; i + 1 < ring.length; i++) {
    const [ax, ay, bx, by] = [ring[i][0] - x0, ring[i][1] - y0, ring[i + 1][0] - x0, ring[i + 1][1] - y0];
    const cross = ax * by - bx * ay;
    area += cross;
    x += (ax + bx) * cross;
    y += (ay + by) * cross;
  }
  return area ? [x0 + x / (3 * area), y0 + y / (3 * area)] : ring[0];
}

// Layers of the second kind: what moves while one looks. Things at one place are one dot with their number.
export function live(id, source) {
  const own = source === id ? {} : { filter: ["==", ["get", "layer"], id] };
  return [
    { id: `${id}-point`, type: "circle", source, ...own, paint: { "circle-color": colour(id), "circle-radius": ["case", [">", ["get", "here"], 1], 10, 7],
      "circle-opacity": ["case", ["get", "faint"], 0.45, 1], "circle-stroke-color": ["case", ["get", "late"], "#ffffff", "#0d1217"], "circle-stroke-width": ["case", ["get", "late"], 2.2, 1.4] } },
    { id: `${id}-count`, type: "symbol", source, filter: ["all", [">", ["get", "here"], 1], ...(own.filter ? [own.filter] : [])],
      layout: label(11, { "text-field": ["to-string", ["get", "here"]], "text-allow-overlap": true, "text-ignore-placement": true }), paint: { "text-color": "#0d1217" } },
  ];
}
