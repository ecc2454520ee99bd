// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The lanes: one row for each listening socket, each loop, and each connection under its loop, all over the same time.
// The names are elements, so that they can be read, found and chosen with a keyboard; the marks are drawn.
import { after, marks, stops } from "./model.js";

const rowHeight = 36;
const loopHeight = 38;
const maxRows = 200; // connections shown at a time; the filter finds the others
const rowsEvery = 250; // milliseconds between two looks at which rows there are

// Where in a row each kind of mark is drawn: what the poller says, what comes in, frames, what goes out.
const track = {
  accept: 0.5, ready: 0.14, read: 0.37, "read again": 0.37, "partial frame": 0.6, frame: 0.6, write: 0.83,
  "write part": 0.83, "write again": 0.83,
  stopped: 0.5, eof: 0.37, shut: 0.83, close: 0.5,
};

// The mark of each kind, in a colour named by the style sheet, drawn around x, y. Shapes differ too: what got nothing is
// hollow. A connection comes from the left, so that what it does at once does not hide it.
const shapes = {
  accept: ["accept", (g, x, y) => polygon(g, [[x - 10, y - 6], [x, y], [x - 10, y + 6]])],
  ready: ["ready", (g, x, y) => g.fillRect(x - 1, y - 4, 2, 7)],
  read: ["read", (g, x, y, e) => circle(g, x, y, radius(e.n), true)],
  "read again": ["muted", (g, x, y) => circle(g, x, y, 2.5, false)],
  "partial frame": ["partial", (g, x, y) => g.strokeRect(x - 5, y - 5, 10, 10)],
  frame: ["frame", (g, x, y) => g.fillRect(x - 3, y - 3, 6, 6)],
  write: ["write", (g, x, y, e) => triangle(g, x, y, radius(e.n), true)],
  "write part": ["block", (g, x, y) => {
    triangle(g, x, y, 4.5, false);
    g.fillStyle = color("write");
    polygon(g, [[x - 2.5, y], [x + 2.5, y], [x + 5, y + 4], [x - 5, y + 4]]);
  }],
  "write again": ["block", (g, x, y) => triangle(g, x, y, 4.5, false)],
  stopped: ["partial", (g, x, y) => { g.fillRect(x - 4, y - 6, 3, 12); g.fillRect(x + 1, y - 6, 3, 12); }],
  eof: ["ink", (g, x, y) => { g.fillRect(x + 2, y - 6, 2, 12); polygon(g, [[x - 5, y], [x + 2, y - 4], [x + 2, y + 4]]); }],
  shut: ["ink", (g, x, y) => { g.fillRect(x - 4, y - 5, 2, 10); polygon(g, [[x + 5, y], [x - 2, y - 4], [x - 2, y + 4]]); }],
  close: ["ink", (g, x, y, e) => { if (/reset|error|panic|timeout|abort/.test(e.text)) g.fillStyle = g.strokeStyle = color("block"); cross(g, x, y, 6); }],
};

function radius(n) {
  return Math.min(5, 2.5 + Math.log2(1 + n) / 6);
}

function circle(g, x, y, r, filled) {
  g.beginPath();
  g.arc(x, y, r, 0, 2 * Math.PI);
  if (filled) g.fill();
  else g.stroke();
}

function polygon(g, points, filled = true) {
  g.beginPath();
  for (const [x, y] of points) g.lineTo(x, y);
  g.closePath();
  if (filled) g.fill();
  else g.stroke();
}

function triangle(g, x, y, r, filled) {
  polygon(g, [[x, y - r - 1], [x + r + 1, y + r], [x - r - 1, y + r]], filled);
}

function cross(g, x, y, r) {
  g.beginPath();
  g.moveTo(x - r, y - r);
  g.lineTo(x + r, y + r);
  g.moveTo(x - r, y + r);
  g.lineTo(x + r, y - r);
  g.stroke();
}

let colors = {};

function color(name) {
  return colors[name];
}

// readColors takes the colours of the theme from the style sheet.
export function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "muted", "line", "accept", "ready", "read", "partial", "frame", "write", "block", "selected", "timer", "task"]) {
    colors[name] = style.getPropertyValue("--" + name).trim();
  }
}

// drawMark draws one mark on its own, for the legend and the help.
export function drawMark(canvas, kind) {
  const g = scaled(canvas, 20, 20);
  const [name, draw] = shapes[kind];
  g.fillStyle = g.strokeStyle = color(name);
  g.lineWidth = 1.8;
  draw(g, kind === "accept" ? 15 : 10, 10, { n: 64, text: "" });
}

