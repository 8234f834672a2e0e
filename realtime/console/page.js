// Keys and buttons to the console's server, by plain requests: STOP must not wait for anything that draws the page.
(() => {
  const KEYS = {f: 'preflight', a: 'arm', s: 'start', p: 'pause', b: 'abort', r: 'retry', m: 'mark', n: 'note', '-': 'quieter',
    '+': 'louder', '=': 'louder', u: 'mute', e: 'end', k: 'acknowledge', l: 'rearm', g: 'go', y: 'accept', x: 'refuse', d: 'again',
    j: 'skip', o: 'out', i: 'in', q: 'finish', Escape: 'stop'};
  let sure = '', until = 0;
  const say = (text, ms) => {
    const box = document.getElementById('said');
    box.textContent = text; box.style.display = 'block';
    clearTimeout(box.timer); box.timer = setTimeout(() => { box.style.display = 'none'; }, ms || 4000);
  };
  const send = (deed, text) => {
    const stop = deed === 'stop', button = document.getElementById('stop');
    if (stop && button) button.classList.add('sent');
    return fetch(stop ? '/stop' : '/deed', {method: 'POST', headers: {'X-Innerear': 'console', 'Content-Type': 'application/json'},
        body: JSON.stringify({deed, text: text || ''})})
      .then((answer) => answer.json()).then((answer) => say(answer.said))
      .catch(() => say(stop ? 'NOT STOPPED: the console does not answer. Run `innerear stop` in a terminal, or unplug the headphones.'
        : 'The console does not answer: start it again. The session goes on.', 20000))
      .finally(() => { if (stop && button) button.classList.remove('sent'); });
  };
  const ask = (deed) => {
    const box = document.getElementById('words'), field = box.querySelector('input');
    box.dataset.deed = deed;
    field.value = ''; box.showModal(); field.focus();
  };
  const doIt = (deed) => {
    if (deed === 'stop') return send('stop');
    const button = document.querySelector(`[data-deed="${deed}"]`);
    if (!button || button.disabled) return undefined;
    if (deed === 'note') return ask(deed);
    if ('twice' in button.dataset && !(sure === deed && Date.now() < until)) {
      sure = deed; until = Date.now() + 3000;
      return say(`Once more within 3 s: ${button.textContent.trim().slice(1)}`, 3000);
    }
    sure = '';
    return send(deed);
  };
  window.addEventListener('keydown', (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    const deed = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (deed === 'stop') { event.preventDefault(); document.getElementById('words').close(); send('stop'); return; }
    if (event.target.tagName === 'INPUT' || !deed) return;
    event.preventDefault();
    doIt(deed);
  }, true);
  window.addEventListener('pointerdown', (event) => {
    const button = event.target.closest && event.target.closest('[data-deed]');
    if (button && button.dataset.deed) { event.preventDefault(); doIt(button.dataset.deed); }
  }, true);
  window.addEventListener('submit', (event) => {
    const box = event.target.closest('#words');
    if (!box) return;
    event.preventDefault(); box.close(); send(box.dataset.deed, box.querySelector('input').value);
  }, true);
})();
