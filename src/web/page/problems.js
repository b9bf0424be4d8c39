// What is wrong, with the place to mend it.
import { ansi } from './ansi.js';
import { element, mark } from './elements.js';

/** How many are shown at first. */
const SHOWN = 5;
/** With more than so many others they are shown in a line each. */
const MANY = 50;
const NAMES = { error: 'Error', warning: 'Warning', note: 'Note' };
const order = Object.keys(NAMES);
/** Details that were opened stay open when the list is drawn again. */
const opened = new Set();
let isWarningsOpen = false;

/** Shows diagnostics in `list`; `section` is hidden when there are none. */
export function drawProblems(section, list, diagnostics) {
  section.hidden = diagnostics.length === 0;
  const errors = diagnostics.filter((problem) => problem.severity === 'error');
  const others = diagnostics.filter((problem) => problem.severity !== 'error');
  others.sort((one, other) => order.indexOf(one.severity) - order.indexOf(other.severity));
  section.classList.toggle('mild', errors.length === 0);
  section.querySelector('h2').textContent = errors.length === 1 ? '1 problem' : `${errors.length} problems`;
  list.replaceChildren(...some(errors));
  if (others.length === 0) return;
  const folded = element('details', { className: 'others', open: isWarningsOpen },
    element('summary', { textContent: others.length === 1 ? '1 warning' : `${others.length} warnings` }),
    ...some(others));
  folded.ontoggle = () => { isWarningsOpen = folded.open; };
  list.append(folded);
}

function some(problems) {
  const shown = problems.slice(0, SHOWN).map(drawProblem);
  const rest = problems.slice(SHOWN);
  if (rest.length > 0) {
    const more = element('button', { type: 'button', className: 'all', textContent: `Show ${rest.length} more` });
    more.onclick = () => more.replaceWith(...rest.map(rest.length > MANY ? drawLine : drawProblem));
    shown.push(more);
  }
  return shown;
}

/** A problem in one line, where there are many. */
function drawLine(problem) {
  const place = [problem.file, problem.line, problem.column].filter(Boolean).join(':');
  return element('p', { className: `line ${problem.severity}` }, element('code', { textContent: place }), ' ', ansi(problem.message));
}

function drawProblem(problem) {
  const place = [problem.file, problem.line, problem.column].filter(Boolean).join(':');
  const copy = place ? element('button', {
    type: 'button', className: 'place', title: 'Copy the place', textContent: place,
  }) : null;
  if (copy) {
    copy.onclick = async () => {
      await navigator.clipboard?.writeText(place);
      copy.classList.add('copied');
      setTimeout(() => copy.classList.remove('copied'), 1200);
    };
  }
  return element('article', { className: `problem ${problem.severity}` },
    mark(problem.severity === 'error' ? 'failed' : 'warning', NAMES[problem.severity]),
    element('div', {},
      element('p', { className: 'message' }, ansi(problem.message)),
      element('p', { className: 'where' }, copy,
        problem.cell ? element('span', { textContent: `cell ${problem.cell}` }) : null),
      problem.hint ? element('p', { className: 'hint', textContent: problem.hint }) : null,
      problem.detail ? detail(problem) : null));
}

function detail(problem) {
  const key = JSON.stringify([problem.file, problem.line, problem.message]);
  const text = element('pre', { tabIndex: 0 });
  const details = element('details', {}, element('summary', { textContent: 'Details' }), text);
  const fill = () => {
    if (details.open && !text.hasChildNodes()) text.append(ansi(problem.detail));
    if (details.open) opened.add(key);
    else opened.delete(key);
  };
  details.ontoggle = fill;
  if (opened.has(key)) details.open = true;
  fill();
  return details;
}
