// MapLibre GL JS, loaded from our own server: a script and its worker, and nothing else by that name.
import { el } from "/static/http.js";

const SCRIPT = "/static/maplibre-gl-csp.js";
const WORKER = "/static/maplibre-gl-csp-worker.js";
const STYLE = "/static/maplibre-gl.css";

// The page's policy asks that somebody vouches for what becomes code: these two addresses, no text and no markup.
function vouch() {
  const ours = [SCRIPT, WORKER].map((path) => new URL(path, location.href).href);
  globalThis.trustedTypes?.createPolicy("default", {
    createScriptURL(url) {
      if (ours.includes(new URL(url, location.href).href)) return url;
      throw new TypeError(`not a script of ours: ${url}`);
    },
  });
}

const loaded = (node, where) => new Promise((resolve, reject) => {
  node.addEventListener("load", resolve);
  node.addEventListener("error", () => reject(new Error(node.src || node.href)));
  where(node);
});

// The library. Our own styles go on top of its.
export async function mapLibrary() {
  vouch();
  const own = document.querySelector('link[href="/static/city.css"]');
  await Promise.all([loaded(el("link", { rel: "stylesheet", href: STYLE }), (node) => own.before(node)),
    loaded(el("script", { src: SCRIPT }), (node) => document.head.append(node))]);
  globalThis.maplibregl.setWorkerUrl(WORKER);
  return globalThis.maplibregl;
}
