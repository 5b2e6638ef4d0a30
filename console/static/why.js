// Why an alert was raised, as a sentence of the figures that it carries. The server says it in English.
import { has, language, t, word } from "/static/i18n.js";

const WAYS = ["up", "upRight", "right", "downRight", "down", "downLeft", "left", "upLeft"];

// Numbers as the server rounds them.
const figures = (detail) => Object.fromEntries(Object.entries(detail).map(([key, value]) =>
  [key, typeof value === "number" ? String(+value.toPrecision(3)) : value]));

function anomaly(detail) {
  const { attribute, value } = detail;
  const said = figures(detail);
  const values = { ...said, what: word(said.label), low: said.usual_low, high: said.usual_high, usual: word(said.usual ?? "") };
  if (attribute === "direction") values.way = t(`way.${WAYS[Math.round((value * 8) / 360) % 8]}`);
  if (attribute === "hour") {
    values.clock = `${String(Math.trunc(value)).padStart(2, "0")}:${String(Math.trunc((value % 1) * 60)).padStart(2, "0")}`;
  }
  return `${t(`why.${attribute}`, values)}${t("why.rarity", values)}`;
}

function sensor(kind, detail) {
  const values = { unit: "", ...figures(detail) };
  let name = kind;
  if (kind === "threshold") name = detail.value > detail.limit ? "above" : "below";
  if (kind === "rate") name = detail.rate_per_min > 0 ? "rise" : "fall";
  if (kind === "deviation") name = detail.z > 0 ? "deviationAbove" : "deviationBelow";
  values.rate = String(Math.abs(detail.rate_per_min ?? 0));
  values.off = String(Math.abs(detail.z ?? 0));
  return t(`why.${name}`, values);
}

function joint(detail) {
  const said = figures(detail);
  if (said.joined) return t("why.joined", said);
  const parts = Object.keys(detail).filter((key) => key.startsWith("part_")).sort().map((key) => detail[key]);
  return t("why.joint", { ...said, parts: parts.join("、") });
}

// What is wrong with a camera, a sensor or the box, in the page's language; the server says it in English, and
// with what only it knows: addresses, figures.
const WITH_FIGURES = new Set(["connection", "clock", "disk", "onvif", "mqtt", "uploads"]);
export function fault({ what, message, state = "raised" }) {
  const [kind] = what.split(" ");
  if (language() === "en" || state !== "raised" || !has(`mend.${kind}`)) return message;
  return WITH_FIGURES.has(kind) ? `${t(`mend.${kind}`)}（${message}）` : t(`mend.${kind}`);
}

// The sentence, "" where the alert has none.
export function why(alert) {
  const { kind, detail } = alert;
  if (!detail.why || language() === "en") return String(detail.why ?? "");
  if (kind === "anomaly" && detail.attribute) return anomaly(detail);
  if (["threshold", "rate", "deviation", "silence"].includes(kind)) return sensor(kind, detail);
  if (kind === "joint") return joint(detail);
  return String(detail.why);
}
