// The page of the course: what there is, how it is doing, and what is wrong.
import { CLASSES, decksOf, stateOf } from './decks.js';
import { age, duration, elapsed, element, mark, setText } from './elements.js';
import { drawProblems } from './problems.js';

const KINDS = {
  'code-along': 'Code-Along', completed: 'Completed', trainer: 'Trainer', recording: 'Recording', partial: 'Partial',
};
const LANGUAGES = { de: 'Deutsch', en: 'English' };
const STATES = {
  failed: 'failed', warning: 'with warnings', building: 'building', missing: 'not built',
};
const STATE_TITLES = {
  failed: 'Failed', building: 'Being built', fresh: 'Up to date', missing: 'Not built yet', unchecked: 'Not checked yet',
};
const $ = (id) => document.getElementById(id);

const known = { course: null, actions: [], diagnostics: [], run: null };
let decks = null;
let clockShift = 0;
const choice = {
  lang: stored('clm-lang', Object.keys(LANGUAGES)) ?? (navigator.language.startsWith('de') ? 'de' : 'en'),
  kind: stored('clm-kind', Object.keys(KINDS)),
  state: null,
  text: '',
};

function stored(name, allowed) {
  try {
    const value = localStorage.getItem(name);
    return allowed.includes(value) ? value : null;
  } catch {
    return null;
  }
}

function store(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch { /* then only for now */ }
}

const now = () => Date.now() + clockShift;

// ---- The stream -------------------------------------------------------------------------------------------------

let isConnected = true;

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
  isConnected = is;
  document.body.classList.toggle('away', !is);
  drawRun();
}

function take(state) {
  clockShift = state.now_ms - Date.now();
  if (state.course) {
    known.course = state.course;
    known.actions = [];
  }
  for (const action of state.actions) known.actions[action.number] = action;
  for (const { output, made_ms } of state.made ?? []) known.course.outputs[output].made_ms = made_ms;
  const before = known.run;
  if (state.diagnostics) known.diagnostics = state.diagnostics;
  if (state.run) known.run = state.run;
  if (state.course) drawCourse();
  drawStates();
  if (state.diagnostics || state.course) drawProblems($('problems'), $('problem-list'), known.diagnostics);
  drawRun();
  announce(before, known.run);
}

function announce(before, run) {
  if (!run?.counts || (before?.run === run.run && before.counts)) return;
  const parts = [`${run.counts.built} built`];
  if (run.counts.failed) parts.push(`${run.counts.failed} failed`);
  $('news').textContent = `Build finished: ${parts.join(', ')}`;
}

// ---- The head ---------------------------------------------------------------------------------------------------

function drawRun() {
  const run = known.run;
  const line = $('run');
  line.className = 'run';
  if (!isConnected) {
    line.classList.add('lost');
    setText(line, 'Not connected. The preview goes on when `clm watch` runs again.');
  } else if (!run) {
    setText(line, known.course ? 'Nothing was built so far' : '');
  } else if (run.counts) {
    const { built, restored, fresh, removed, failed } = run.counts;
    const parts = [[built, 'built'], [restored, 'restored'], [fresh, 'fresh'], [removed, 'removed'], [failed, 'failed']]
      .filter(([count]) => count > 0)
      .map(([count, what]) => `${count} ${what}`);
    const end = run.since_ms + run.duration_ms;
    setText(line, `${parts.join(', ') || 'Nothing to do'} in ${duration(run.duration_ms)} · ${age(now() - end)}`);
  } else {
    line.classList.add('building');
    setText(line, ['Building', `${run.finished} of ${run.actions}`, elapsed(now() - run.since_ms)].filter(Boolean).join(' · '));
  }
  const isRunning = Boolean(run && !run.counts && isConnected);
  const bar = $('progress');
  bar.hidden = !isRunning;
  if (isRunning) {
    const share = run.actions ? Math.min(1, run.finished / run.actions) : 0;
    bar.firstElementChild.style.width = `${100 * share}%`;
    bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
  }
  const steps = isRunning ? known.actions.filter((action) => action?.running && action.kind !== 'deck' && action.kind !== 'copy') : [];
  steps.sort((one, other) => one.running.since_ms - other.running.since_ms);
  const list = $('running');
  list.replaceChildren(...steps.slice(0, 3).map((action) => element('li', {},
    element('b', { textContent: { execute: 'Running', html: 'Rendering' }[action.kind] ?? 'Drawing' }),
    element('span', { className: 'source', textContent: action.source.split('/').pop() }),
    element('span', { className: 'step', textContent: stepText(action.running) }))));
  if (steps.length > 3) list.append(element('li', { className: 'step', textContent: `and ${steps.length - 3} more` }));
}

