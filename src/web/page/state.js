// What is known, and what the reader has chosen to see.

export const KINDS = {
  'code-along': 'Code-Along', completed: 'Completed', trainer: 'Trainer', recording: 'Recording', partial: 'Partial',
};
/** How an output or a deck is doing. */
export const STATES = {
  failed: 'Failed', building: 'Being built', fresh: 'Up to date', missing: 'Not built yet', unchecked: 'Not checked yet',
};

/** What the server told, and how far its clock is ahead. */
export const known = { course: null, actions: [], diagnostics: [], run: null, isConnected: true, clock: 0 };

export const choice = {
  lang: stored('clm-lang', (lang) => /^[a-z]{2,3}$/.test(lang)) ?? navigator.language.split('-')[0].toLowerCase(),
  kind: stored('clm-kind', (kind) => kind in KINDS),
  state: null,
  text: '',
};

/** What is shown: rows of decks, and for every section its rows and files. */
export const shown = { decks: null, rows: [], blocks: [] };

/** The server's time. */
export const now = () => Date.now() + known.clock;

export const byId = (id) => document.getElementById(id);

/** The text in a language: where it is missing, the English one, or else the first one. */
export const inLanguage = (texts, lang) => texts[lang] || texts.en || Object.values(texts)[0] || '';

/** What a language calls itself, or its code. */
export function nameOfLanguage(lang) {
  try {
    const name = new Intl.DisplayNames([lang], { type: 'language' }).of(lang);
    return name.charAt(0).toLocaleUpperCase(lang) + name.slice(1);
  } catch {
    return lang.toUpperCase();
  }
}

function stored(name, isAllowed) {
  try {
    const value = localStorage.getItem(name);
    return value !== null && isAllowed(value) ? value : null;
  } catch {
    return null;
  }
}

/** Remembers a choice for the next visit. */
export function store(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch { /* then only for now */ }
}