// scaled prepares a canvas of so many CSS pixels.
function scaled(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  return g;
}

export function number(n) {
  return n < 10000 ? String(Math.round(n)) : n < 1e6 ? (n / 1e3).toFixed(n < 1e5 ? 1 : 0) + " k" : (n / 1e6).toFixed(1) + " M";
}

// many writes a number of things.
export function many(n, thing) {
  return `${number(n)} ${thing}${n === 1 ? "" : "s"}`;
}

// duration writes nanoseconds in the unit that fits.
export function duration(ns) {
  if (ns >= 1e9) return (ns / 1e9).toPrecision(3) + " s";
  if (ns >= 1e6) return (ns / 1e6).toPrecision(3) + " ms";
  if (ns >= 1e3) return (ns / 1e3).toPrecision(3) + " µs";
  return Math.round(ns) + " ns";
}

export class Lanes {
  // view has the moment that is looked at, the time shown and what is chosen; choose(id, at) is called for what is
  // clicked, at if it was a mark.
  constructor(root, model, view, choose) {
    this.model = model;
    this.view = view;
    this.choose = choose;
    this.scroller = root;
    this.names = root.querySelector(".names");
    this.canvas = root.querySelector("canvas");
    this.ruler = document.getElementById("ruler");
    this.tip = document.getElementById("tip");
    this.rows = [];
    this.labels = new Map(); // key -> element
    this.looked = -Infinity;
    this.names.addEventListener("click", (e) => {
      const name = e.target.closest("[data-conn]");
      if (name) choose(name.dataset.conn);
    });
    this.canvas.addEventListener("click", (e) => this.click(e));
    this.canvas.addEventListener("pointermove", (e) => this.hover(e));
    this.canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
  }

