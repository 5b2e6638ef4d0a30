// What is drawn over a camera's picture: lines, zones, and the tracks of the frame that is shown.

const TICKS = 90000;
const HOLD = 0.7 * TICKS; // a box stays this long after the last frame that was analysed
const BRIDGE = 1.5 * TICKS; // between two analysed frames no farther apart, boxes move in a straight line
const FAINT = 0.5 * TICKS; // what is detected but not tracked is blurred so long before and after
const TRAIL = 4 * TICKS;
const HISTORY = 30 * TICKS;
const HUES = ["#5cc8c5", "#f0b45a", "#8fb7ff", "#f08a9b", "#9ed67b", "#d3a0f0", "#f2e074", "#7fd6f2"];
const LINE = "#58c1bf";
const ZONE = "#e3ad4a";
const WHOLE = (polygon) => polygon.every(([x, y]) => (x === 0 || x === 1) && (y === 0 || y === 1));

export class Trace {
  constructor() {
    this.frames = [];
    this.epoch = null;
  }

  // Frames come in order of media time within their epoch.
  add(message) {
    if (message.epoch !== this.epoch) {
      this.frames = [];
      this.epoch = message.epoch;
    }
    this.frames.push({ pts: message.pts, tracks: message.tracks, faint: message.faint ?? [] });
    while (this.frames.length && this.frames[0].pts < message.pts - HISTORY) this.frames.shift();
  }

  // Index of the last frame at or before pts, -1 if there is none.
  index(pts) {
    let low = 0;
    let high = this.frames.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.frames[middle].pts <= pts) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  tracksAt(epoch, pts) {
    if (epoch !== this.epoch) return [];
    const i = this.index(pts + 45);
    const before = this.frames[i];
    const after = this.frames[i + 1];
    if (!before) return [];
    if (!after || after.pts - before.pts > BRIDGE) return pts - before.pts <= HOLD ? before.tracks : [];
    const share = Math.max(0, (pts - before.pts) / (after.pts - before.pts));
    const later = new Map(after.tracks.map((track) => [track.ordinal, track.box]));
    return before.tracks
      .filter((track) => later.has(track.ordinal) || share < 0.5)
      .map((track) => {
        const to = later.get(track.ordinal) ?? track.box;
        return { ...track, box: track.box.map((v, k) => v + (to[k] - v) * share) };
      });
  }

  // Detections that are no tracks, near this time: not drawn, only blurred.
  faintAt(epoch, pts) {
    const found = [];
    if (epoch !== this.epoch) return found;
    for (let i = this.index(pts + FAINT); i >= 0 && this.frames[i].pts >= pts - FAINT; i--) found.push(...this.frames[i].faint);
    return found;
  }

  trail(ordinal, epoch, pts) {
    const points = [];
    if (epoch !== this.epoch) return points;
    for (let i = this.index(pts + 45); i >= 0 && this.frames[i].pts > pts - TRAIL; i--) {
      const track = this.frames[i].tracks.find((t) => t.ordinal === ordinal);
      if (track) points.push([(track.box[0] + track.box[2]) / 2, track.box[3]]);
    }
    return points;
  }
}

export class Overlay {
  constructor(canvas, camera) {
    this.canvas = canvas;
    this.camera = camera;
    this.small = document.createElement("canvas");
  }