function stepText(step) {
  const count = step.total > 1 ? `${step.done} of ${step.total}` : '';
  return [step.label, count, elapsed(now() - step.since_ms)].filter(Boolean).join(' · ');
}

function drawChoice(place, names, current, choose) {
  place.replaceChildren(...Object.entries(names).map(([name, label]) => {
    const button = element('button', { type: 'button', textContent: label, onclick: () => choose(name) });
    button.setAttribute('aria-pressed', String(name === current));
    return button;
  }));
  place.hidden = Object.keys(names).length < 2;
}

function drawChoices() {
  const { languages, kinds } = decks;
  const pick = (all, some) => Object.fromEntries(Object.entries(all).filter(([name]) => some.has(name)));
  if (!languages.has(choice.lang) && languages.size > 0) [choice.lang] = languages;
  if (!kinds.has(choice.kind)) choice.kind = ['completed', 'trainer', ...kinds].find((kind) => kinds.has(kind)) ?? null;
  drawChoice($('languages'), pick(LANGUAGES, languages), choice.lang, (lang) => {
    store('clm-lang', lang);
    choice.lang = lang;
    again('languages');
  });
  drawChoice($('kinds'), pick(KINDS, kinds), choice.kind, (kind) => {
    store('clm-kind', kind);
    choice.kind = kind;
    again('kinds');
  });
}

function again(focused) {
  drawCourse();
  drawStates();
  $(focused).querySelector('[aria-pressed="true"]')?.focus();
}

// ---- The course -------------------------------------------------------------------------------------------------

/** For every deck its row, and for every section its heading and rows. */
let rows = [];
let blocks = [];
const expanded = new Set();

function drawCourse() {
  decks = decksOf(known.course);
  drawChoices();
  const title = known.course.title[choice.lang] || known.course.title.en;
  document.title = title;
  setText($('title'), title);
  rows = [];
  blocks = decks.sections.map(drawSection).filter(Boolean);
  const list = blocks.map((block) => block.element);
  $('course').replaceChildren(...(list.length ? list : [element('p', { className: 'empty', textContent: 'This course has no outputs yet.' })]),
    element('p', { className: 'empty', id: 'no-match', hidden: true, textContent: 'No deck matches the filter.' }));
}

function drawSection(section) {
  const made = section.decks.filter((deck) => deck.outputs.some((output) => output.lang === choice.lang));
  if (made.length === 0 && section.files.length === 0) return null;
  const name = section.name ? section.name[choice.lang] || section.name.en : 'Other files';
  const list = element('ul', { className: 'decks' });
  const own = made.map((deck) => {
    const row = drawRow(deck, name);
    list.append(row.element);
    rows.push(row);
    return row;
  });
  const files = section.files.filter((file) => file.output.lang === choice.lang);
  const other = files.length ? drawFiles(files) : null;
  return {
    rows: own,
    files: other,
    element: element('section', { className: 'section' },
      element('h2', {}, element('span', { textContent: name })),
      list,
      other?.element),
  };
}

