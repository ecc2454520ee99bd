// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// The page: it keeps the time that is looked at, and hands keys and buttons on.
import { watch } from "./feed.js";
import { after, Model, marks } from "./model.js";
import { drawMark, duration, Lanes, many, number, readColors } from "./lanes.js";
import { Detail } from "./detail.js";

const delay = 150e6; // nanoseconds by which live time is behind, so that what is drawn has arrived
const longestWait = 400; // milliseconds: quiet times longer than this are shortened when time is played slowly
const shortest = 1e4, longest = 120e9; // nanoseconds that can be shown
const shortestLive = 1e9; // and when time goes on again, or it would fly by

const byID = (id) => document.getElementById(id);
const model = new Model();

// The view is what is looked at. live: at follows the server; playing: at moves at its own speed; neither: it stands.
const view = { at: 0, end: 0, span: 10e9, live: true, playing: false, speed: 1, chosen: "", filter: "", off: new Set(), step: null };

const lanes = new Lanes(document.querySelector(".scroller"), model, view, choose);
const detail = new Detail(byID("detail"), model, view);

let arrived = 0; // performance.now() of the last message
let connected = false;
let missed = 0;

watch({
  hello(hello) {
    model.reset(hello);
    connected = true;
    arrived = performance.now();
    view.step = null;
    if (!view.live) live();
    view.at = view.end = 0;
    if (!model.conns.has(view.chosen)) view.chosen = "";
  },
  message(message) {
    connected = true;
    arrived = performance.now();
    model.add(message);
  },
  missed(n) {
    missed += n;
  },
  lost() {
    connected = false;
  },
});

// serverNow is the server's time as far as it can be known between two messages.
function serverNow() {
  const since = Math.min(1500, performance.now() - arrived);
  return Math.max(0, model.now + (connected ? since * 1e6 : 0) - delay);
}

let last = performance.now();

// advance moves the time that is looked at.
function advance(now) {
  const passed = Math.min(100, now - last);
  last = now;
  if (view.live) {
    view.at = Math.max(view.at, serverNow());
    view.end = view.at + view.span * 0.03;
  } else if (view.playing) {
    play(passed);
  }
  if (view.at < model.oldest() && !view.live) view.at = model.oldest(); // what was there is forgotten
}

function play(passed) {
  const newest = serverNow();
  const next = nextEvent(view.at, 1);
  const step = passed * 1e6 * view.speed;
  if (next && next.at - view.at > longestWait * 1e6 * view.speed) {
    view.at += Math.max(step, ((next.at - view.at) * passed) / longestWait);
  } else {
    view.at += step;
  }
  if (view.at >= newest) {
    view.at = newest;
    if (view.speed === 1) live();
  }
  view.step = null;
  follow();
}

// follow keeps the moment in view.
function follow() {
  if (view.at > view.end) view.end = view.at + view.span * 0.03;
  if (view.at < view.end - view.span) view.end = view.at + view.span * 0.7;
}

// listed are the events that are stepped through: the chosen connection's, or those of all that match the filter.
function listed() {
  const c = model.conns.get(view.chosen);
  return c ? c.events : model.events;
}

function steps(e) {
  if (!e.mark || view.off.has(e.mark)) return false;
  return view.chosen ? true : view.filter === "" || lanes.matches(model.conns.get(e.conn) ?? { loop: e.loop, local: "", remote: "", closed: null, opened: 0, events: [], id: "" });
}

// nextEvent finds the next event that is stepped to from a moment, or from the event where the last step went.
function nextEvent(at, direction) {
  const events = listed();
  let i = view.step ? events.indexOf(view.step) : -1;
  if (i >= 0) i += direction;
  else i = direction > 0 ? after(events, at) : after(events, at) - 1;
  for (; i >= 0 && i < events.length; i += direction) if (steps(events[i])) return events[i];
  return null;
}

function stop() {
  view.live = view.playing = false;
}

function live() {
  view.live = true;
  view.playing = false;
  view.step = null;
  view.speed = 1;
  view.span = Math.max(view.span, shortestLive);
  byID("speed").value = "1";
}

function pause() {
  if (view.live || view.playing) stop();
  else view.playing = true;
}

function step(direction) {
  stop();
  const e = nextEvent(view.at, direction);
  if (!e) return;
  view.step = e;
  view.at = e.at;
  follow();
}

function choose(id, at) {
  view.chosen = id;
  view.step = null;
  detail.most = null;
  if (at !== undefined) {
    stop();
    view.at = at;
    const events = listed();
    view.step = events[after(events, at) - 1] ?? null;
    follow();
  }
  lanes.reveal(id, false);
}

function zoom(factor) {
  const span = Math.min(longest, Math.max(shortest, view.span * factor));
  const part = (view.end - view.at) / view.span; // the moment stays where it is
  view.span = span;
  view.end = view.at + part * span;
}

