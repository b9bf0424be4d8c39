// What is known, and what the reader has chosen to see.

export const KINDS = {
  'code-along': 'Code-Along', completed: 'Completed', trainer: 'Trainer', recording: 'Recording', partial: 'Partial',
};
export const LANGUAGES = { de: 'Deutsch', en: 'English' };
/** How an output or a deck is doing. */
export const STATES = {
  failed: 'Failed', building: 'Being built', fresh: 'Up to date', missing: 'Not built yet', unchecked: 'Not checked yet',
};

/** What the server told, and how far its clock is ahead. */
export const known = { course: null, actions: [], diagnostics: [], run: null, isConnected: true, clock: 0 };

export const choice = {
  lang: stored('clm-lang', Object.keys(LANGUAGES)) ?? (navigator.language.startsWith('de') ? 'de' : 'en'),
  kind: stored('clm-kind', Object.keys(KINDS)),
  state: null,
  text: '',
};

/** What is shown: rows of decks, and for every section its rows and files. */
export const shown = { decks: null, rows: [], blocks: [] };

/** The server's time. */
export const now = () => Date.now() + known.clock;

export const byId = (id) => document.getElementById(id);

function stored(name, allowed) {
  try {
    const value = localStorage.getItem(name);
    return allowed.includes(value) ? value : null;
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
