// Live video of one camera: fragments of MP4 over a WebSocket into a MediaSource. Nothing is re-encoded.
//
// Player time and media time: within a stream epoch, player seconds = t0 + (pts - pts0) / 90000. A new epoch
// begins where the old one's video ends.

const TICKS = 90000;
const BEHIND = 1.2; // seconds kept between what is shown and what has come: fragments last up to one
const TOO_FAR = 4;
const KEEP = 12; // seconds kept behind the picture shown

export class LivePlayer {
  constructor(video, camera, on) {
    this.video = video;
    this.camera = camera;
    this.on = on; // { state(name, detail), message(object), picture(blob) }
    this.running = false;
    this.tries = 0;
    this.stillsOnly = false;
  }

  start() {
    if (this.running) return;
    this.running = true;
    this.connect();
    this.keeper = setInterval(() => this.keep(), 500);
  }

  stop() {
    this.running = false;
    clearInterval(this.keeper);
    clearTimeout(this.retry);
    this.drop();
  }

  drop() {
    if (this.socket) {
      const { socket } = this;
      socket.onmessage = socket.onclose = null;
      // Closing one that is not open yet would be reported as a fault of the page.
      if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
      else socket.close();
      this.socket = null;
    }
    this.queue = [];
    this.buffer = null;
    this.spans = [];
    this.started = false;
    if (this.url) {
      URL.revokeObjectURL(this.url);
      this.url = null;
      this.video.removeAttribute("src");
      this.video.load();
    }
  }

  connect() {
    this.drop();
    this.on.state("liveConnecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const as = this.stillsOnly ? "?as=stills" : "";
    const socket = new WebSocket(`${scheme}://${location.host}/live/${encodeURIComponent(this.camera)}${as}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => this.again();
    this.socket = socket;
  }

  again() {
    if (!this.running) return;
    this.on.state("liveOff");
    this.drop();
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), Math.min(10000, 500 * 2 ** this.tries++));
  }

  receive(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "segment") this.segment(message);
      else if (message.type === "waiting") this.on.state("liveWaiting");
      this.on.message(message);
      return;
    }
    if (this.stillsOnly) {
      this.on.picture(new Blob([data], { type: "image/jpeg" }));
      return;
    }
    this.queue.push({ bytes: data });
    this.pump();
  }

  segment(message) {
    if (this.stillsOnly) {
      this.on.state("liveCodec", { codec: "H.265" });
      return;
    }
    const type = `video/mp4; codecs="${message.codec}"`;
    if (!MediaSource.isTypeSupported(type)) {
      this.stillsOnly = true;
      this.connect();
      return;
    }
    if (!this.url) this.open();
    this.queue.push({ segment: message, type });
    this.pump();
  }

  open() {
    this.source = new MediaSource();
    this.source.addEventListener("sourceopen", () => this.pump());
    this.url = URL.createObjectURL(this.source);
    this.video.src = this.url;
  }

  pump() {
    if (!this.source || this.source.readyState !== "open" || this.buffer?.updating) return;
    const next = this.queue[0];
    if (!next) return;
    try {
      if (next.segment) {
        this.queue.shift();
        this.follow(next.segment, next.type);
        this.pump();
      } else {
        this.buffer.appendBuffer(next.bytes);
        this.queue.shift();
      }
    } catch (error) {
      if (error.name === "QuotaExceededError" && this.trim(2)) return;
      this.again();
    }
  }

  follow(segment, type) {
    if (!this.buffer) {
      this.buffer = this.source.addSourceBuffer(type);
      this.buffer.addEventListener("updateend", () => this.appended());
      this.buffer.addEventListener("error", () => this.again());
    } else if (type !== this.type) {
      this.buffer.changeType(type);
    }
    this.type = type;
    let span = this.spans.at(-1);
    if (!span || span.epoch !== segment.epoch) {
      span = { epoch: segment.epoch, pts0: segment.start_pts, t0: this.end(), us0: segment.start_us };
      this.spans.push(span);
    }
    this.buffer.timestampOffset = span.t0 + (segment.offset - span.pts0) / TICKS;
  }

  appended() {
    if (!this.started && this.buffer.buffered.length) {
      this.started = true;
      this.tries = 0;
      this.video.currentTime = Math.max(this.buffer.buffered.start(0), this.end() - BEHIND);
      this.video.play().catch(() => {});
      this.on.state("");
    }
    this.pump();
  }

  end() {
    const ranges = this.buffer?.buffered;
    return ranges?.length ? ranges.end(ranges.length - 1) : 0;
  }

  // Stay near the live edge, step over gaps, and give back what was shown.
  keep() {
    if (!this.started || !this.buffer) return;
    const { video } = this;
    const ranges = this.buffer.buffered;
    if (!ranges.length) return;
    const ahead = this.end() - video.currentTime;
    let inside = false;
    for (let i = 0; i < ranges.length; i++) {
      if (video.currentTime >= ranges.start(i) - 0.05 && video.currentTime < ranges.end(i)) inside = true;
    }
    const last = ranges.start(ranges.length - 1);
    if (ahead > TOO_FAR) video.currentTime = Math.max(last, this.end() - BEHIND);
    else if (!inside && last > video.currentTime) video.currentTime = last + 0.01;
    video.playbackRate = ahead > 2.2 ? 1.1 : 1;
    if (video.paused) video.play().catch(() => {});
    if (!this.buffer.updating) this.trim(KEEP);
  }

  trim(keep) {
    const ranges = this.buffer.buffered;
    const until = this.video.currentTime - keep;
    if (!ranges.length || until - ranges.start(0) < 4) return false;
    this.buffer.remove(ranges.start(0), until);
    return true;
  }

  // Which media time the player second `seconds` shows: { epoch, pts, captureUs }, or null.
  at(seconds) {
    for (let i = this.spans.length - 1; i >= 0; i--) {
      const span = this.spans[i];
      if (seconds >= span.t0 - 0.001 || i === 0) {
        const past = seconds - span.t0;
        return { epoch: span.epoch, pts: Math.round(span.pts0 + past * TICKS), captureUs: span.us0 + past * 1e6 };
      }
    }
    return null;
  }
}
