// Draws the timeline, and lets people walk through it by mouse and keyboard.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const area = document.getElementById("timeline");
const canvas = document.getElementById("canvas");
const details = document.getElementById("details");
const pen = canvas.getContext("2d");
const GUTTER = 120, ROW = 17, GAP = 5, AXIS = 22, CHART = 54, RIGHT = 10;
const total = Math.max(data.total, 1);
const onPath = new Set(data.critical);
const actions = data.actions.map(([id, kind, source, status, reasons, waited, start, took, after]) =>
  ({ id, kind, source, status, reasons, waited, start, took, after }));
const bars = data.bars.map(([lane, depth, type, name, start, took, action]) =>
  ({ lane, depth, type, name, start, took, end: start + took, action }));
const lanes = data.lanes.map((name) => ({ name, bars: [], rows: 1 }));
for (const bar of bars) {
  const lane = lanes[bar.lane];
  lane.bars.push(bar);
  lane.rows = Math.max(lane.rows, bar.depth + 1);
}
const longest = Math.max(...data.queue.map(([, lengths]) => lengths.reduce((a, b) => a + b, 0)), 1);
const charts = [];
if (data.cpu.length) charts.push({ name: "processors", note: `${data.processors}; line: everybody`, draw: drawProcessors });
if (data.queue.length) charts.push({ name: "waiting", note: `at most ${longest}`, draw: drawQueue });
let height = AXIS;
for (const chart of charts) { chart.top = height; height += CHART + GAP; }
for (const lane of lanes) { lane.top = height; height += lane.rows * ROW + GAP; }
const view = { from: 0, to: total };
let selected = null, hovered = null, wanted = "", dragged = null, colours = {};

function time(us) {
  if (us < 1000) return `${us} µs`;
  if (us < 10000) return `${(us / 1000).toFixed(1)} ms`;
  if (us < 1e6) return `${Math.round(us / 1000)} ms`;
  return `${(us / 1e6).toFixed(us < 1e8 ? 2 : 0)} s`;
}
const width = () => canvas.clientWidth - GUTTER - RIGHT;
const x = (at) => GUTTER + (at - view.from) / (view.to - view.from) * width();
const at = (px) => view.from + (px - GUTTER) / width() * (view.to - view.from);
const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

