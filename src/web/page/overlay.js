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
  /** How many problems are shown whole. */
  const SHOWN = 8;
  const KINDS = {
    'code-along': 'Code-Along', completed: 'Completed', trainer: 'Trainer', recording: 'Recording', partial: 'Partial',
  };

  // ---- Where the reader was ------------------------------------------------------------------------------------

  const PLACE = 'clm-place:';
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

  /** Where the reader is: the cell at the top of the window and its neighbours, and how far from the top they are. */
  function here() {
    const all = anchors().map(({ element, name }) => ({ name, top: element.getBoundingClientRect().top }));
    const below = all.findIndex(({ top }) => top > 1);
    const current = (below < 0 ? all.length : below) - 1;
    const above = all.slice(Math.max(0, current - NEIGHBOURS), current + 1).reverse();
    const next = all.slice(current + 1, current + 1 + NEIGHBOURS);
    return {
      x: scrollX,
      y: scrollY,
      anchors: scrollY > 0 ? [...above, ...next] : [],
      cell: { number: current, of: all.length, top: all[current]?.top ?? 0 },
    };
  }

  function remember(path, place) {
    try {
      sessionStorage.setItem(PLACE + path, JSON.stringify(place));
      return true;
    } catch {
      // Without storage the browser itself keeps the distance from the top.
      return false;
    }
  }

  function reload() {
    if (remember(location.pathname, here())) history.scrollRestoration = 'manual';
    closeStream();
    location.reload();
  }

  function remembered() {
    try {
      const key = PLACE + location.pathname;
      const place = JSON.parse(sessionStorage.getItem(key));
      sessionStorage.removeItem(key);
      return place;
    } catch {
      return null;
    }
  }

  function restore() {
    const place = remembered();
    if (!place) return;
    const apply = () => {
      const all = anchors();
      const there = new Map(all.map(({ element, name }) => [name, element]));
      const known = place.anchors.find(({ name }) => there.has(name));
      const { number, of, top: cellTop } = place.cell;
      // In another language cells have other names, but there are as many of them.
      const same = place.isSibling && number >= 0 && of === all.length ? all[number].element : null;
      const goal = known
        ? there.get(known.name).getBoundingClientRect().top - known.top
        : same && same.getBoundingClientRect().top - cellTop;
      const top = goal === null ? (place.isSibling ? 0 : place.y) : scrollY + goal;
      scrollTo({ left: place.x, top, behavior: 'instant' });
      applied = scrollY;
    };
    let applied = 0;
    apply();
    // Images and formulas that come later must not push the place away, until the reader moves.
    const observer = new ResizeObserver(() => {
      // Whoever scrolled just now is told of it only after this.
      if (Math.abs(scrollY - applied) > 1) release();
      else apply();
    });
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
    // What comes late is counted from the end of loading: a busy machine takes seconds until then.
    if (document.readyState === 'complete') setTimeout(release, HOLD);
    else addEventListener('load', () => setTimeout(release, HOLD), { once: true });
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
  // Nothing is to be seen without its style.
  host.hidden = true;
  const style = element('link', { rel: 'stylesheet', href: '/assets/overlay.css', onload: () => { host.hidden = false; } });
  const line = element('div', { className: 'line', hidden: true });
  const problems = element('section', { className: 'problems', hidden: true });
  problems.setAttribute('role', 'alert');
  problems.setAttribute('aria-label', 'Problems of this page');
  const bar = element('nav', { className: 'bar' });
  bar.setAttribute('aria-label', 'Preview');
  root.append(style, line, problems, bar);
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
    if (!view.is_known) return ['Not made any more', 'away'];
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
      isSmall ? null : element('a', { href: '/', className: 'home', title: view.course, textContent: view.is_of_folder ? '← All pages' : '← Course' }),
      isSmall ? null : element('div', { className: 'where' },
        group('Language', view.languages, (name) => name.toUpperCase()),
        group('Audience', view.kinds, (name) => KINDS[name] ?? name)),
      status,
      problemButton,
      toggle,
    ].filter(Boolean));
    showCurrent();
    if (focused) {
      const again = [...bar.querySelectorAll('a, button')];
      again.find((one) => (one.dataset.name ?? one.className) === focused)?.focus();
    }
  }

  /** Where the bar is too narrow for everything, what the page is can be seen. */
  function showCurrent() {
    for (const link of bar.querySelectorAll('[aria-current]')) {
      const place = link.closest('.where');
      place.scrollLeft = Math.max(place.scrollLeft, link.offsetLeft + link.offsetWidth - place.clientWidth);
    }
  }
  addEventListener('resize', showCurrent);

  function group(label, siblings, name) {
    if (siblings.length < 2) return null;
    const links = siblings.map((sibling) => {
      const link = element('a', { href: sibling.address, textContent: name(sibling.name) });
      link.dataset.name = sibling.name;
      if (sibling.is_current) link.setAttribute('aria-current', 'page');
      link.onclick = (event) => {
        const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
        if (isPlain) remember(sibling.address, { ...here(), isSibling: true });
      };
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
    const heading = hasFailed() ? 'This page could not be built' : errors().length ? 'This page has errors' : 'Notes on this page';
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
      ? element('p', { textContent: 'Something that it needs has failed; the list of all pages tells what.' })
      : null;
    problems.replaceChildren(
      element('header', {}, element('div', {}, element('h2', { textContent: heading }), shown), close),
      ...some(view.diagnostics),
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

  /** The first ones whole, and the rest in a line each when the reader wants to see them. */
  function some(diagnostics) {
    const rest = diagnostics.slice(SHOWN);
    const shown = diagnostics.slice(0, SHOWN).map(problem);
    if (rest.length === 0) return shown;
    const lines = element('ul', { className: 'rest' });
    const more = element('details', {},
      element('summary', { textContent: rest.length === 1 ? '1 more' : `${rest.length} more` }), lines);
    more.ontoggle = () => {
      if (more.open && !lines.hasChildNodes()) {
        lines.append(...rest.map((of) => element('li', { textContent: `${placeOf(of)}: ${of.severity}: ${of.message}` })));
      }
    };
    return [...shown, more];
  }

  function placeOf(of) {
    return [of.file ?? view.source, of.line, of.column].filter(Boolean).join(':');
  }

  function problem(of) {
    const place = placeOf(of);
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
    const isOther = next.epoch !== own.epoch;
    // Another server that does not know the course yet: what is here is better than nothing.
    if (isOther && next.version === null) return;
    view = next;
    if (isOther || (view.version !== null && view.version !== own.version)) return reload();
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
})();
