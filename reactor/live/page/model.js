// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The model is what the server has told, as far back as the page remembers: events by time, those of each connection and
// of each loop, and what can be said of a connection at a moment. Times are nanoseconds since the server began to trace.

// How much is remembered; the oldest is forgotten in steps.
const maxEvents = 40000;
const forgetStep = 4000;
const maxConns = 2000;

// The kinds of events that are shown as marks on a connection's row, in the order of the legend.
export const marks = {
  accept: { name: "accepted", about: "it came out of a listening socket (accept)" },
  ready: { name: "ready", about: "the poller reported it: there is something to read, or room to write" },
  read: { name: "read", about: "bytes came in (recv); a large mark, many bytes" },
  "read again": { name: "nothing to read", about: "no bytes were there: a blocking recv would wait (EAGAIN)" },
  "partial frame": { name: "partial frame", about: "what is here ends inside a frame; the rest has to come" },
  frame: { name: "frame", about: "a frame is whole, or a handler without a codec took bytes" },
  write: { name: "write", about: "the kernel took all that was to be sent (send)" },
  "write part": { name: "write, in part", about: "the kernel took what it had room for; the rest waits here" },
  "write again": { name: "would block", about: "the kernel had no room: a blocking send would wait (EAGAIN)" },
  stopped: { name: "reading stopped", about: "it is not read from, hatched, until it resumes" },
  eof: { name: "peer's end", about: "the peer sends no more: it has shut down its half" },
  shut: { name: "end here", about: "this side sends no more: it has shut down its half" },
  close: { name: "closed", about: "it is over; red after a reset, an error or a time-out" },
};

// markOf says as which mark an event is shown. A handler that consumed bytes made a frame of its own, unless a codec
// makes them: then Data is around the frames. A write in part is where the kernel's buffer is full.
export function markOf(e, c) {
  if (e.kind === "data") return e.n > 0 && !c.framed ? "frame" : "";
  if (e.kind === "refuse") return "close";
  if (e.kind === "write" && e.n < e.of) return "write part";
  return e.kind in marks ? e.kind : "";
}

// after finds the first index of sorted events that is later than at.
export function after(events, at) {
  let low = 0, high = events.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (events[mid].at <= at) low = mid + 1;
    else high = mid;
  }
  return low;
}

// insert keeps events sorted by time. A span is told when it has ended, so it may belong before what is there.
function insert(events, e) {
  if (events.length === 0 || events[events.length - 1].at <= e.at) events.push(e);
  else events.splice(after(events, e.at), 0, e);
}

// roleOf says how a connection came to be, as far as its name and its first events tell.
function roleOf(c, sockets) {
  if (c.accepted) return "accepted";
  if (c.local === "") return c.opened === null ? "stream" : "dialled";
  const port = c.local.slice(c.local.lastIndexOf(":"));
  const socket = sockets.find((s) => s.address.endsWith(port) && !s.network.startsWith("unix"));
  if (!socket) return "dialled";
  return socket.packets ? "session" : "accepted";
}

export class Model {
  constructor() {
    this.reset({ loops: 0, conns: [], stats: { loops: [], sockets: [] } });
  }

  reset(hello) {
    this.events = [];
    this.conns = new Map();
    this.loops = Array.from({ length: hello.loops }, () => ({ spans: [], last: 0, stats: null, busy: null }));
    this.sockets = [];
    this.now = 0;
    this.forgotten = 0; // until when
    this.tell(hello.stats);
    for (const c of hello.conns) this.meet(c);
  }

  add(message) {
    this.now = Math.max(this.now, message.now);
    for (const c of message.conns ?? []) this.meet(c);
    for (const e of message.events ?? []) this.note(e);
    if (message.stats) this.tell(message.stats, message.now);
    if (message.open) this.check(message.open);
    if (this.events.length > maxEvents) this.forget(this.events[forgetStep].at);
    if (this.conns.size > maxConns) this.drop();
  }

  meet(c) {
    const known = this.conns.get(c.id);
    if (known) return known;
    const conn = { ...c, accepted: false, framed: false, opened: null, closed: null, last: 0, events: [], guess: null };
    this.conns.set(c.id, conn);
    return conn;
  }

  note(e) {
    insert(this.events, e);
    this.loops[e.loop].last = Math.max(this.loops[e.loop].last, e.at + (e.duration ?? 0));
    if (e.duration && e.kind !== "data" && e.kind !== "frame") insert(this.loops[e.loop].spans, e);
    const c = this.conns.get(e.conn);
    if (!c) return;
    if (c.guess) { // it was not over: it was on its way to a loop, or this is how it ended
      c.events.splice(c.events.indexOf(c.guess), 1);
      c.guess = c.closed = null;
    }
    if (!c.framed && (e.kind === "frame" || e.kind === "partial frame")) {
      c.framed = true;
      for (const before of c.events) before.mark = markOf(before, c);
    }
    if (e.kind === "close") e.text = e.text.replaceAll("_", " "); // "idle_timeout" is for machines
    e.mark = markOf(e, c);
    insert(c.events, e);
    c.last = Math.max(c.last, e.at);
    if (e.kind === "accept") c.accepted = true;
    else c.loop = e.loop; // the loop that accepts may hand it to another
    if (e.kind === "accept" || e.kind === "open") c.opened = Math.min(c.opened ?? e.at, e.at);
    if (e.kind === "close" || e.kind === "refuse") c.closed = e.at;
  }