function fits(bar) {
  if (!wanted) return true;
  const about = bar.action === null ? bar.name : `${actions[bar.action].id} ${actions[bar.action].source}`;
  return about.toLowerCase().includes(wanted);
}
function colour(bar) {
  if (bar.type !== "work") return colours[bar.type];
  const action = bar.action === null ? null : actions[bar.action];
  if (!action) return colours.copy;
  return action.status === "failed" ? colours.failed : colours[action.kind] || colours.copy;
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["back", "raised", "text", "faint", "line", "execute", "html", "plantuml", "drawio", "deck", "copy",
    "phase", "start", "wait", "failed", "critical", "on", "own", "all"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
  const scale = devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(height * scale);
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, canvas.clientWidth, height);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  lanes.forEach((lane, place) => {
    if (place % 2) return;
    pen.fillStyle = colours.raised;
    pen.fillRect(0, lane.top - GAP / 2, canvas.clientWidth, lane.rows * ROW + GAP);
  });
  drawAxis();
  pen.fillStyle = colours.text;
  for (const { name, top } of [...charts, ...lanes]) pen.fillText(name, 8, top + ROW / 2, GUTTER - 14);
  pen.fillStyle = colours.faint;
  for (const { note, top } of charts) pen.fillText(note, 8, top + ROW * 1.5, GUTTER - 14);
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, 0, width() + RIGHT, height);
  pen.clip();
  for (const chart of charts) chart.draw(chart.top);
  for (const lane of lanes) drawLane(lane);
  if (dragged && Math.abs(dragged.to - dragged.from) > 3) {
    pen.globalAlpha = 0.2;
    pen.fillStyle = colours.critical;
    pen.fillRect(dragged.from, 0, dragged.to - dragged.from, height);
    pen.globalAlpha = 1;
  }
  pen.restore();
}
function drawAxis() {
  const rough = (view.to - view.from) / Math.max(width() / 90, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max([1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough), 1);
  pen.strokeStyle = colours.line;
  pen.fillStyle = colours.faint;
  pen.lineWidth = 1;
  for (let tick = Math.ceil(view.from / step) * step; tick <= view.to; tick += step) {
    const px = Math.round(x(tick)) + 0.5;
    pen.beginPath();
    pen.moveTo(px, AXIS - 6);
    pen.lineTo(px, height);
    pen.stroke();
    const label = step >= 1e6 ? `${Math.round(tick / 1e6)} s`
      : step >= 1e5 ? `${(tick / 1e6).toFixed(1)} s`
        : step >= 1000 ? `${Math.round(tick / 1000)} ms` : `${Math.round(tick)} µs`;
    if (px + pen.measureText(label).width + 3 < canvas.clientWidth) pen.fillText(label, px + 3, AXIS / 2);
  }
}
function drawLane(lane) {
  // Where the last bar of each row ended: what lies within one pixel is drawn once.
  const drawn = [];
  for (const bar of lane.bars) {
    if (bar.end < view.from || bar.start > view.to) continue;
    const left = x(bar.start), right = Math.max(x(bar.end), left + 1);
    const isMarked = bar === selected || bar === hovered;
    const isCritical = bar.action !== null && bar.type !== "wait" && onPath.has(bar.action);
    if (!isMarked && !isCritical && right <= (drawn[bar.depth] || 0)) continue;
    drawn[bar.depth] = Math.max(right, Math.ceil(left));
    const top = lane.top + bar.depth * ROW;
    const from = Math.max(left, GUTTER), shown = Math.min(right, canvas.clientWidth) - from;
    pen.globalAlpha = fits(bar) ? 1 : 0.15;
    pen.fillStyle = colour(bar);
    pen.fillRect(from, top, Math.max(shown - (shown > 3 ? 0.5 : 0), 1), ROW - 1);
    if (bar.type === "start" && shown > 4) stripe(from, top, shown);
    if (isCritical) {
      pen.fillStyle = colours.critical;
      pen.fillRect(from, top + ROW - 4, Math.max(shown, 2), 3);
    }
    if (shown > 34) {
      pen.fillStyle = bar.type === "phase" || bar.type === "wait" ? colours.text : colours.on;
      label(bar.name, from + 4, top + ROW / 2 - (isCritical ? 1 : 0), shown - 8, bar.type === "start" && colour(bar));
    }
    if (isMarked) {
      pen.strokeStyle = colours.text;
      pen.lineWidth = bar === selected ? 2 : 1;
      pen.strokeRect(from - 0.5, top - 0.5, Math.max(shown, 2) + 1, ROW);
    }
    pen.globalAlpha = 1;
  }
}
function label(text, left, middle, room, back) {
  let shown = text;
  const all = pen.measureText(text).width;
  if (all > room) {
    const letters = Math.floor(text.length * room / all) - 1;
    if (letters < 3) return;
    shown = `${text.slice(0, letters)}…`;
  }
  if (back) {
    const fill = pen.fillStyle;
    pen.fillStyle = back;
    pen.fillRect(left - 2, middle - 7, Math.min(all, room) + 4, 14);
    pen.fillStyle = fill;
  }
  pen.fillText(shown, left, middle);
}
function stripe(left, top, wide) {
  pen.save();
  pen.beginPath();
  pen.rect(left, top, wide, ROW - 1);
  pen.clip();
  pen.strokeStyle = colours.back;
  pen.lineWidth = 2;
  pen.beginPath();
  for (let px = left - ROW; px < left + wide; px += 7) {
    pen.moveTo(px, top + ROW);
    pen.lineTo(px + ROW, top);
  }
  pen.globalAlpha *= 0.6;
  pen.stroke();
  pen.restore();
}
function steps(points, top, most, fill) {
  const y = (value) => top + CHART - Math.min(value / most, 1) * (CHART - 4);
  pen.beginPath();
  pen.moveTo(x(points.length ? points[0][0] : 0), y(0));
  for (const [from, to, value] of points) {
    pen.lineTo(x(from), y(value));
    pen.lineTo(x(to), y(value));
  }
  if (fill) {
    pen.lineTo(x(points.length ? points[points.length - 1][1] : 0), y(0));
    pen.fillStyle = fill;
    pen.fill();
  }
}
function drawProcessors(top) {
  const points = (place) => data.cpu.map((sample, index) =>
    [index ? data.cpu[index - 1][0] : 0, sample[0], sample[place]]);
  pen.globalAlpha = 0.7;
  steps(points(1), top, data.processors, colours.own);
  pen.globalAlpha = 1;
  steps(points(2), top, data.processors);
  pen.strokeStyle = colours.all;
  pen.lineWidth = 1.5;
  pen.stroke();
}
function drawQueue(top) {
  const after = (index) => index + 1 < data.queue.length ? data.queue[index + 1][0] : total;
  // The kinds lie upon one another.
  for (let kind = data.kinds.length - 1; kind >= 0; kind -= 1) {
    const sum = (lengths) => lengths.slice(0, kind + 1).reduce((a, b) => a + b, 0);
    steps(data.queue.map(([from, lengths], index) => [from, after(index), sum(lengths)]), top, longest,
      colours[data.kinds[kind]]);
  }
}

function show(bar) {
  details.replaceChildren();
  const line = (text) => {
    const p = document.createElement("p");
    p.textContent = text;
    details.append(p);
  };
  if (!bar) {
    line("No bar is selected");
    return;
  }
  const action = bar.action === null ? null : actions[bar.action];
  line(action && bar.type === "work" ? action.id : `${bar.name}${action ? ` for ${action.id}` : ""}`);
  line(`${lanes[bar.lane].name}: ${time(bar.took)}, from ${time(bar.start)} to ${time(bar.end)}`);
  if (!action || bar.type !== "work") return;
  line(`${action.status}${onPath.has(bar.action) ? ", on the critical path" : ""}; `
    + `from its start until it was published ${time(action.took)}`
    + (action.waited ? `; waited ${time(action.waited)} before` : ""));
  if (action.reasons) line(`because: ${action.reasons}`);
  if (action.after.length) line(`needed: ${action.after.map((place) => actions[place].id).join("; ")}`);
}
function select(bar, reveal) {
  selected = bar;
  show(bar);
  if (bar && reveal && (bar.end < view.from || bar.start > view.to || x(bar.end) - x(bar.start) < 3)) {
    const wide = clamp(bar.took * 8, 1000, view.to - view.from);
    look((bar.start + bar.end - wide) / 2, (bar.start + bar.end + wide) / 2);
  }
  draw();
}
function look(from, to) {
  const wide = clamp(to - from, Math.min(50, total), total);
  view.from = clamp(from, 0, total - wide);
  view.to = view.from + wide;
  draw();
}
function zoom(factor, around) {
  const middle = around ?? (selected ? (selected.start + selected.end) / 2 : (view.from + view.to) / 2);
  look(middle - (middle - view.from) * factor, middle + (view.to - middle) * factor);
}
function barAt(event) {
  const box = canvas.getBoundingClientRect();
  const px = event.clientX - box.left, py = event.clientY - box.top;
  const lane = lanes.find((l) => py >= l.top && py < l.top + l.rows * ROW);
  if (!lane || px < GUTTER) return null;
  const depth = Math.floor((py - lane.top) / ROW);
  let best = null;
  for (const bar of lane.bars) {
    if (bar.depth !== depth) continue;
    const left = x(bar.start) - 1, right = Math.max(x(bar.end), x(bar.start) + 1) + 1;
    if (px >= left && px <= right && (!best || bar.took > best.took)) best = bar;
  }
  return best;
}
canvas.addEventListener("pointermove", (event) => {
  if (dragged) {
    dragged.to = Math.max(event.clientX - canvas.getBoundingClientRect().left, GUTTER);
    draw();
    return;
  }
  const bar = barAt(event);
  if (bar === hovered) return;
  hovered = bar;
  if (bar || !selected) show(bar); else show(selected);
  draw();
});
canvas.addEventListener("pointerleave", () => {
  hovered = null;
  show(selected);
  draw();
});
canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  const from = Math.max(event.clientX - canvas.getBoundingClientRect().left, GUTTER);
  dragged = { from, to: from };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointerup", (event) => {
  if (!dragged) return;
  const { from, to } = dragged;
  dragged = null;
  if (Math.abs(to - from) > 3) look(at(Math.min(from, to)), at(Math.max(from, to)));
  else select(barAt(event), false);
});
canvas.addEventListener("dblclick", () => look(0, total));
canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.shiftKey) return;
  event.preventDefault();
  if (event.ctrlKey) {
    zoom(event.deltaY > 0 ? 1.25 : 0.8, at(event.clientX - canvas.getBoundingClientRect().left));
  } else {
    const by = (event.deltaY || event.deltaX) / 400 * (view.to - view.from);
    look(view.from + by, view.to + by);
  }
}, { passive: false });

