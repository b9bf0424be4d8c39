// The course: its sections, their decks, and what is made of them.
import { CLASSES, decksOf, stateOf } from './decks.js';
import { age, element, mark, setText } from './elements.js';
import { KINDS, STATES, byId, choice, inLanguage, known, nameOfLanguage, now, shown, store } from './state.js';
import { drawStates } from './states.js';

/** Keys of decks whose outputs are shown. */
const expanded = new Set();

/** Shows the course anew. */
export function drawCourse() {
  const focused = shown.rows.find((row) => row.element.contains(document.activeElement))?.deck.key;
  shown.decks = decksOf(known.course);
  drawChoices();
  const title = inLanguage(known.course.title, choice.lang);
  document.title = title;
  setText(byId('title'), title);
  shown.rows = [];
  shown.blocks = shown.decks.sections.map(drawSection).filter(Boolean);
  const { isFolder } = shown.decks;
  const filterLabel = isFolder ? 'Filter pages and pictures' : 'Filter decks';
  byId('filter').placeholder = filterLabel;
  setText(byId('filter-label'), filterLabel);
  const list = shown.blocks.map((block) => block.element);
  byId('course').replaceChildren(...(list.length ? list : [element('p', { className: 'empty', textContent: isFolder ? 'There are no notebooks and no diagrams here yet.' : 'This course has no outputs yet.' })]),
    element('p', { className: 'empty', id: 'no-match', hidden: true, textContent: isFolder ? 'Nothing matches the filter.' : 'No deck matches the filter.' }));
  shown.rows.find((row) => row.deck.key === focused)?.link.focus({ preventScroll: true });
}

function drawSection(section) {
  const made = section.decks.filter((deck) => deck.outputs.some((output) => output.lang === choice.lang));
  if (made.length === 0 && section.files.length === 0) return null;
  const { isFolder } = shown.decks;
  const name = section.name ? inLanguage(section.name, choice.lang) : isFolder ? '' : 'Other files';
  const list = element('ul', { className: 'decks' });
  const own = made.map((deck) => {
    const row = drawRow(deck, name);
    list.append(row.element);
    shown.rows.push(row);
    return row;
  });
  const files = section.files.filter((file) => file.output.lang === choice.lang);
  const other = files.length ? drawFiles(files) : null;
  return {
    rows: own,
    files: other,
    element: element('section', { className: 'section' },
      name ? element('h2', {}, element('span', { textContent: name })) : null,
      list,
      other?.element),
  };
}

function drawRow(deck, section) {
  const { isFolder } = shown.decks;
  const isPage = (output) => output.class === 'html' || deck.isPicture;
  const pages = deck.outputs.filter((output) => isPage(output) && output.lang === choice.lang);
  const page = pages.find((output) => output.kind === choice.kind) ?? pages[0];
  const title = inLanguage(deck.title, choice.lang);
  const [, number, rest] = (isFolder ? null : title.match(/^(\d+)\s+(.*)$/)) ?? [null, '', title];
  const state = element('span', { className: 'state' });
  const note = element('span', { className: 'note' });
  const titles = element(page ? 'a' : 'span', { className: 'title' },
    isFolder ? null : element('span', { className: 'number', textContent: number }), rest);
  if (page) titles.href = page.address;
  const byKind = new Map();
  for (const output of pages) if (!byKind.has(output.kind)) byKind.set(output.kind, output);
  const ofKinds = isFolder ? [] : Object.keys(KINDS).filter((kind) => byKind.has(kind));
  const kinds = element('span', { className: 'kinds' }, ...ofKinds.map((kind) =>
    element('a', { href: byKind.get(kind).address, textContent: KINDS[kind], className: kind === page?.kind ? 'chosen' : '' })));
  const id = `outputs-${shown.rows.length}`;
  const panel = element('div', { className: 'outputs', id, hidden: true });
  const more = element('button', { type: 'button', className: 'more', title: `${deck.outputs.length} outputs` },
    element('span', { className: 'unseen', textContent: `Outputs of ${title}` }));
  more.setAttribute('aria-expanded', 'false');
  more.setAttribute('aria-controls', id);
  const row = {
    deck, state, note, panel, more, signature: '',
    link: page ? titles : more,
    words: [...Object.values(deck.title), deck.topic, section, ...deck.sources].join('\n').toLowerCase(),
    element: element('li', { className: 'deck' },
      element('div', { className: 'row' }, state,
        element('span', { className: 'names' }, titles, element('span', { className: 'topic', textContent: isFolder ? fileOf(deck) : deck.topic ?? '' })),
        kinds, note, more),
      panel),
  };
  more.onclick = () => expand(row, panel.hidden);
  if (expanded.has(deck.key)) expand(row, true);
  return row;
}

