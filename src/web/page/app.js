// The page of the course: what there is, how it is doing, and what is wrong.
import { drawCourse, expand } from './course.js';
import { age, setText } from './elements.js';
import { announce, drawRun } from './head.js';
import { drawProblems } from './problems.js';
import { byId, choice, known, now, shown } from './state.js';
import { applyFilter, drawStates } from './states.js';

function connect() {
  const stream = new EventSource('/events');
  stream.onopen = () => setConnected(true);
  stream.onmessage = (event) => take(JSON.parse(event.data));
  stream.onerror = () => {
    setConnected(false);
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

function setConnected(is) {
  known.isConnected = is;
  drawRun();
}

/** Takes everything, or what has changed. */
function take(state) {
  const before = known.run;
  known.clock = state.now_ms - Date.now();
  if (state.course) {
    known.course = state.course;
    known.actions = [];
  }
  for (const action of state.actions) known.actions[action.number] = action;
  for (const { output, made_ms } of state.made ?? []) known.course.outputs[output].made_ms = made_ms;
  if (state.diagnostics) known.diagnostics = state.diagnostics;
  if (state.run) known.run = state.run;
  if (state.course) drawCourse();
  drawStates();
  if (state.diagnostics) drawProblems(byId('problems'), byId('problem-list'), known.diagnostics);
  drawRun();
  announce(before, known.run);
}

const filter = byId('filter');
filter.addEventListener('input', () => {
  choice.text = filter.value;
  applyFilter();
});

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { activeElement: active } = document;
  if (event.key === '/' && active !== filter) {
    event.preventDefault();
    filter.focus();
    filter.select();
    return;
  }
  const visible = shown.rows.filter((row) => !row.element.hidden);
  const at = visible.findIndex((row) => row.element.contains(active));
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && (at >= 0 || active === filter)) {
    event.preventDefault();
    const next = visible[at + step];
    if (next) next.link.focus();
    else if (step < 0) filter.focus();
  } else if ((event.key === 'ArrowRight' || event.key === 'ArrowLeft') && at >= 0) {
    event.preventDefault();
    expand(visible[at], event.key === 'ArrowRight');
    if (!visible[at].element.contains(document.activeElement)) visible[at].link.focus();
  } else if (event.key === 'Enter' && active === filter && visible.length) {
    visible[0].link.click();
  } else if (event.key === 'Escape' && (filter.value || choice.state)) {
    filter.value = choice.text = '';
    choice.state = null;
    drawStates();
  }
});

// Ages grow, and running things take longer.
setInterval(() => {
  if (known.run && !document.hidden) drawRun();
}, 1000);
setInterval(() => {
  for (const row of shown.rows) if (!row.text && row.newest) setText(row.note, age(now() - row.newest));
}, 20000);

connect();
