// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The detail of one connection at one moment: its four names, its bytes as they gather into frames, what it holds, and
// its story.
import { after, stateOf } from "./model.js";
import { duration, many, number } from "./lanes.js";

const maxLines = 60; // of the story
const maxFrames = 6; // that are drawn before what has not been consumed
const maxCells = 72; // bytes that get a cell each; more are drawn in proportion
const gutter = 46; // pixels left of the strip, for what its rows are

const roles = {
  accepted: "An active socket, accepted here: the peer connected, a passive open.",
  dialled: "An active socket, dialled here: an active open.",
  session: "A session: the datagrams of one sender. They are on the lane of its loop.",
  stream: "A connection over a unix socket, which has no numbers.",
};

function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

function svg(tag, attributes = {}, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

function titled(e, text) {
  e.append(svg("title", {}, text));
  return e;
}

// split takes an address apart.
function split(address) {
  const at = address.lastIndexOf(":");
  return at < 0 ? ["", ""] : [address.slice(0, at), address.slice(at + 1)];
}

export class Detail {
  constructor(root, model, view) {
    this.root = root;
    this.model = model;
    this.view = view;
    this.shown = "";
  }

  // draw brings the detail up to date, if anything in it has changed.
  draw() {
    const { model, view } = this;
    const c = model.conns.get(view.chosen);
    const events = c ? c.events : model.events;
    const end = after(events, view.at), gaps = c ? model.gaps(c).filter((g) => g.at <= Math.min(view.at, c.closed ?? Infinity) && g.at + g.duration > (c.opened ?? 0)) : [];
    const now = `${view.chosen} ${end} ${gaps.length} ${gaps[0]?.at} ${events[0]?.at} ${events[end - 1]?.at} ${view.off.size} ${c ? model.role(c) : model.conns.size} ${this.root.clientWidth}`;
    if (now === this.shown && view.step === this.step) return;
    this.shown = now;
    this.step = view.step;
    this.root.querySelector("#who").replaceChildren(...(c ? this.who(c) : this.nobody()));
    const bytes = this.root.querySelector("#bytes");
    bytes.hidden = !c || model.role(c) === "session";
    if (!bytes.hidden) {
      const s = stateOf(c, view.at, gaps);
      bytes.querySelector(".strip").replaceChildren(this.strip(s));
      bytes.querySelector(".says").textContent = says(s);
      this.meters(bytes.querySelector(".meters"), s);
    }
    this.story(events, end, c, gaps);
  }

  nobody() {
    const own = element("p", {}, "Below is what all loops do. The task once a second is this page's own: it asks each loop for its figures.");
    const first = this.model.sockets[0];
    if (this.model.conns.size === 0 && first) {
      const [heading, ask] = first.packets ? ["No connection: datagrams need none", "Send some, a line each: "] : ["No connection yet", "Make one and type a line: "];
      return [element("h2", {}, heading), element("p", {}, ask, element("code", {}, commandFor(first))), own];
    }
    return [
      element("h2", {}, "No connection is chosen"),
      element("p", {}, "Choose one, with a click or with the arrow keys up and down, to see its bytes gather into frames."), own,
    ];
  }

  who(c) {
    const role = this.model.role(c);
    const box = (name, value) => element("div", {}, element("dt", {}, name), element("dd", {}, value));
    const [localHost, localPort] = split(c.local), [remoteHost, remotePort] = split(c.remote);
    const heading = element("h2", { "data-detail": c.id }, `Connection on loop ${c.loop}`);
    const rest = element("p", {}, roles[role]);
    if (c.local === "") return [heading, rest];
    const four = element("dl", { class: "four" }, box("local address", localHost), box("local port", localPort),
      box("remote address", remoteHost), box("remote port", remotePort));
    return [heading, four, rest];
  }

  // strip draws the stream of what was received: the reads above, the frames that were made of them below, and the frame
  // that has begun.
  strip(s) {
    const frames = s.frames.slice(-maxFrames);
    const from = frames.length ? frames[0].from : s.consumed;
    const need = s.partial ? Math.max(s.partial.need, s.partial.have) : s.received - s.consumed;
    const to = Math.max(s.received, s.consumed + need, from + 1);
    const width = Math.max(240, this.root.querySelector("#bytes .strip").clientWidth), height = 96;
    const x = (at) => ((Math.min(Math.max(at, from), to) - from) / (to - from)) * (width - gutter - 2) + gutter;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": says(s) });
    const label = (at, end, y, className, text, short) => {
      const room = x(end) - x(at);
      const fits = room > text.length * 6.4 ? text : room > short.length * 6.8 ? short : "";
      if (fits) picture.append(svg("text", { x: (x(at) + x(end)) / 2, y, class: className }, fits));
    };
    for (const [y, name] of [[30, "reads"], [51, "bytes"], [72, "frames"]]) picture.append(svg("text", { x: 0, y, class: "row" }, name));
    // A read that began before is cut.
    s.reads.forEach((r, i) => {
      if (r.from + r.n <= from) return;
      const start = Math.max(r.from, from);
      picture.append(titled(svg("rect", { x: x(start), y: 18, width: Math.max(1, x(r.from + r.n) - x(start) - 1), height: 16, class: `read ${i % 2 ? "odd" : "even"}` }),
        `read ${many(r.n, "byte")}`));
      label(start, r.from + r.n, 12, "read-label", `read ${r.n}`, String(r.n));
    });
    if (to - from <= maxCells) {
      for (let at = from; at < to; at++) {
        picture.append(svg("rect", { x: x(at) + 1, y: 40, width: Math.max(1, x(at + 1) - x(at) - 2), height: 14, class: at < s.received ? (at < s.consumed ? "cell consumed" : "cell") : "cell awaited" }));
      }
    } else {
      for (const [a, b, state] of [[from, s.consumed, "cell consumed"], [s.consumed, s.received, "cell"], [s.received, to, "cell awaited"]]) {
        if (b > a) picture.append(svg("rect", { x: x(a), y: 40, width: Math.max(1, x(b) - x(a) - 1), height: 14, class: state }));
      }
    }
    for (const f of frames) {
      picture.append(titled(svg("rect", { x: x(f.from) + 0.5, y: 60, width: Math.max(2, x(f.from + f.n) - x(f.from) - 2), height: 16, class: "frame" }),
        f.decoded ? `frame of ${f.n} bytes, payload ${f.payload}` : `handler consumed ${f.n} bytes`));
      label(f.from, f.from + f.n, 90, "frame-label", f.decoded ? `frame ${f.n}` : `took ${f.n}`, String(f.n));
    }
    if (s.partial) {
      const end = s.consumed + need;
      picture.append(titled(svg("rect", { x: x(s.consumed) + 0.5, y: 60, width: Math.max(2, x(end) - x(s.consumed) - 2), height: 16, class: "partial" }),
        `partial frame: ${s.partial.have} bytes, ${s.partial.need} needed`));
      picture.append(svg("rect", { x: x(s.consumed) + 0.5, y: 60, width: Math.max(1, x(s.consumed + s.partial.have) - x(s.consumed) - 2), height: 16, class: "partial-have" }));
      label(s.consumed, end, 90, "partial-label", `${s.partial.have} of ${s.partial.need}`, `${s.partial.have}/${s.partial.need}`);
    }
    return picture;
  }

  meters(root, s) {
    const held = s.received - s.consumed;
    this.most ??= { held: 1, unsent: 1 };
    this.most.held = Math.max(this.most.held, held);
    this.most.unsent = Math.max(this.most.unsent, s.unsent);
    const meter = (name, value, most, className) => {
      const bar = element("span", { class: `bar ${className}` }, element("span", {}));
      bar.firstChild.style.width = (100 * value) / most + "%";
      return element("div", { title: `a full bar is the most that was seen, ${many(most, "byte")}` },
        element("span", { class: "meter-name" }, name), bar, element("span", { class: "meter-value" }, `${number(value)} B`.replace(/([kM]) B/, "$1B")));
    };
    const state = s.closed ? s.reason : s.stopped.size ? s.why : watched(s.interest);
    root.replaceChildren(meter("waits to be taken", held, this.most.held, "in"), meter("waits to be sent", s.unsent, this.most.unsent, s.stopped.size ? "out full" : "out"),
      element("p", { class: s.stopped.size ? "state stopped" : "state" }, state));
  }

  // story lists what happened, newest first. To a connection's belong the times of which its loop did not record all; of
  // those with nothing between them, the last.
  story(events, end, c, gaps) {
    const list = this.root.querySelector("#story");
    const lines = [];
    for (let i = end - 1, gap = gaps.length - 1; (i >= 0 || gap >= 0) && lines.length < maxLines;) {
      const e = gap < 0 || (i >= 0 && events[i].at > gaps[gap].at) ? events[i--] : gaps[gap--];
      if (e.kind === "gap" && lines.at(-1)?.dataset.kind === "gap") continue;
      if (e.mark && this.view.off.has(e.mark)) continue;
      const line = element("li", { "data-kind": e.kind, ...(e === this.view.step ? { class: "step", "aria-current": "true" } : {}) },
        element("span", { class: "at" }, (e.at / 1e9).toFixed(6)), element("span", { class: "text", "data-mark": e.mark || e.kind },
          e.text + (e.duration ? `, ${duration(e.duration)}` : "")));
      if (!c) line.append(this.about(e));
      lines.push(line);
    }
    list.replaceChildren(...lines);
  }

  about(e) {
    const c = this.model.conns.get(e.conn);
    const name = !c ? `loop ${e.loop}` : c.local === "" ? "unix" : ":" + split(c.remote)[1];
    return element("span", { class: "about", title: c ? `${c.local} ← ${c.remote}` : "" }, name);
  }
}

// says tells the state in words.
function says(s) {
  let text = `${many(s.received, "byte")} came in ${many(s.reads.length, "read")}`;
  if (s.frames.length) text += s.frames.at(-1).decoded ? ` and made ${many(s.frames.length, "frame")}` : `; the handler took them in ${many(s.frames.length, "piece")}`;
  text += ".";
  if (s.partial) text += ` Of the next frame ${many(s.partial.have, "byte")} ${s.partial.have === 1 ? "is" : "are"} here; the decoder needs ${number(s.partial.need)} to go on.`;
  return text;
}

// watched tells for what the poller watches, from what a change of it says.
function watched(interest) {
  const what = /^watched for (.*), before/.exec(interest)?.[1] ?? "input";
  return `the poller watches it for ${what.replace("room", "room to write")}`;
}

// commandFor is what connects a client to a listening socket.
function commandFor({ network, address, packets }) {
  if (network.startsWith("unix")) return `nc -U ${address}`;
  const [host, port] = split(address);
  const to = { "[::]": "127.0.0.1", "0.0.0.0": "127.0.0.1" }[host] ?? host.replace(/[[\]]/g, "");
  return `nc ${packets ? "-u " : ""}${to} ${port}`;
}
