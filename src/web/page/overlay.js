// In the page of a deck: shows a new version as soon as there is one, and what is wrong with the deck.
(() => {
  'use strict';
  const script = document.currentScript;
  if (!script || window.top !== window) return;
  const own = {
    version: script.dataset.version,
    change: Number(script.dataset.change),
    epoch: Number(script.dataset.epoch),
  };
  const KINDS = {
    'code-along': 'Code-Along', completed: 'Completed', trainer: 'Trainer', recording: 'Recording', partial: 'Partial',
  };

  // ---- Where the reader was ------------------------------------------------------------------------------------

  const PLACE = `clm-place:${location.pathname}`;
  const ANCHORS = '.cell[id], .jp-Cell[id], [id^="cell-id="], main h1[id], main h2[id], main h3[id]';
  /** How many cells above and below are remembered: those that were edited have other names afterwards. */
  const NEIGHBOURS = 12;
  /** How long what loads late (images, formulas) may not move the reader, in milliseconds. */
  const HOLD = 4000;

  function anchors() {
    const seen = new Map();
    return [...document.querySelectorAll(ANCHORS)].map((element) => {
      const nth = seen.get(element.id) ?? 0;
      seen.set(element.id, nth + 1);
      return { element, name: `${nth} ${element.id}` };
    });
  }

  function reload() {
    const all = anchors().map(({ element, name }) => ({ name, top: element.getBoundingClientRect().top }));
    const below = all.findIndex(({ top }) => top > 1);
    const current = (below < 0 ? all.length : below) - 1;
    const above = all.slice(Math.max(0, current - NEIGHBOURS), current + 1).reverse();
    const next = all.slice(current + 1, current + 1 + NEIGHBOURS);
    const place = { x: scrollX, y: scrollY, anchors: scrollY > 0 ? [...above, ...next] : [] };
    try {
      sessionStorage.setItem(PLACE, JSON.stringify(place));
      history.scrollRestoration = 'manual';
    } catch { /* without storage the browser itself keeps the distance from the top */ }
    closeStream();
    location.reload();
  }

  function restore() {
    let place = null;
    try {
      place = JSON.parse(sessionStorage.getItem(PLACE));
      sessionStorage.removeItem(PLACE);
    } catch { /* nothing was remembered */ }
    if (!place) return;
    const apply = () => {
      const there = new Map(anchors().map(({ element, name }) => [name, element]));
      const known = place.anchors.find(({ name }) => there.has(name));
      const top = known
        ? scrollY + there.get(known.name).getBoundingClientRect().top - known.top
        : place.y;
      scrollTo({ left: place.x, top, behavior: 'instant' });
      applied = scrollY;
    };
    let applied = 0;
    apply();
    // Images and formulas that come later must not push the place away, until the reader moves.
    const observer = new ResizeObserver(apply);
    observer.observe(document.body);
    const moves = ['wheel', 'touchstart', 'pointerdown', 'keydown'];
    const release = () => {
      observer.disconnect();
      for (const move of moves) removeEventListener(move, release, true);
      removeEventListener('scroll', scrolled);
      history.scrollRestoration = 'auto';
    };
    const scrolled = () => {
      if (Math.abs(scrollY - applied) > 1) release();
    };
    for (const move of moves) addEventListener(move, release, true);
    addEventListener('scroll', scrolled);
    setTimeout(release, HOLD);
  }

  restore();

  // ---- What is shown -------------------------------------------------------------------------------------------

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };

  const host = document.createElement('clm-preview');
  const root = host.attachShadow({ mode: 'open' });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE());
  root.adoptedStyleSheets = [sheet];
  const line = element('div', { className: 'line', hidden: true });
  const problems = element('section', { className: 'problems', hidden: true });
  problems.setAttribute('role', 'alert');
  problems.setAttribute('aria-label', 'Problems of this deck');
  const bar = element('nav', { className: 'bar' });
  bar.setAttribute('aria-label', 'Preview');
  root.append(line, problems, bar);
  document.documentElement.append(host);

  const title = document.title;
  let view = null;
  let isConnected = true;
  /** The problems that the reader has put away. */
  let dismissed = '';
  let isOpen = false;
  let isSmall = stored('clm-bar') === 'small';
  let ansi = (text) => document.createTextNode(text.replace(/\x1b\[[0-9;:]*[A-Za-z]/g, ''));
  import('./ansi.js').then((module) => {
    ansi = module.ansi;
    draw();
  }, () => { /* colours are not needed to read it */ });

  function stored(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  }

  const errors = () => view.diagnostics.filter((problem) => problem.severity === 'error');
  const signature = () => JSON.stringify(view.diagnostics);
  const hasFailed = () => view.status === 'failed' || (view.status === null && errors().length > 0);

  function draw() {
    if (!view) return;
    drawLine();
    drawBar();
    drawProblems();
    document.title = hasFailed() ? `✕ ${title}` : title;
  }

  function running() {
    const order = ['execute', 'html'];
    const rank = (step) => (order.includes(step.kind) ? order.indexOf(step.kind) : order.length);
    return [...view.running].sort((one, other) => rank(one) - rank(other))[0];
  }

  function drawLine() {
    const step = running();
    line.hidden = !step;
    if (!step) return;
    line.classList.toggle('unknown', !step.total);
    line.style.setProperty('--done', step.total ? `${(100 * step.done) / step.total}%` : '0%');
  }

  function said() {
    if (!isConnected) return ['Not connected', 'away'];
    const step = running();
    if (step) {
      const verb = { execute: 'Running', html: 'Rendering' }[step.kind] ?? 'Building';
      const label = step.label ? `${verb} ${step.label}` : `${verb}…`;
      return [step.total > 1 ? `${label} · ${step.done} of ${step.total}` : label, 'building'];
    }
    if (!view.is_known) return ['Not in the course', 'away'];
    if (view.version === null) return ['Not built yet', 'away'];
    return ['', ''];
  }

  function drawBar() {
    const [text, state] = said();
    const status = element('span', { className: `status ${state}`, textContent: text, hidden: !text });
    status.setAttribute('role', 'status');
    const count = view.diagnostics.length;
    const isBad = errors().length > 0;
    const problemButton = count === 0 ? null : element('button', {
      type: 'button',
      className: isBad ? 'chip error' : 'chip warning',
      textContent: count === 1 ? (isBad ? '1 error' : '1 note') : `${count} problems`,
      onclick: () => {
        isOpen = !isOpen;
        dismissed = isOpen ? '' : signature();
        draw();
      },
    });
    problemButton?.setAttribute('aria-expanded', String(isOpen));
    const toggle = element('button', {
      type: 'button',
      className: 'toggle',
      title: isSmall ? 'Show the bar' : 'Make the bar small',
      textContent: isSmall ? '‹' : '›',
      onclick: () => {
        isSmall = !isSmall;
        try {
          localStorage.setItem('clm-bar', isSmall ? 'small' : 'large');
        } catch { /* then only for now */ }
        draw();
        root.querySelector('.toggle').focus();
      },
    });
    toggle.setAttribute('aria-label', toggle.title);
    const focused = root.activeElement?.dataset.name ?? root.activeElement?.className;
    bar.classList.toggle('small', isSmall);
    bar.replaceChildren(...[
      isSmall ? null : element('a', { href: '/', className: 'home', title: view.course, textContent: '← Course' }),
      isSmall ? null : element('div', { className: 'where' },
        group('Language', view.languages, (name) => name.toUpperCase()),
        group('Audience', view.kinds, (name) => KINDS[name] ?? name)),
      status,
      problemButton,
      toggle,
    ].filter(Boolean));
    bar.querySelectorAll('[aria-current]').forEach((link) => {
      const place = link.closest('.where');
      place.scrollLeft = Math.max(place.scrollLeft, link.offsetLeft + link.offsetWidth - place.clientWidth);
    });
    if (focused) {
      const again = [...bar.querySelectorAll('a, button')];
      again.find((one) => (one.dataset.name ?? one.className) === focused)?.focus();
    }
  }

  function group(label, siblings, name) {
    if (siblings.length < 2) return null;
    const links = siblings.map((sibling) => {
      const link = element('a', { href: sibling.address, textContent: name(sibling.name) });
      link.dataset.name = sibling.name;
      if (sibling.is_current) link.setAttribute('aria-current', 'page');
      // The place in the deck is about the same for another audience.
      return link;
    });
    const made = element('span', { className: 'group' }, ...links);
    made.setAttribute('role', 'group');
    made.setAttribute('aria-label', label);
    return made;
  }

  function drawProblems() {
    const isNew = hasFailed() && signature() !== dismissed;
    if (view.diagnostics.length === 0) isOpen = false;
    if (isNew) isOpen = true;
    problems.hidden = !isOpen;
    if (!isOpen) {
      problems.replaceChildren();
      drawn = '';
      return;
    }
    const next = `${signature()} ${hasFailed()} ${ansi.name}`;
    if (next === drawn) return;
    drawn = next;
    const heading = hasFailed() ? 'This page could not be built' : errors().length ? 'This deck has errors' : 'Notes on this deck';
    const close = element('button', {
      type: 'button',
      className: 'close',
      title: 'Close (Esc)',
      textContent: '✕',
      onclick: dismiss,
    });
    close.setAttribute('aria-label', 'Close');
    const shown = view.version && hasFailed() ? element('p', { className: 'old', textContent: 'You see its last good version.' }) : null;
    const nothing = view.diagnostics.length === 0
      ? element('p', { textContent: 'Something that it needs has failed; the course page tells what.' })
      : null;
    problems.replaceChildren(
      element('header', {}, element('div', {}, element('h2', { textContent: heading }), shown), close),
      ...view.diagnostics.map(problem),
      nothing ?? '',
    );
    drawBar();
  }
  let drawn = '';

  function dismiss() {
    dismissed = signature();
    isOpen = false;
    draw();
  }

  function problem(of) {
    const place = [of.file ?? view.source, of.line, of.column].filter(Boolean).join(':');
    return element('article', { className: of.severity },
      element('p', { className: 'place' },
        element('span', { className: 'severity', textContent: of.severity }),
        element('code', { textContent: place }),
        of.cell ? element('span', { className: 'cell', textContent: `cell ${of.cell}` }) : null),
      element('p', { className: 'message' }, ansi(of.message)),
      of.detail ? element('pre', { tabIndex: 0 }, ansi(of.detail)) : null,
      of.hint ? element('p', { className: 'hint' }, element('b', { textContent: 'Hint ' }), of.hint) : null);
  }

  addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && isOpen) dismiss();
  });

  // ---- What has changed ----------------------------------------------------------------------------------------

  const shownAssets = new Map();

  function showAssets() {
    const plain = (address) => {
      try {
        return decodeURIComponent(new URL(address, location.href).pathname);
      } catch {
        return '';
      }
    };
    for (const [address, change] of Object.entries(view.assets)) {
      if (change <= (shownAssets.get(address) ?? own.change)) continue;
      shownAssets.set(address, change);
      const path = plain(address);
      const uses = (selector, name) =>
        [...document.querySelectorAll(selector)].filter((one) => one[name] && plain(one[name]) === path);
      // An image is exchanged in its place; whatever else the page has loaded needs all of it again.
      for (const image of uses('img', 'src')) image.src = `${address}?change=${change}`;
      const other = [...uses('script, iframe, audio, video, source, embed', 'src'), ...uses('link[rel~="stylesheet"]', 'href'), ...uses('object', 'data')];
      if (other.length > 0) return reload();
    }
  }

  function update(next) {
    view = next;
    const isNewer = view.version !== null && view.version !== own.version;
    if (isNewer || view.epoch !== own.epoch) return reload();
    showAssets();
    draw();
  }

  // ---- The stream ----------------------------------------------------------------------------------------------

  let stream = null;
  let closing = 0;
  let trying = 0;

  function openStream() {
    clearTimeout(closing);
    clearTimeout(trying);
    if (stream) return;
    const page = encodeURIComponent(location.pathname);
    stream = new EventSource(`/events?page=${page}&since=${own.change}`);
    stream.onopen = () => setConnected(true);
    stream.onmessage = (event) => update(JSON.parse(event.data));
    stream.onerror = () => {
      setConnected(false);
      if (stream?.readyState !== EventSource.CLOSED) return;
      closeStream();
      trying = setTimeout(openStream, 2000);
    };
  }

  function closeStream() {
    stream?.close();
    stream = null;
  }

  function setConnected(is) {
    if (isConnected === is) return;
    isConnected = is;
    draw();
  }

  // Browsers allow six connections to a server: pages that nobody sees give theirs back.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) closing = setTimeout(closeStream, 1500);
    else openStream();
  });
  addEventListener('pagehide', closeStream);
  addEventListener('pageshow', (event) => {
    if (event.persisted) openStream();
  });
  if (!document.hidden) openStream();

  function STYLE() {
    return `
:host { all: initial; }
:host, * { box-sizing: border-box; }
[hidden] { display: none !important; }
.bar, .problems {
  --paper: #fffefb; --ink: #1d2228; --soft: #565f69; --edge: #d9d5cb; --fill: #f1eee7;
  --link: #1b5a94; --bad: #b02a1f; --bad-fill: #fdf0ee; --warn: #855600; --code: #f6f4ee;
  --red: #b02a1f; --green: #23703f; --yellow: #855600; --blue: #1b5a94; --magenta: #8b3a8f; --cyan: #0f6b75;
  position: fixed; z-index: 2147483646; color: var(--ink);
  font: 13px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", sans-serif;
  background: var(--paper); border: 1px solid var(--edge);
  box-shadow: 0 1px 2px rgb(0 0 0 / .08), 0 6px 24px rgb(0 0 0 / .14);
}
@media (prefers-color-scheme: dark) {
  .bar, .problems {
    --paper: #1d2127; --ink: #e7e9ec; --soft: #a8b1bb; --edge: #39414a; --fill: #2a3038;
    --link: #8abdec; --bad: #ff958b; --bad-fill: #33211f; --warn: #e9bb6d; --code: #15181c;
    --red: #ff958b; --green: #86cc9c; --yellow: #e9bb6d; --blue: #8abdec; --magenta: #d79be0; --cyan: #7fd0d6;
  }
}
.line { position: fixed; z-index: 2147483647; inset: 0 0 auto 0; height: 3px; overflow: hidden; background: rgb(27 90 148 / .15); }
.line::after { content: ""; position: absolute; inset: 0 auto 0 0; width: var(--done); background: #2f7cc0; transition: width .2s; }
.line.unknown::after { width: 30%; animation: slide 1.2s ease-in-out infinite; }
@keyframes slide { from { left: -30%; } to { left: 100%; } }
.bar {
  right: 12px; bottom: 12px; display: flex; align-items: center; gap: 4px; padding: 4px;
  border-radius: 10px; max-width: calc(100vw - 24px); white-space: nowrap;
}
.where { position: relative; display: flex; min-width: 0; gap: 4px; overflow-x: auto; scrollbar-width: none; }
a, button {
  font: inherit; color: var(--ink); background: none; border: 0; border-radius: 6px; padding: 4px 8px; margin: 0;
  text-decoration: none; cursor: pointer; flex: none;
}
a:hover, button:hover { background: var(--fill); }
:focus-visible { outline: 2px solid var(--link); outline-offset: -1px; }
.group { display: flex; flex: none; gap: 1px; padding-left: 5px; margin-left: 1px; border-left: 1px solid var(--edge); }
.group a { color: var(--soft); }
.group a[aria-current] { color: var(--ink); background: var(--fill); font-weight: 600; }
.home { color: var(--link); }
.status { padding: 0 8px; color: var(--soft); font-variant-numeric: tabular-nums; max-width: 45ch; min-width: 5rem; overflow: hidden; text-overflow: ellipsis; }
.status.building::before {
  content: ""; display: inline-block; width: 8px; height: 8px; margin-right: 7px; border-radius: 50%;
  border: 2px solid var(--link); border-right-color: transparent; animation: turn .8s linear infinite;
}
@keyframes turn { to { transform: rotate(1turn); } }
.chip { font-weight: 600; }
.chip.error { color: var(--bad); background: var(--bad-fill); }
.chip.warning { color: var(--warn); }
.toggle { color: var(--soft); padding: 4px 7px; }
.problems {
  left: 50%; transform: translateX(-50%); bottom: 60px; width: min(880px, calc(100vw - 24px)); max-height: min(70vh, 640px);
  overflow: auto; border-radius: 12px; border-top: 3px solid var(--bad); overscroll-behavior: contain;
}
header {
  display: flex; align-items: baseline; gap: 12px; padding: 12px 12px 10px 18px; position: sticky; top: 0;
  background: var(--paper); border-bottom: 1px solid var(--edge);
}
header > div { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 12px; }
h2 { margin: 0; font-size: 15px; font-weight: 650; }
.old { margin: 0; color: var(--soft); }
.close { margin-left: auto; color: var(--soft); }
article { padding: 12px 18px 14px; border-top: 1px solid var(--edge); }
header + article { border-top: 0; }
p { margin: 0; }
.problems > p { padding: 12px 18px; }
.place { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 10px; color: var(--soft); }
.severity { font-weight: 650; color: var(--bad); }
.warning .severity { color: var(--warn); }
.note .severity { color: var(--soft); }
code, pre { font: 12.5px/1.5 ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; }
code { color: var(--ink); overflow-wrap: anywhere; }
.message { margin-top: 3px; font-size: 15px; overflow-wrap: anywhere; white-space: pre-wrap; }
pre { margin: 10px 0 0; padding: 10px 12px; max-height: 320px; overflow: auto; background: var(--code); border-radius: 8px; tab-size: 4; }
.hint { margin-top: 10px; color: var(--soft); white-space: pre-wrap; }
.hint b { color: var(--ink); font-weight: 650; }
.ansi-red { color: var(--red); } .ansi-green { color: var(--green); } .ansi-yellow { color: var(--yellow); }
.ansi-blue { color: var(--blue); } .ansi-magenta { color: var(--magenta); } .ansi-cyan { color: var(--cyan); }
.ansi-black, .ansi-white { color: var(--soft); }
.ansi-bold { font-weight: 700; } .ansi-faint { opacity: .75; } .ansi-italic { font-style: italic; } .ansi-underline { text-decoration: underline; }
@media (max-width: 640px) {
  .status.building { flex: none; min-width: 0; font-size: 0; }
  .status.building::before { margin: 0; }
}
@media (prefers-reduced-motion: reduce) { .line::after, .status::before { animation: none !important; transition: none; } .line.unknown::after { left: 0; width: 100%; } }
@media print { :host { display: none; } }
`;
  }
})();
