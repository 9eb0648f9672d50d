/* What happens elsewhere. An event is a doorbell; what it means is read from the page itself. The header says how old that is. */
(() => {
  "use strict";
  const { one, approve, check, fragment, on, own, say } = window.desk;
  const address = document.body.dataset.live;
  if (!address) return;
  const STALE = 60, POLL = 10000, GAP = 1500, SLEEP = 30000;
  const open = one("#card[data-id]")?.dataset.id;
  const topics = one("#list") || !open ? "queue" : `proposal:${open}`;
  const newer = one("[data-newer]")?.dataset.newer;

  let source = null, contact = Date.now(), failures = 0, expected = null, seq = 0, tag = "", paused = false;
  let due = 0, at = 0, last = 0, reading = false, everything = false, opened = false;
  const changed = new Set();

  /* -- How old what is shown is ---------------------------------------------------------------------------------------- */
  const age = () => Math.round((Date.now() - contact) / 1000);
  const health = () => {
    const mark = one("#health"), old = age(), stale = old > STALE;
    const isLive = !paused && !failures && !stale;
    const text = stale ? `no contact for ${old} s` : paused ? "paused" : isLive ? "live" : failures > 1 ? `every 10 s (data ${old} s old)` : `reconnecting (data ${old} s old)`;
    if (mark) {
      mark.hidden = false;
      mark.dataset.state = stale ? "stale" : isLive ? "live" : "wait";
      if (mark.textContent !== text) mark.textContent = text;
    }
    const button = approve();
    if (button && button.disabled !== stale && (stale || button.dataset.stale)) {
      button.disabled = stale;
      button.toggleAttribute("data-stale", stale);
    }
  };
  const heard = () => {
    const late = age() > STALE;
    contact = Date.now();
    if (late) ring({ all: true });
    health();
  };

  /* -- Reading again, not more often than every second and a half ------------------------------------------------------ */
  const ring = ({ id, all: whole } = {}) => {
    if (id) changed.add(id);
    everything ||= Boolean(whole);
    if (reading) return;
    // What was decided here has left the list already; only the figures are behind.
    const when = Math.max(Date.now() + 300, last + (own.has(id) ? 2 : 1) * GAP);
    if (due && when >= at) return;
    clearTimeout(due);
    at = when;
    due = setTimeout(read, when - Date.now());
  };
  const read = async () => {
    last = Date.now();
    reading = true;
    const ids = new Set(everything ? [] : changed);
    changed.clear();
    everything = false;
    const done = await check(ids);
    due = 0;
    reading = false;
    if (done) { contact = Date.now(); health(); }
    if (changed.size || everything) ring();
  };
  const banner = async () => {
    const now = one("#stopped"), next = now && await fragment(location.href, "", { "HX-History-Restore-Request": "true" });
    const shown = next && one("#stopped", next);
    if (!shown || shown.textContent === now.textContent) return;
    now.replaceWith(document.importNode(shown, true));
    say(shown.textContent.trim() || "No stop is in force any more.");
  };

  /* -- The stream ------------------------------------------------------------------------------------------------------ */
  const hear = (event) => {
    const { id, n } = JSON.parse(event.data);
    if (event.lastEventId) seq = Number(event.lastEventId);
    if (expected !== null && n !== expected) ring({ all: true });
    expected = n + 1;
    failures = 0;
    heard();
    if (event.type === "proposal") ring({ id });
    else if (event.type === "unknown" || event.type === "resync") ring({ all: event.type === "resync" });
    if (event.type === "halt" || event.type === "resync") { banner(); ring(); }
  };
  const listen = () => {
    source?.close();
    expected = null;
    const stream = source = new EventSource(`${address}?topics=${topics}`);
    stream.onopen = () => { expected = null; if (opened) ring({ all: true }); opened = true; failures = 0; heard(); };
    stream.onerror = () => {
      failures += 1;
      health();
      if (stream.readyState === EventSource.CLOSED) setTimeout(() => { if (stream === source && !paused) listen(); }, Math.min(2000 * 2 ** failures, 60000));
    };
    for (const name of ["hello", "resync", "tick", "proposal", "unknown", "halt", "run"]) stream.addEventListener(name, hear);
  };

  /* -- Without one: ask what is new ------------------------------------------------------------------------------------- */
  const poll = async () => {
    if (paused || failures < 2 || !newer) return;
    const since = seq ? `?since=${seq}` : "";
    const answer = await fetch(`${newer}${since}`, { headers: tag ? { "If-None-Match": tag } : {} }).catch(() => null);
    if (!answer || answer.redirected || (answer.status !== 304 && !answer.ok)) return;
    heard();
    if (answer.status === 304) return;
    tag = answer.headers.get("ETag") || "";
    const news = await answer.json();
    seq = news.more ? 0 : news.newest;
    for (const event of news.events) ring({ id: event.event === "proposal" ? event.id : "" });
    if (news.more || !since) ring({ all: true });
  };
  setInterval(poll, POLL);
  setInterval(health, 1000);

  let sleep = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(sleep);
    if (document.hidden) { sleep = setTimeout(() => { paused = true; source?.close(); health(); }, SLEEP); return; }
    if (paused) { paused = false; listen(); ring({ all: true }); }
  });
  on("afterSettle", health);
  listen();
})();
