// Requests to our own origin. A refusal is an ApiProblem with the server's own words.
export class ApiProblem extends Error {
  constructor(status, detail, retryAfter, parameter = "") {
    super(detail);
    Object.assign(this, { status, retryAfter, parameter });
  }
}

export async function request(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  if (answer.ok) return answer;
  const said = (answer.headers.get("content-type") ?? "").includes("json") ? await answer.json() : {};
  const detail = said.detail ?? `${answer.status} ${answer.statusText}`;
  throw new ApiProblem(answer.status, detail, Number(answer.headers.get("retry-after") ?? 0), said.parameter);
}

export async function getJson(path) {
  return (await request(path)).json();
}

export function postJson(path, body) {
  return request(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

// A DOM node from plain values. Text is always text, never markup.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