function drawRow(deck, section) {
  const pages = deck.outputs.filter((output) => output.class === 'html' && output.lang === choice.lang);
  const page = pages.find((output) => output.kind === choice.kind) ?? pages[0];
  const shown = deck.title[choice.lang];
  const [, number, rest] = shown.match(/^(\d+)\s+(.*)$/) ?? [null, '', shown];
  const state = element('span', { className: 'state' });
  const note = element('span', { className: 'note' });
  const titles = element(page ? 'a' : 'span', { className: 'title' },
    element('span', { className: 'number', textContent: number }), rest);
  if (page) titles.href = page.address;
  const byKind = new Map();
  for (const output of pages) if (!byKind.has(output.kind)) byKind.set(output.kind, output);
  const kinds = element('span', { className: 'kinds' }, ...Object.keys(KINDS).filter((kind) => byKind.has(kind)).map((kind) =>
    element('a', { href: byKind.get(kind).address, textContent: KINDS[kind], className: kind === page?.kind ? 'chosen' : '' })));
  const id = `outputs-${rows.length}`;
  const panel = element('div', { className: 'outputs', id, hidden: true });
  const more = element('button', { type: 'button', className: 'more', title: `${deck.outputs.length} outputs` },
    element('span', { className: 'unseen', textContent: `Outputs of ${shown}` }));
  more.setAttribute('aria-expanded', 'false');
  more.setAttribute('aria-controls', id);
  const row = {
    deck, state, note, panel, more, signature: '',
    link: page ? titles : more,
    words: [deck.title.de, deck.title.en, deck.topic, section, ...deck.sources].join('\n').toLowerCase(),
    element: element('li', { className: 'deck' },
      element('div', { className: 'row' }, state,
        element('span', { className: 'names' }, titles, element('span', { className: 'topic', textContent: deck.topic ?? '' })),
        kinds, note, more),
      panel),
  };
  more.onclick = () => expand(row, panel.hidden);
  if (expanded.has(deck.key)) expand(row, true);
  return row;
}

function expand(row, is) {
  row.panel.hidden = !is;
  row.more.setAttribute('aria-expanded', String(is));
  if (is) expanded.add(row.deck.key);
  else expanded.delete(row.deck.key);
  if (is) drawOutputs(row);
  else row.panel.replaceChildren();
}

/** A table: targets and audiences down, languages and formats across. */
function drawOutputs(row) {
  const { outputs } = row.deck;
  const columns = [];
  for (const lang of Object.keys(LANGUAGES)) {
    for (const name of ['html', 'notebook', 'code']) {
      if (outputs.some((output) => output.lang === lang && output.class === name)) columns.push([lang, name]);
    }
  }
  const lines = new Map();
  for (const output of outputs) {
    const key = `${output.target} ${output.kind}`;
    if (!lines.has(key)) lines.set(key, { target: output.target, kind: output.kind, cells: new Map() });
    lines.get(key).cells.set(`${output.lang} ${output.class}`, output);
  }
  const order = Object.keys(KINDS);
  const sorted = [...lines.values()].sort((one, other) =>
    one.target - other.target || order.indexOf(one.kind) - order.indexOf(other.kind));
  const heading = (text) => Object.assign(element('th', { textContent: text }), { scope: 'col' });
  const head = element('tr', {}, heading('Target'), heading('Audience'),
    ...columns.map(([lang, name]) => heading(`${lang.toUpperCase()} ${CLASSES[name]}`)));
  const body = sorted.map((line) => element('tr', {},
    element('td', { textContent: known.course.targets[line.target].name }),
    element('td', { textContent: KINDS[line.kind] ?? '' }),
    ...columns.map(([lang, name]) => {
      const output = line.cells.get(`${lang} ${name}`);
      if (!output) return element('td', { className: 'none' });
      const state = stateOf(output, known);
      const text = output.made_ms ? age(now() - output.made_ms) : 'not built';
      const link = element('a', { href: output.address, title: `${STATE_TITLES[state]}: ${output.path}` }, mark(state, STATE_TITLES[state]), text);
      if (name === 'notebook') link.download = output.path.split('/').pop();
      return element('td', {}, link);
    })));
  const sources = element('p', { className: 'sources' }, 'Made of ',
    ...[...row.deck.sources].flatMap((source, at) => [at ? ', ' : '', element('code', { textContent: source })]));
  row.panel.replaceChildren(sources, element('div', { className: 'scroll' },
    element('table', {}, element('thead', {}, head), element('tbody', {}, ...body))));
}

