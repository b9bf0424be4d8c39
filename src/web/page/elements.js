// Elements and short texts.

/** An element with properties and children; children that are null are left out. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const SVG = 'http://www.w3.org/2000/svg';

/** The mark of a state, with its name for those who do not see it. */
export function mark(state, title) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', `mark ${state}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', title);
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#mark-${state}`);
  const name = document.createElementNS(SVG, 'title');
  name.textContent = title;
  svg.append(name, use);
  return svg;
}

/** Sets a text only when it is another one, so that nothing moves without need. */
export function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/** `340 ms`, `1.2 s`, `3 min 4 s`. */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 120000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60000)} min ${Math.floor((ms % 60000) / 1000)} s`;
}

/** `12 s`, `3 min`: for what is not over yet; nothing for the first second. */
export function elapsed(ms) {
  if (ms < 1000) return '';
  return ms < 120000 ? `${Math.floor(ms / 1000)} s` : `${Math.floor(ms / 60000)} min`;
}

/** `just now`, `4 min ago`. */
export function age(ms) {
  const steps = [[60, 's'], [60, 'min'], [24, 'h'], [Infinity, 'd']];
  let value = Math.max(0, ms / 1000);
  if (value < 5) return 'just now';
  for (const [size, unit] of steps) {
    if (value < size) return `${Math.floor(value)} ${unit} ago`;
    value /= size;
  }
  return '';
}
