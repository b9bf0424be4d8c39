// Text with ANSI colours as elements. Nothing of the text is ever read as HTML.

const NAMES = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];
// Escape sequences: colours, other commands for terminals, and titles.
const SEQUENCE = /\x1b\[([0-9;:]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]/g;

/** A fragment that shows `text`; colours are classes such as `ansi-red`. */
export function ansi(text) {
  const fragment = document.createDocumentFragment();
  const style = {};
  let end = 0;
  const add = (part) => {
    if (!part) return;
    const classes = [
      style.colour && `ansi-${style.colour}`,
      style.bold && 'ansi-bold',
      style.faint && 'ansi-faint',
      style.italic && 'ansi-italic',
      style.underline && 'ansi-underline',
    ].filter(Boolean);
    if (classes.length === 0 && !style.rgb) {
      fragment.append(part);
      return;
    }
    const span = document.createElement('span');
    span.className = classes.join(' ');
    if (style.rgb) span.style.color = style.rgb;
    span.textContent = part;
    fragment.append(span);
  };
  for (const match of text.matchAll(SEQUENCE)) {
    add(text.slice(end, match.index));
    end = match.index + match[0].length;
    if (match[1] !== undefined) change(style, match[1]);
  }
  add(text.slice(end));
  return fragment;
}

function change(style, codes) {
  const numbers = codes.split(/[;:]/).map(Number);
  for (let at = 0; at < numbers.length; at += 1) {
    const code = numbers[at];
    if (code === 0) for (const key of Object.keys(style)) delete style[key];
    else if (code === 1) style.bold = true;
    else if (code === 2) style.faint = true;
    else if (code === 3) style.italic = true;
    else if (code === 4) style.underline = true;
    else if (code === 22) style.bold = style.faint = false;
    else if (code === 23) style.italic = false;
    else if (code === 24) style.underline = false;
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
      style.colour = NAMES[code % 10];
      style.rgb = undefined;
    } else if (code === 38 || code === 48) {
      const [colour, used] = extended(numbers.slice(at + 1));
      at += used;
      // A background would make text of our own colours unreadable.
      if (code === 38) Object.assign(style, colour);
    } else if (code === 39) style.colour = style.rgb = undefined;
  }
}

/** A colour of 256 or of 16 million, and how many numbers it takes. */
function extended(numbers) {
  if (numbers[0] === 2) return [{ colour: undefined, rgb: `rgb(${numbers.slice(1, 4).map((n) => n & 255).join(',')})` }, 4];
  if (numbers[0] !== 5) return [{}, 0];
  const number = numbers[1];
  if (number < 16) return [{ colour: NAMES[number % 8], rgb: undefined }, 2];
  if (number > 231) {
    const grey = 8 + (number - 232) * 10;
    return [{ colour: grey < 140 ? 'white' : undefined, rgb: undefined }, 2];
  }
  // Of the 216 colours of the cube, the nearest of the eight that suit both light and dark pages.
  const cube = number - 16;
  const [red, green, blue] = [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6];
  const most = Math.max(red, green, blue);
  const bits = (red * 2 > most ? 1 : 0) + (green * 2 > most ? 2 : 0) + (blue * 2 > most ? 4 : 0);
  return [{ colour: bits === 7 || most === 0 ? undefined : NAMES[bits], rgb: undefined }, 2];
}
