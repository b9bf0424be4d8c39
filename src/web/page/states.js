// How decks are doing, and which of them are shown.
import { drawOutputs } from './course.js';
import { stateOf } from './decks.js';
import { age, element, mark, setText } from './elements.js';
import { STATES, byId, choice, known, now, shown } from './state.js';

/** States by which decks can be filtered, as they follow a number. */
const FILTERS = { failed: 'failed', warning: 'with warnings', building: 'building', missing: 'not built' };

/** Shows how everything is doing. */
export function drawStates() {
  if (!shown.decks) return;
  const bySource = new Map();
  for (const action of known.actions) {
    if (!action) continue;
    if (!bySource.has(action.source)) bySource.set(action.source, []);
    bySource.get(action.source).push(action);
  }
  const problems = new Map();
  for (const problem of known.diagnostics) {
    const found = problems.get(problem.file) ?? { error: 0, warning: 0 };
    found[problem.severity === 'error' ? 'error' : 'warning'] += 1;
    problems.set(problem.file, found);
  }
  const counts = { failed: 0, warning: 0, building: 0, missing: 0 };
  for (const row of shown.rows) {
    summarise(row, bySource, problems);
    for (const name of row.states) if (name in counts) counts[name] += 1;
    const signature = `${row.text} ${row.states} ${row.newest}`;
    if (signature === row.signature) continue;
    row.signature = signature;
    const [state] = row.states;
    row.element.dataset.state = state;
    row.state.replaceChildren(mark(state, STATES[state]));
    row.note.className = `note ${row.tone}`;
    setText(row.note, row.text || (row.newest ? age(now() - row.newest) : ''));
    if (!row.panel.hidden) drawOutputs(row);
  }
  for (const block of shown.blocks) block.files?.draw();
  drawFilter(counts);
  applyFilter();
}

/** What a row says about its deck. */
function summarise(row, bySource, problems) {
  const actions = [...row.deck.sources].flatMap((source) => bySource.get(source) ?? []);
  const found = [...row.deck.sources].map((source) => problems.get(source)).filter(Boolean);
  const errors = found.reduce((sum, one) => sum + one.error, 0);
  const warnings = found.reduce((sum, one) => sum + one.warning, 0);
  const running = actions.filter((action) => action.running);
  const states = new Set();
  if (running.length) states.add('building');
  if (errors || actions.some((action) => action.status === 'failed')) states.add('failed');
  for (const name of ['missing', 'unchecked', 'fresh']) {
    if (row.deck.outputs.some((output) => stateOf(output, known) === name)) states.add(name);
  }
  if (warnings) states.add('warning');
  row.states = [...states];
  row.newest = Math.max(0, ...row.deck.outputs.map((output) => output.made_ms ?? 0));
  row.tone = '';
  row.text = '';
  const step = running.find((action) => action.kind === 'execute') ?? running[0];
  if (step) {
    const { label, done, total } = step.running;
    row.tone = 'building';
    row.text = label ? `${label}${total > 1 ? ` (${done}/${total})` : ''}` : 'building';
  } else if (states.has('failed')) {
    row.tone = 'failed';
    row.text = errors > 1 ? `${errors} errors` : 'failed';
  } else if (warnings) {
    row.tone = 'warning';
    row.text = warnings > 1 ? `${warnings} warnings` : '1 warning';
  } else if (!row.newest) {
    row.text = 'not built';
  }
}

function drawFilter(counts) {
  const buttons = Object.entries(FILTERS).filter(([name]) => counts[name] > 0 || choice.state === name);
  const signature = JSON.stringify([counts, choice.state]);
  const place = byId('states');
  if (place.dataset.signature === signature) return;
  place.dataset.signature = signature;
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.state : null;
  place.replaceChildren(...buttons.map(([name, label]) => {
    const button = element('button', { type: 'button', textContent: `${counts[name]} ${label}`, className: name });
    button.dataset.state = name;
    button.setAttribute('aria-pressed', String(choice.state === name));
    button.onclick = () => {
      choice.state = choice.state === name ? null : name;
      drawFilter(counts);
      applyFilter();
    };
    return button;
  }));
  if (focused) place.querySelector(`[data-state="${focused}"]`)?.focus();
}

/** Hides what the reader does not look for. */
export function applyFilter() {
  const words = choice.text.toLowerCase().split(/\s+/).filter(Boolean);
  const isFiltered = words.length > 0 || choice.state !== null;
  let found = 0;
  for (const block of shown.blocks) {
    let count = 0;
    for (const row of block.rows) {
      const matches = words.every((word) => row.words.includes(word))
        && (choice.state === null || row.states.includes(choice.state));
      row.element.hidden = !matches;
      if (matches) count += 1;
    }
    found += count;
    block.element.hidden = isFiltered && count === 0;
    block.element.classList.toggle('filtered', isFiltered);
  }
  const none = byId('no-match');
  if (none) none.hidden = !(isFiltered && found === 0);
}