  // check has connections end that are no longer open though nobody told.
  check(open) {
    const ids = new Set(open.ids);
    for (const c of this.conns.values()) {
      if (c.closed !== null || ids.has(c.id) || c.last > open.at) continue;
      c.guess = { kind: "close", mark: "close", at: open.at, conn: c.id, loop: c.loop, n: 0, of: 0, text: "closed before; when was not recorded" };
      c.closed = open.at;
      insert(c.events, c.guess);
    }
  }

  tell(stats, now) {
    this.sockets = stats.sockets;
    stats.loops.forEach((s, i) => {
      const l = this.loops[i];
      if (l.stats && now > l.at) l.busy = s.busy ? (s.busy - l.stats.busy) / (now - l.at) : null;
      l.stats = s;
      l.at = now ?? 0;
    });
  }

  // forget drops what is older, and connections that had ended by then.
  forget(at) {
    const cut = (events) => events.splice(0, after(events, at));
    cut(this.events);
    this.forgotten = at;
    for (const l of this.loops) cut(l.spans);
    for (const [id, c] of this.conns) {
      cut(c.events);
      if (c.closed !== null && c.closed <= at) this.conns.delete(id);
    }
  }

  // drop makes room among the connections: first those that ended, then those that did nothing for longest.
  drop() {
    const order = [...this.conns.values()].sort((a, b) => (a.closed === null) - (b.closed === null) || a.last - b.last);
    for (const c of order.slice(0, this.conns.size - maxConns + 100)) this.conns.delete(c.id);
  }

  role(c) {
    return roleOf(c, this.sockets);
  }

  // gaps are the times in which not all was recorded of a connection.
  gaps(c) {
    return this.loops[c.loop].spans.filter((e) => e.kind === "gap");
  }

  oldest() {
    return this.events.length ? this.events[0].at : this.now;
  }
}

// stateOf replays a connection's events up to a moment. Positions count the bytes of its stream that have been seen;
// where the page did not see the beginning, they count from there, and what a partial frame says of what is left puts
// them right; so it does after a gap, past which nothing is known to be held.
export function stateOf(c, at, gaps = []) {
  const s = {
    received: 0, consumed: 0, unsent: 0, reads: [], frames: [], partial: null,
    stopped: new Set(), why: "", closed: false, reason: "", interest: "",
  };
  let gap = 0;
  const skip = (until) => {
    const before = gap;
    while (gap < gaps.length && gaps[gap].at <= until) gap++;
    if (gap === before) return;
    s.consumed = s.received;
    s.partial = null;
  };
  for (const e of c.events) {
    if (e.at > at) break;
    skip(e.at);
    switch (e.kind) {
      case "read":
        if (e.n > 0) s.reads.push({ from: s.received, n: e.n });
        s.received += e.n;
        if (s.partial) s.partial.have += e.n;
        s.stopped.clear(); // else it would not be read from: that it goes on was not recorded
        break;
      case "frame":
      case "data": {
        const n = e.kind === "frame" ? e.of : e.n;
        if (e.kind === "data" && (n === 0 || c.framed)) break;
        s.frames.push({ from: s.consumed, n, payload: e.n, decoded: e.kind === "frame" });
        s.consumed += n;
        s.received = Math.max(s.received, s.consumed); // the read was not seen
        s.partial = null;
        break;
      }
      case "partial frame":
        if (s.received - s.consumed !== e.n) {
          s.received = Math.max(s.received, e.n);
          s.consumed = s.received - e.n;
        }
        s.partial = { have: e.n, need: e.of };
        break;
      case "write":
        s.unsent = e.of - e.n;
        break;
      case "write again":
        s.unsent = e.of;
        break;
      case "stopped":
        s.stopped.add(e.n);
        s.unsent = e.of;
        s.why = e.text;
        break;
      case "resumed":
        s.stopped.delete(e.n);
        break;
      case "interest":
        s.interest = e.text;
        break;
      case "close":
      case "refuse":
        s.closed = true;
        s.reason = e.text;
        s.unsent = e.of;
        break;
    }
  }
  skip(at);
  return s;
}

// stops returns the times in which a connection's reading was stopped; one that goes on ends at Infinity.
export function stops(c) {
  const list = [], open = new Set();
  for (const e of c.events) {
    if (e.kind === "stopped") {
      if (open.size === 0) list.push({ from: e.at, to: Infinity });
      open.add(e.n);
    } else if (e.kind === "resumed" || e.kind === "close" || e.kind === "read") {
      if (e.kind === "resumed") open.delete(e.n);
      else open.clear(); // what is read from is not stopped: that it goes on was not recorded
      if (open.size === 0 && list.length && list[list.length - 1].to === Infinity) list[list.length - 1].to = e.at;
    }
  }
  return list;
}