  // matches says whether a connection is one that the filter asks for: each of its words has to be found.
  matches(c) {
    const text = `loop ${c.loop} ${c.local} ${c.remote} ${this.model.role(c)} #${c.id} ${this.stateName(c)}`.toLowerCase();
    return this.view.filter.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  stateName(c) {
    if (c.closed !== null && c.closed <= this.view.at) return "closed";
    const last = stops(c).at(-1);
    return last && last.from <= this.view.at && last.to > this.view.at ? "not read" : "open";
  }

  // look decides which rows there are: connections of which something is shown, or that are open, the busiest first if
  // there are too many, then by age under their loop.
  look(now) {
    if (now - this.looked < rowsEvery) return;
    this.looked = now;
    const { model, view } = this;
    const from = view.end - view.span;
    let shown = [...model.conns.values()].filter((c) =>
      (c.opened ?? 0) <= (view.live ? view.at : view.end) && (c.closed === null || c.closed >= from || c.id === view.chosen) && this.matches(c));
    this.hidden = Math.max(0, shown.length - maxRows);
    if (this.hidden) shown = shown.sort((a, b) => b.last - a.last).slice(0, maxRows);
    shown.sort((a, b) => a.loop - b.loop || (BigInt(a.id) < BigInt(b.id) ? -1 : 1));
    const rows = model.sockets.map((s) => ({ key: `socket ${s.network} ${s.address}`, socket: s, height: rowHeight }));
    model.loops.forEach((l, i) => {
      rows.push({ key: `loop ${i}`, loop: i, height: loopHeight });
      for (const c of shown) if (c.loop === i) rows.push({ key: c.id, conn: c, height: rowHeight });
    });
    let top = 0;
    for (const r of rows) {
      r.top = top;
      top += r.height;
    }
    this.rows = rows;
    this.height = top;
    this.name();
  }

  // name brings the elements in line with the rows.
  name() {
    const keys = new Set(this.rows.map((r) => r.key));
    for (const [key, label] of this.labels) {
      if (!keys.has(key)) {
        label.remove();
        this.labels.delete(key);
      }
    }
    this.names.style.height = this.height + "px";
    let previous = null;
    for (const r of this.rows) {
      let label = this.labels.get(r.key);
      if (!label) {
        label = document.createElement("div");
        label.style.height = r.height + "px";
        this.labels.set(r.key, label);
        if (r.conn) nameConn(label, r.conn);
      }
      if (r.conn) this.state(label, r.conn);
      else if (r.socket) nameSocket(label, r.socket);
      else nameLoop(label, r.loop, this.model.loops[r.loop], this.rows.filter((o) => o.conn?.loop === r.loop).length);
      const next = previous ? previous.nextSibling : this.names.firstChild;
      if (next !== label) this.names.insertBefore(label, next);
      previous = label;
    }
    const ends = [...this.labels.values()].filter((l) => l.dataset.conn);
    const focus = ends.find((l) => l.dataset.conn === this.view.chosen) ?? ends[0];
    for (const l of ends) l.tabIndex = l === focus ? 0 : -1;
  }

  state(label, c) {
    const role = this.model.role(c), state = this.stateName(c), chosen = c.id === this.view.chosen;
    if (label.dataset.state === state && label.dataset.role === role && label.ariaSelected === String(chosen)) return;
    label.dataset.state = state;
    label.dataset.role = role;
    if (role === "dialled") label.title = label.title.replace("←", "→");
    label.ariaSelected = String(chosen);
    label.ariaLabel = `${label.title}, ${role}, ${state}`;
    label.querySelector(".role").textContent = state === "open" ? role : `${role}, ${state}`;
  }

  draw(now) {
    this.look(now);
    const { view, model } = this;
    const width = this.scroller.clientWidth - this.names.offsetWidth, height = this.scroller.clientHeight;
    if (width <= 0 || height <= 0) return;
    const g = scaled(this.canvas, width, height);
    const scroll = this.scroller.scrollTop;
    this.width = width;
    this.x = (at) => ((at - (view.end - view.span)) / view.span) * width;
    this.grid(g, height);
    for (const r of this.rows) {
      const y = r.top - scroll;
      if (y + r.height < 0 || y > height) continue;
      g.fillStyle = color("line");
      g.fillRect(0, y + r.height - 1, width, 1);
      if (r.conn?.id === view.chosen && r.conn) {
        g.globalAlpha = 0.12;
        g.fillStyle = color("selected");
        g.fillRect(0, y, width, r.height);
        g.globalAlpha = 1;
      }
      if (r.conn) this.drawConn(g, r.conn, y);
      else if (r.socket) this.drawSocket(g, r.socket, y);
      else this.drawLoop(g, model.loops[r.loop], y);
    }
    const x = this.x(view.at);
    g.fillStyle = color("selected");
    g.fillRect(x - 0.5, 0, view.live ? 1 : 2, height);
  }

  grid(g, height) {
    const { view } = this;
    const step = nice(view.span / Math.max(2, this.width / 120));
    const from = view.end - view.span;
    const ruler = scaled(this.ruler, this.width, 20);
    ruler.font = "11px system-ui, sans-serif";
    ruler.textBaseline = "middle";
    ruler.textAlign = "center";
    ruler.fillStyle = color("muted");
    const digits = Math.max(0, Math.min(9, 9 - Math.floor(Math.log10(step))));
    for (let at = Math.ceil(from / step) * step; at <= view.end; at += step) {
      if (at < 0) continue;
      const x = this.x(at);
      g.fillStyle = color("line");
      g.fillRect(x, 0, 1, height);
      ruler.fillText((at / 1e9).toFixed(digits) + " s", Math.max(24, x), 10);
    }
  }

  // shown calls fn for the events of a sorted list that are in view, those that began before it included if they reach
  // into it by no more than reach.
  shown(events, reach, fn) {
    const from = this.view.end - this.view.span;
    for (let i = after(events, from - reach); i < events.length && events[i].at <= this.view.end; i++) fn(events[i]);
  }

  dim(g, at) {
    g.globalAlpha = at > this.view.at ? 0.25 : 1;
  }

  drawConn(g, c, y) {
    const { view } = this;
    const middle = y + rowHeight / 2;
    const until = view.live ? view.at : this.model.now; // what is known
    const from = Math.max(0, this.x(Math.max(c.opened ?? 0, this.model.forgotten))), to = Math.min(this.width, this.x(Math.min(c.closed ?? until, until)));
    g.fillStyle = color("muted");
    g.globalAlpha = 0.5;
    if (to > from) g.fillRect(from, middle - 0.5, to - from, 1);
    for (const s of stops(c)) {
      const a = Math.max(0, this.x(s.from)), b = Math.min(this.width, this.x(Math.min(s.to, until)));
      if (b > a) hatch(g, a, y + 3, b - a, rowHeight - 7, color("partial"));
    }
    g.lineWidth = 1.8;
    // One mark of a kind for each pixel is enough, and the end hides what leads to it.
    const drawn = {}, end = c.closed === null ? Infinity : this.x(c.closed);
    this.shown(c.events, 0, (e) => {
      if (!e.mark || view.off.has(e.mark) || (view.live && e.at > view.at)) return;
      const x = this.x(e.at);
      if ((e.mark === "eof" || e.mark === "shut") && end - x < 8 && end - x >= 0) return;
      if (drawn[e.mark] !== undefined && x - drawn[e.mark] < 1 && e.mark !== "close") return;
      drawn[e.mark] = x;
      const [name, draw] = shapes[e.mark];
      g.fillStyle = g.strokeStyle = color(name);
      this.dim(g, e.at);
      draw(g, x, y + track[e.mark] * rowHeight, e);
    });
    g.globalAlpha = 1;
  }

  // A listening socket has a mark for each connection that came from it.
  drawSocket(g, s, y) {
    const { view } = this;
    g.fillStyle = color("accept");
    this.shown(this.model.events, 0, (e) => {
      if (e.kind !== "accept" || (view.live && e.at > view.at) || !cameFrom(s, this.model.conns.get(e.conn))) return;
      this.dim(g, e.at);
      shapes.accept[1](g, this.x(e.at), y + rowHeight / 2);
    });
    g.globalAlpha = 1;
  }

  drawLoop(g, l, y) {
    if (l.stats?.stuck && this.view.at > l.last) { // what holds it is told when it is over
      const x = Math.max(0, this.x(l.last));
      hatch(g, x, y + 8, Math.min(this.width, this.x(this.view.at)) - x, loopHeight - 17, color("block"));
    }
    const colorOf = { ready: "ready", turn: "muted", socket: "accept", accept: "accept", task: "task", timer: "timer", close: "ink", datagrams: "read" };
    const drawn = {};
    this.shown(l.spans, 1e9, (e) => {
      const x = this.x(e.at), w = Math.max(1.5, (e.duration / this.view.span) * this.width);
      if (x + w < 0 || (this.view.live && e.at > this.view.at)) return;
      this.dim(g, e.at);
      if (e.kind === "gap") {
        hatch(g, x, y + 4, w, loopHeight - 9, color("muted"));
        return;
      }
      const name = colorOf[e.kind];
      if (!name || (w === 1.5 && x - drawn[name] < 1)) return;
      drawn[name] = x;
      g.fillStyle = color(name);
      const inner = !["ready", "turn", "socket", "timer"].includes(e.kind); // it happens within one of these
      g.fillRect(x, y + (inner ? 18 : 8), w, inner ? loopHeight - 26 : loopHeight - 17);
    });
    g.globalAlpha = 1;
  }

  rowAt(y) {
    y += this.scroller.scrollTop;
    return this.rows.find((r) => y >= r.top && y < r.top + r.height);
  }

  // markAt finds the mark that is nearest, within a few pixels.
  markAt(x, y) {
    const row = this.rowAt(y);
    if (!row) return {};
    const events = row.conn ? row.conn.events : row.socket
      ? this.model.events.filter((e) => e.kind === "accept" && cameFrom(row.socket, this.model.conns.get(e.conn)))
      : this.model.loops[row.loop].spans;
    let nearest = null, best = 8;
    this.shown(events, 1e9, (e) => {
      if (row.conn && (!e.mark || this.view.off.has(e.mark))) return;
      const left = this.x(e.at), right = Math.max(left, row.conn ? left : this.x(e.at + (e.duration ?? 0)));
      let d = x < left ? left - x : x > right ? x - right : 0;
      if (row.conn) d = Math.hypot(d, y + this.scroller.scrollTop - row.top - track[e.mark] * rowHeight);
      if (d < best || (d === best && row.conn)) [nearest, best] = [e, d];
    });
    return { row, event: nearest };
  }

  place(e) {
    const box = this.canvas.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  }

  click(e) {
    const { row, event } = this.markAt(...this.place(e));
    const id = row?.conn?.id ?? event?.conn;
    if (id) this.choose(id, event?.at);
  }

  hover(e) {
    const { event } = this.markAt(...this.place(e));
    this.tip.hidden = !event;
    this.canvas.style.cursor = event ? "pointer" : "default";
    if (!event) return;
    const took = event.duration ? `, ${duration(event.duration)}` : "";
    this.tip.textContent = `${(event.at / 1e9).toFixed(6)} s: ${event.text}${took}`;
    const width = this.tip.offsetWidth;
    this.tip.style.left = Math.max(4, Math.min(window.innerWidth - width - 4, e.clientX + 12)) + "px";
    this.tip.style.top = e.clientY + 16 + "px";
  }

  // neighbour returns the connection that is so many rows from the chosen one.
  neighbour(by) {
    const conns = this.rows.filter((r) => r.conn);
    const i = conns.findIndex((r) => r.conn.id === this.view.chosen);
    const next = conns[i < 0 ? (by > 0 ? 0 : conns.length - 1) : Math.max(0, Math.min(conns.length - 1, i + by))];
    return next?.conn.id;
  }

  // reveal scrolls a connection's row into view and gives its name the focus.
  reveal(id, focus) {
    this.looked = -Infinity;
    this.look(0);
    const row = this.rows.find((r) => r.key === id);
    if (!row) return;
    const top = this.scroller.scrollTop, height = this.scroller.clientHeight;
    if (row.top < top) this.scroller.scrollTop = row.top;
    if (row.top + row.height > top + height) this.scroller.scrollTop = row.top + row.height - height;
    if (focus) this.labels.get(id)?.focus({ preventScroll: true });
  }
}

// cameFrom says whether a connection is one that a listening socket accepted.
function cameFrom(s, c) {
  if (!c || s.packets) return false;
  if (c.local === "") return s.network.startsWith("unix");
  const at = s.address.lastIndexOf(":");
  const host = s.address.slice(0, at);
  return c.local === s.address || ((host === "[::]" || host === "0.0.0.0") && c.local.endsWith(s.address.slice(at)));
}

// nice rounds a step of the time axis up to 1, 2 or 5 times a power of ten.
export function nice(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].find((n) => n * power >= step) * power;
}

