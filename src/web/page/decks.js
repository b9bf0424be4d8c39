// The outputs of a course as people think of them: sections, and in them decks and other files. In a folder without
// course, sections are directories, and pictures are told like pages.
import { inLanguage } from './state.js';

/** What people call the formats. */
export const CLASSES = { html: 'page', notebook: 'notebook', code: 'script' };

/** Sections with their decks and files, and the languages (in their order) and audiences that there are. */
export function decksOf(course) {
  const all = new Set(course.outputs.map((output) => output.lang));
  const sections = course.sections.map((section) => ({ name: section.name, decks: [], files: [] }));
  const rest = { name: null, decks: [], files: [] };
  const known = new Map();
  const files = new Set();
  const languages = new Set();
  const kinds = new Set();
  for (const output of course.outputs) {
    const place = sections[output.section] ?? rest;
    const source = course.sources[output.source];
    output.address = addressOf(course.targets[output.target].name, output.path);
    const isPicture = course.titles && output.class === 'image';
    if (!(output.class in CLASSES) && !isPicture) {
      // The same file goes to many places: one of each language is enough to look at it.
      const key = `${output.section} ${output.lang} ${source}`;
      if (!files.has(key)) place.files.push({ output, source });
      files.add(key);
      continue;
    }
    languages.add(output.lang);
    if (output.kind) kinds.add(output.kind);
    // Each picture of a drawing is one of its own.
    const key = isPicture ? `picture ${output.path}` : `${output.section} ${output.topic} ${familyOf(source, all)}`;
    let deck = known.get(key);
    if (!deck) {
      deck = { key, topic: output.topic, outputs: [], sources: new Set(), title: {} };
      known.set(key, deck);
      place.decks.push(deck);
    }
    deck.outputs.push(output);
    deck.sources.add(source);
    deck.title[output.lang] ??= (isPicture ? null : course.titles?.[source]) ?? nameOf(output.path);
    deck.isPicture = Boolean(isPicture);
  }
  if (course.titles) {
    for (const section of sections) section.decks.sort(orderIn(course));
    return { sections: [...sections, rest], languages: [...languages].sort(), kinds: new Set(), isFolder: true };
  }
  const number = (deck) => inLanguage(deck.title, 'en');
  for (const section of sections) {
    section.decks.sort((one, other) => number(one).localeCompare(number(other), 'en', { numeric: true }));
  }
  return { sections: [...sections, rest], languages: [...languages].sort(), kinds };
}

/** How an output is doing: `failed`, `building`, `missing`, `unchecked` or `fresh`. */
export function stateOf(output, { actions }) {
  const action = output.action === null ? null : actions[output.action];
  if (action?.running) return 'building';
  if (action?.status === 'failed') return 'failed';
  if (!output.made_ms) return 'missing';
  return action?.status ? 'fresh' : 'unchecked';
}

/** Pages by their sources, then pictures; the page that lists all others comes first. */
function orderIn(course) {
  const rank = ({ isPicture, outputs: [output], sources }) => {
    if (isPicture) return [2, output.path];
    const [source] = sources;
    const isMade = source === output.path && output.topic === undefined;
    return [isMade ? 0 : 1, source];
  };
  return (one, other) => {
    const [[a, first], [b, second]] = [rank(one), rank(other)];
    return a - b || first.localeCompare(second, 'en', { numeric: true });
  };
}

/** The source without the mark of its language: the halves of a deck are one. */
function familyOf(source, languages) {
  return source.replace(/\.([a-z]{2,3})(\.[^./]+)$/, (end, mark, extension) =>
    mark === 'de' || mark === 'en' || languages.has(mark) ? extension : end);
}

function nameOf(path) {
  return path.split('/').pop().replace(/\.[^.]+$/, '');
}

function addressOf(target, path) {
  return `/out/${[target, ...path.split('/')].map(encodeURIComponent).join('/')}`;
}