/** The other files of a section, folded; what is wrong with them is told in the heading. */
function drawFiles(files) {
  const summary = element('summary');
  const list = element('ul');
  const details = element('details', { className: 'files' }, summary, list);
  const fill = () => {
    if (!details.open) return;
    list.replaceChildren(...files.map(({ output, source }) => {
      const state = stateOf(output, known);
      return element('li', {}, mark(state, STATE_TITLES[state]),
        element('div', {},
          element('a', { href: output.address, textContent: output.path.split('/').pop() }),
          element('span', { className: 'age', textContent: output.made_ms ? age(now() - output.made_ms) : 'not built' }),
          element('code', { textContent: source })));
    }));
  };
  let signature = '';
  const draw = () => {
    const states = files.map(({ output }) => stateOf(output, known));
    const next = `${states} ${files.map(({ output }) => output.made_ms)}`;
    if (next === signature) return;
    signature = next;
    const told = ['failed', 'building', 'missing']
      .map((name) => [states.filter((state) => state === name).length, STATE_TITLES[name].toLowerCase()])
      .filter(([count]) => count > 0)
      .map(([count, title]) => `${count} ${title}`);
    summary.classList.toggle('failed', states.includes('failed'));
    setText(summary, [files.length === 1 ? '1 other file' : `${files.length} other files`, ...told].join(' · '));
    fill();
  };
  details.ontoggle = fill;
  return { element: details, draw };
}

// ---- States -----------------------------------------------------------------------------------------------------

function drawStates() {
  if (!decks) return;
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
  for (const row of rows) {
    summarise(row, bySource, problems);
    for (const name of row.states) if (name in counts) counts[name] += 1;
    const signature = `${row.text} ${row.states} ${row.newest}`;
    if (signature === row.signature) continue;
    row.signature = signature;
    const [state] = row.states;
    row.element.dataset.state = state;
    row.state.replaceChildren(mark(state, STATE_TITLES[state]));
    row.note.className = `note ${row.tone}`;
    setText(row.note, row.text || (row.newest ? age(now() - row.newest) : ''));
    if (!row.panel.hidden) drawOutputs(row);
  }
  for (const block of blocks) block.files?.draw();
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
  const buttons = Object.entries(STATES).filter(([name]) => counts[name] > 0 || choice.state === name);
  const signature = JSON.stringify([counts, choice.state]);
  const place = $('states');
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

function applyFilter() {
  const words = choice.text.toLowerCase().split(/\s+/).filter(Boolean);
  const isFiltered = words.length > 0 || choice.state !== null;
  let found = 0;
  for (const block of blocks) {
    let shown = 0;
    for (const row of block.rows) {
      const matches = words.every((word) => row.words.includes(word))
        && (choice.state === null || row.states.includes(choice.state));
      row.element.hidden = !matches;
      if (matches) shown += 1;
    }
    found += shown;
    block.element.hidden = isFiltered && shown === 0;
    block.element.classList.toggle('filtered', isFiltered);
  }
  const none = $('no-match');
  if (none) none.hidden = !(isFiltered && found === 0);
}

// ---- Keys -------------------------------------------------------------------------------------------------------

const filter = $('filter');
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
  const visible = rows.filter((row) => !row.element.hidden);
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
  for (const row of rows) if (!row.text && row.newest) setText(row.note, age(now() - row.newest));
}, 20000);

connect();