/** The name of what is shown in a folder: that of a page's source, or of a picture. */
function fileOf(deck) {
  const [source] = deck.sources;
  return (deck.isPicture ? deck.outputs[0].path : source).split('/').pop();
}

/** Shows or hides the outputs of a deck. */
export function expand(row, is) {
  row.panel.hidden = !is;
  row.more.setAttribute('aria-expanded', String(is));
  if (is) expanded.add(row.deck.key);
  else expanded.delete(row.deck.key);
  if (is) drawOutputs(row);
  else row.panel.replaceChildren();
}

/** A table: targets and audiences down, languages and formats across. */
export function drawOutputs(row) {
  const { outputs } = row.deck;
  const sources = element('p', { className: 'sources' }, 'Made of ',
    ...[...row.deck.sources].flatMap((source, at) => [at ? ', ' : '', element('code', { textContent: source })]));
  if (shown.decks.isFolder) {
    const list = outputs.map((output) => element('li', {}, drawOutput(output), element('code', { textContent: output.path })));
    row.panel.replaceChildren(row.deck.outputs[0].topic ? sources : '', element('ul', { className: 'made' }, ...list));
    return;
  }
  const columns = [];
  for (const lang of shown.decks.languages) {
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
      return element('td', {}, drawOutput(output));
    })));
  row.panel.replaceChildren(sources, element('div', { className: 'scroll' },
    element('table', {}, element('thead', {}, head), element('tbody', {}, ...body))));
}

function drawOutput(output) {
  const state = stateOf(output, known);
  const text = output.made_ms ? age(now() - output.made_ms) : 'not built';
  const link = element('a', { href: output.address, title: `${STATES[state]}: ${output.path}` }, mark(state, STATES[state]), text);
  if (output.class === 'notebook') link.download = output.path.split('/').pop();
  return link;
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
      return element('li', {}, mark(state, STATES[state]),
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
      .map((name) => [states.filter((state) => state === name).length, STATES[name].toLowerCase()])
      .filter(([count]) => count > 0)
      .map(([count, title]) => `${count} ${title}`);
    summary.classList.toggle('failed', states.includes('failed'));
    setText(summary, [files.length === 1 ? '1 other file' : `${files.length} other files`, ...told].join(' · '));
    fill();
  };
  details.ontoggle = fill;
  return { element: details, draw };
}

// ---- What the reader chooses ------------------------------------------------------------------------------------

function drawChoice(place, names, current, choose) {
  place.replaceChildren(...Object.entries(names).map(([name, label]) => {
    const button = element('button', { type: 'button', textContent: label, onclick: () => choose(name) });
    button.setAttribute('aria-pressed', String(name === current));
    return button;
  }));
  place.hidden = Object.keys(names).length < 2;
}

function drawChoices() {
  const { languages, kinds } = shown.decks;
  const pick = (all, some) => Object.fromEntries(Object.entries(all).filter(([name]) => some.has(name)));
  if (!languages.includes(choice.lang) && languages.length > 0) choice.lang = languages.includes('en') ? 'en' : languages[0];
  if (!kinds.has(choice.kind)) choice.kind = ['completed', 'trainer', ...kinds].find((kind) => kinds.has(kind)) ?? null;
  const named = Object.fromEntries(languages.map((lang) => [lang, nameOfLanguage(lang)]));
  drawChoice(byId('languages'), named, choice.lang, (lang) => {
    store('clm-lang', lang);
    choice.lang = lang;
    drawAgain('languages');
  });
  drawChoice(byId('kinds'), pick(KINDS, kinds), choice.kind, (kind) => {
    store('clm-kind', kind);
    choice.kind = kind;
    drawAgain('kinds');
  });
}

function drawAgain(focused) {
  drawCourse();
  drawStates();
  byId(focused).querySelector('[aria-pressed="true"]')?.focus();
}