function hatch(g, x, y, w, h, style) {
  g.save();
  g.beginPath();
  g.rect(x, y, w, h);
  g.clip();
  g.strokeStyle = style;
  g.globalAlpha = 0.45;
  g.lineWidth = 1.5;
  const first = Math.floor((x - h) / 7) * 7; // so that the pattern stands still as time moves
  g.beginPath();
  for (let i = first; i < x + w; i += 7) {
    g.moveTo(i, y + h);
    g.lineTo(i + h, y);
  }
  g.stroke();
  g.globalAlpha = 0.12;
  g.fillStyle = style;
  g.fillRect(x, y, w, h);
  g.restore();
}

function part(parent, className, text) {
  const span = document.createElement("span");
  span.className = className;
  span.textContent = text;
  parent.append(span);
  return span;
}

function nameConn(label, c) {
  label.className = "conn";
  label.dataset.conn = c.id;
  label.setAttribute("role", "option");
  label.title = c.local === "" ? `unix #${c.id}` : `${c.local} ← ${c.remote}`;
  nameAddress(label, "", c.remote || label.title);
  part(label, "role", "");
}

// nameAddress has the port, or the name of a file, stay where there is no room for what is before it.
function nameAddress(label, network, address) {
  const name = part(label, "tuple", "");
  const at = address.lastIndexOf(address.startsWith("/") ? "/" : ":");
  part(name, "host", network + (at < 0 ? address : address.slice(0, at)));
  if (at >= 0) part(name, "port", address.slice(at));
}

function nameSocket(label, s) {
  label.className = "socket";
  label.dataset.socket = `${s.network} ${s.address}`;
  label.setAttribute("role", "presentation");
  label.replaceChildren();
  nameAddress(label, s.network + " ", s.address);
  part(label, "role", s.packets ? "datagrams" : `passive, ${number(s.accepts)} accepted`);
  label.ariaLabel = `${s.network} ${s.address}, ${label.lastChild.textContent}`;
  label.title = `${s.address}, ` + (s.packets ? "a socket for datagrams" : "a passive socket: it listens, and accepting makes active ones");
}

function nameLoop(label, i, l, shown) {
  label.className = "loop";
  label.dataset.loop = i;
  label.setAttribute("role", "presentation");
  const s = l.stats;
  const busy = l.busy === null ? "" : `${Math.round(l.busy * 100)} % busy`;
  const text = s?.stuck ? "held by a handler" : [s ? `${number(s.conns)} open` : "", busy].filter(Boolean).join(", ");
  if (label.dataset.text === text) return;
  label.dataset.text = text;
  label.replaceChildren();
  part(label, "tuple", `loop ${i}`);
  part(label, s?.stuck ? "role stuck" : "role", text);
  label.title = `${shown} shown`;
}
