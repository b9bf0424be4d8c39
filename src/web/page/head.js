// The head of the page: the run that goes on, or the last one.
import { age, duration, elapsed, element, setText } from './elements.js';
import { byId, known, now } from './state.js';

/** Shows the run. */
export function drawRun() {
  const run = known.run;
  const line = byId('run');
  line.className = 'run';
  if (!known.isConnected) {
    line.classList.add('lost');
    setText(line, 'Not connected. The preview goes on when `clm watch` runs again.');
  } else if (!run) {
    setText(line, known.course ? 'Nothing was built so far' : '');
  } else if (run.counts) {
    const { built, written, restored, fresh, removed, failed } = run.counts;
    const parts = [[built, 'built'], [written, 'written'], [restored, 'restored'], [fresh, 'fresh'], [removed, 'removed'], [failed, 'failed']]
      .filter(([count]) => count > 0)
      .map(([count, what]) => `${count} ${what}`);
    const end = run.since_ms + run.duration_ms;
    setText(line, `${parts.join(', ') || 'Nothing to do'} in ${duration(run.duration_ms)} · ${age(now() - end)}`);
  } else {
    line.classList.add('building');
    setText(line, ['Building', `${run.finished} of ${run.actions}`, elapsed(now() - run.since_ms)].filter(Boolean).join(' · '));
  }
  const isRunning = Boolean(run && !run.counts && known.isConnected);
  const bar = byId('progress');
  bar.hidden = !isRunning;
  if (isRunning) {
    const share = run.actions ? Math.min(1, run.finished / run.actions) : 0;
    bar.firstElementChild.style.width = `${100 * share}%`;
    bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
  }
  const steps = isRunning ? known.actions.filter((action) => action?.running && action.kind !== 'deck' && action.kind !== 'copy') : [];
  steps.sort((one, other) => one.running.since_ms - other.running.since_ms);
  const list = byId('running');
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

/** Says the end of a run to those who do not see it. */
export function announce(before, run) {
  if (!run?.counts || (before?.run === run.run && before.counts)) return;
  const parts = [`${run.counts.built} built`];
  if (run.counts.failed) parts.push(`${run.counts.failed} failed`);
  byId('news').textContent = `Build finished: ${parts.join(', ')}`;
}