function walk(key) {
  if (!bars.length) return;
  if (!selected) {
    select(lanes.find((lane) => lane.bars.length).bars[0], true);
    return;
  }
  const lane = lanes[selected.lane].bars;
  const place = lane.indexOf(selected);
  const rows = { ArrowUp: -1, ArrowDown: 1 };
  if (key in rows) {
    const next = lanes[selected.lane + rows[key]];
    if (!next) return;
    const middle = (selected.start + selected.end) / 2;
    const distance = (bar) => Math.max(bar.start - middle, middle - bar.end, 0);
    select(next.bars.reduce((best, bar) => distance(bar) < distance(best) ? bar : best), true);
    return;
  }
  const next = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: lane.length - 1 }[key];
  if (lane[next]) select(lane[next], true);
}
area.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const keys = {
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => look(0, total), Escape: () => select(null),
  };
  const walks = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];
  if (walks.includes(event.key)) walk(event.key);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});
document.getElementById("closer").addEventListener("click", () => zoom(0.5));
document.getElementById("farther").addEventListener("click", () => zoom(2));
document.getElementById("whole").addEventListener("click", () => look(0, total));
document.getElementById("filter").addEventListener("input", (event) => {
  wanted = event.target.value.trim().toLowerCase();
  for (const row of document.querySelectorAll("#slowest tbody tr")) {
    const button = row.querySelector("button");
    row.hidden = Boolean(button) && !button.title.toLowerCase().includes(wanted);
  }
  draw();
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  const action = Number(button.dataset.action);
  const bar = bars.find((one) => one.action === action && one.type === "work")
    || bars.find((one) => one.action === action);
  if (!bar) return;
  select(bar, true);
  area.scrollIntoView({ block: "center" });
  area.focus({ preventScroll: true });
});

const legend = document.getElementById("legend");
const kinds = new Set(actions.map((action) => action.kind));
for (const [name, text] of [
  ...["execute", "html", "plantuml", "drawio", "deck", "copy"].filter((kind) => kinds.has(kind)).map((kind) => [kind, kind]),
  ["failed", "failed"], ["start", "cold start (striped)"], ["wait", "waits for its kernel"], ["phase", "phase of clm"],
  ["critical", "critical path"]]) {
  const item = document.createElement("li"), box = document.createElement("i");
  box.style.background = `var(--${name})`;
  item.append(box, text);
  legend.append(item);
}
show(null);
new ResizeObserver(draw).observe(area);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