function neighbour(by) {
  const id = lanes.neighbour(by);
  if (!id) return;
  choose(id);
  lanes.reveal(id, true);
}

function status() {
  const s = byID("status");
  const behind = Math.max(0, serverNow() - view.at);
  let state = "live", text = `live, ${many(model.loops.reduce((n, l) => n + (l.stats?.conns ?? 0), 0), "connection")}`;
  if (!connected) [state, text] = ["lost", "no answer, asking again"];
  else if (view.playing) [state, text] = ["behind", `playing, ${duration(behind)} behind`];
  else if (!view.live) [state, text] = ["paused", `paused, ${(view.at / 1e9).toFixed(6)} s`];
  if (connected && missed) text += `, ${many(missed, "message")} missed`;
  if (s.textContent !== text) s.textContent = text;
  s.dataset.state = state;
  // Only changes of the state are announced, not each tick of the clock.
  s.setAttribute("aria-live", status.before === state ? "off" : "polite");
  status.before = state;
  byID("pause").textContent = view.live || view.playing ? "Pause" : "Play";
  byID("live").setAttribute("aria-pressed", String(view.live));
  byID("span").textContent = duration(view.span);
  const more = byID("more");
  const shown = lanes.rows.filter((r) => r.conn).length, all = model.loops.reduce((n, l) => n + (l.stats?.conns ?? 0), 0);
  const hidden = lanes.hidden ? Math.max(lanes.hidden, view.filter ? 0 : all - shown) : 0;
  more.hidden = hidden === 0;
  more.textContent = `${number(hidden)} more are not shown; the filter finds those that have done something.`;
}

let drawn = 0;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function frame(now) {
  requestAnimationFrame(frame);
  if (calm.matches && now - drawn < 250) return; // it moves in steps
  drawn = now;
  advance(now);
  lanes.draw(now);
  detail.draw();
  status();
}

function legend() {
  const list = document.querySelector("#legend ul"), help = document.querySelector("#keys .marks");
  list.replaceChildren();
  help.replaceChildren();
  for (const [kind, { name, about }] of Object.entries(marks)) {
    const item = document.createElement("li"), label = document.createElement("label"), box = document.createElement("input"), mark = document.createElement("canvas");
    box.type = "checkbox";
    box.checked = !view.off.has(kind);
    box.addEventListener("change", () => {
      if (box.checked) view.off.delete(kind);
      else view.off.add(kind);
    });
    label.title = about;
    label.append(box, mark, name);
    item.append(label);
    list.append(item);
    drawMark(mark, kind);
    const row = document.createElement("div"), term = document.createElement("dt"), says = document.createElement("dd"), same = document.createElement("canvas");
    term.append(same, name);
    says.append(about);
    row.append(term, says);
    help.append(row);
    drawMark(same, kind);
  }
}

function theme() {
  readColors();
  legend();
}

byID("pause").addEventListener("click", pause);
byID("live").addEventListener("click", live);
byID("step").addEventListener("click", () => step(1));
byID("back").addEventListener("click", () => step(-1));
byID("wider").addEventListener("click", () => zoom(2));
byID("closer").addEventListener("click", () => zoom(0.5));
byID("help").addEventListener("click", () => byID("keys").showModal());
byID("filter").addEventListener("input", (e) => { view.filter = e.target.value; });
byID("speed").addEventListener("change", (e) => {
  view.speed = Number(e.target.value);
  if (view.speed === 1 && view.live) return;
  view.live = false;
  view.playing = true;
});

const keys = {
  " ": pause, ArrowRight: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => neighbour(1), ArrowUp: () => neighbour(-1),
  "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), l: live, L: live,
  "?": () => byID("keys").showModal(), Escape: () => choose(""),
};

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || byID("keys").open) return;
  if (e.target.matches("input[type=search]")) {
    if (e.key === "Escape") e.target.blur();
    return;
  }
  if (e.key === " " && e.target.matches("select, summary, input, button")) return;
  if (e.key.startsWith("Arrow") && e.target.matches("select")) return;
  if (e.target.id === "story" && e.key.startsWith("Arrow") && (e.key === "ArrowUp" || e.key === "ArrowDown")) return;
  const act = keys[e.key];
  if (!act) return;
  e.preventDefault();
  act();
});

// The filter is gone to when the key comes up, or its character would be the first that is typed there.
document.addEventListener("keyup", (e) => {
  if (e.key === "/" && !e.target.matches("input")) byID("filter").focus();
});

document.querySelector(".scroller").addEventListener("wheel", (e) => {
  if (!e.ctrlKey) return;
  e.preventDefault();
  zoom(e.deltaY > 0 ? 1.25 : 0.8);
}, { passive: false });

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
if (matchMedia("(max-width: 900px)").matches) byID("legend").open = false;
theme();
requestAnimationFrame(frame);