  // `rules`: those to draw. `picture`: the video or image under the canvas; `size`: [width, height] of the analysed picture.
  draw(picture, size, tracks, faint, trails, blurred, rules = this.camera.rules) {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale);
    const height = Math.round(canvas.clientHeight * scale);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const g = canvas.getContext("2d");
    g.clearRect(0, 0, width, height);
    const [w, h] = size;
    const fit = Math.min(width / w, height / h);
    this.frame = { x: (width - w * fit) / 2, y: (height - h * fit) / 2, w: w * fit, h: h * fit, fit, scale };
    if (picture) {
      for (const { label, box } of tracks) if (blurred.has(label)) this.pixelate(g, picture, size, box, 0.08);
      for (const { label, box } of faint) if (blurred.has(label)) this.pixelate(g, picture, size, box, 0.5);
    }
    for (const rule of rules) this.rule(g, rule);
    g.shadowBlur = 0;
    for (const track of tracks) this.track(g, track, trails(track.ordinal));
  }

  point([x, y]) {
    return [this.frame.x + x * this.frame.fit, this.frame.y + y * this.frame.fit];
  }

  norm([x, y]) {
    return [this.frame.x + x * this.frame.w, this.frame.y + y * this.frame.h];
  }

  pixelate(g, picture, [w, h], box, grow) {
    const bw = box[2] - box[0];
    const bh = box[3] - box[1];
    const x1 = Math.max(0, box[0] - bw * grow);
    const y1 = Math.max(0, box[1] - bh * grow);
    const x2 = Math.min(w, box[2] + bw * grow);
    const y2 = Math.min(h, box[3] + bh * grow);
    if (x2 - x1 < 2 || y2 - y1 < 2) return;
    const cell = Math.max(4, (x2 - x1) / 6);
    const across = Math.max(2, Math.round((x2 - x1) / cell));
    const down = Math.max(2, Math.round((y2 - y1) / cell));
    this.small.width = across;
    this.small.height = down;
    const s = this.small.getContext("2d");
    const kx = (picture.videoWidth || picture.naturalWidth || w) / w;
    const ky = (picture.videoHeight || picture.naturalHeight || h) / h;
    s.drawImage(picture, x1 * kx, y1 * ky, (x2 - x1) * kx, (y2 - y1) * ky, 0, 0, across, down);
    g.imageSmoothingEnabled = false;
    const [px, py] = this.point([x1, y1]);
    g.drawImage(this.small, 0, 0, across, down, px, py, (x2 - x1) * this.frame.fit, (y2 - y1) * this.frame.fit);
  }

  rule(g, rule) {
    const s = this.frame.scale;
    g.lineWidth = 2 * s;
    g.shadowColor = "rgb(0 0 0 / .8)";
    g.shadowBlur = 3 * s;
    g.font = `600 ${10.5 * s}px system-ui, sans-serif`;
    if (rule.kind === "line") {
      const [a, b] = rule.points.map((p) => this.norm(p));
      g.strokeStyle = LINE;
      g.beginPath();
      g.moveTo(...a);
      g.lineTo(...b);
      g.stroke();
      this.arrow(g, a, b);
      this.label(g, rule.name, a[0] + 4 * s, a[1] - 5 * s, LINE);
      return;
    }
    if (WHOLE(rule.polygon)) return;
    const corners = rule.polygon.map((p) => this.norm(p));
    g.strokeStyle = ZONE;
    g.fillStyle = "rgb(227 173 74 / .09)";
    g.setLineDash([5 * s, 4 * s]);
    g.beginPath();
    corners.forEach((p, i) => (i ? g.lineTo(...p) : g.moveTo(...p)));
    g.closePath();
    g.fill();
    g.stroke();
    g.setLineDash([]);
    const top = corners.reduce((best, p) => (p[1] < best[1] ? p : best));
    this.label(g, rule.name, top[0] + 4 * s, top[1] + 12 * s, ZONE);
  }

  // The arrow points the way that counts as "in": to the right hand of who looks from a to b.
  arrow(g, a, b) {
    const s = this.frame.scale;
    const length = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1;
    const nx = -(b[1] - a[1]) / length;
    const ny = (b[0] - a[0]) / length;
    const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const tip = [middle[0] + nx * 20 * s, middle[1] + ny * 20 * s];
    g.fillStyle = g.strokeStyle;
    g.beginPath();
    g.moveTo(...middle);
    g.lineTo(...tip);
    g.stroke();
    g.beginPath();
    g.moveTo(tip[0] + nx * 6 * s, tip[1] + ny * 6 * s);
    g.lineTo(tip[0] - ny * 4.5 * s, tip[1] + nx * 4.5 * s);
    g.lineTo(tip[0] + ny * 4.5 * s, tip[1] - nx * 4.5 * s);
    g.closePath();
    g.fill();
  }

  track(g, track, trail) {
    const s = this.frame.scale;
    const colour = HUES[track.ordinal % HUES.length];
    const [x1, y1] = this.point(track.box.slice(0, 2));
    const [x2, y2] = this.point(track.box.slice(2));
    g.strokeStyle = colour;
    g.lineWidth = 1.5 * s;
    g.globalAlpha = track.seen ? 1 : 0.5;
    g.strokeRect(x1, y1, x2 - x1, y2 - y1);
    if (trail.length > 1) {
      g.globalAlpha = 0.65;
      g.beginPath();
      trail.forEach((p, i) => (i ? g.lineTo(...this.point(p)) : g.moveTo(...this.point(p))));
      g.stroke();
    }
    g.globalAlpha = 1;
    g.font = `600 ${10.5 * s}px system-ui, sans-serif`;
    this.label(g, `${track.ordinal}`, x1, y1 - 4 * s, colour);
  }

  label(g, text, x, y, colour) {
    const s = this.frame.scale;
    const width = g.measureText(text).width;
    const left = Math.max(0, Math.min(x, this.canvas.width - width - 6 * s));
    const base = Math.max(11 * s, y);
    g.fillStyle = "rgb(5 8 10 / .72)";
    g.fillRect(left - 2 * s, base - 10 * s, width + 6 * s, 13 * s);
    g.fillStyle = colour;
    g.fillText(text, left + s, base);
  }
}

// Whether a point lies in a polygon (even-odd rule), both in the same units.
export function inside([x, y], polygon) {
  let answer = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i];
    const [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) answer = !answer;
  }
  return answer;
}
