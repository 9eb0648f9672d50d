/* Keys, live arrivals and small courtesies. Every page works without this file. */
(() => {
  "use strict";
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const card = () => one("#card[data-id]");
  const approve = () => one("#bar [data-approve]");
  const wide = matchMedia("(min-width: 800px)");
  const GUARD = 250;

  const say = (text) => { const live = one("#live"); if (live) live.textContent = text; };
  const toast = (text, tone = "info") => {
    const box = document.createElement("div");
    box.className = `notice ${tone}`;
    box.setAttribute("role", tone === "error" ? "alert" : "status");
    box.textContent = text;
    one("#toasts").replaceChildren(box);
    setTimeout(() => box.remove(), tone === "error" ? 20000 : 5000);
  };

  /* -- The card: dead until it has been on the screen for a moment ------------------------------------------------ */
  let awake = Infinity;
  const wake = () => {
    awake = performance.now() + GUARD;
    setTimeout(() => card()?.setAttribute("data-live", ""), GUARD);
  };
  const alive = () => card() && performance.now() >= awake && !one("#card .htmx-request, #card.htmx-request");

  let armedAt = 0;
  const disarm = () => { const was = one("[data-armed]"); was?.removeAttribute("data-armed"); return was; };
  const arm = (button) => {
    button.setAttribute("data-armed", "");
    button.focus();
    armedAt = performance.now();
    say("Armed. Press Enter to approve, Escape to stop.");
  };
  const open = (id, wanted = true) => {
    disarm();
    for (const panel of all(".draft")) panel.hidden = !(wanted && panel.id === id);
    for (const button of all("[data-panel]")) button.setAttribute("aria-expanded", String(wanted && button.dataset.panel === id));
    const field = wanted && one(`#${id} :is(select, input:not([type=hidden]), textarea)`);
    (field || one(`[data-panel="${id}"]`))?.focus();
  };

  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    const menu = one(".menu[open]");
    if (menu && !menu.contains(event.target)) menu.open = false;
    if (at("[data-panel]")) {
      event.preventDefault();
      const button = at("[data-panel]");
      open(button.dataset.panel, button.getAttribute("aria-expanded") !== "true");
    } else if (at("[data-close]")) {
      event.preventDefault();
      open(at(".draft").id, false);
    } else if (at("[data-approve]") && card().dataset.band !== "low") {
      const button = at("[data-approve]");
      if (!button.hasAttribute("data-armed")) { event.preventDefault(); arm(button); }
      else if (performance.now() - armedAt < GUARD) event.preventDefault();
    } else if (at("#arrivals")) {
      event.preventDefault();
      show();
    }
  });

  /* -- Keys --------------------------------------------------------------------------------------------------------- */
  const rows = () => all("#list .row > a, .table tbody td:first-child a");
  let opening = 0;
  const step = (by) => {
    const list = rows();
    if (!list.length) return;
    const here = list.findIndex((row) => row === document.activeElement);
    const current = here >= 0 ? here : list.findIndex((row) => row.closest("[aria-current]"));
    const next = list[Math.min(Math.max(current + by, 0), list.length - 1)];
    next.focus();
    clearTimeout(opening);
    if (wide.matches && next.hasAttribute("hx-get")) opening = setTimeout(() => next.click(), 120);
  };

  let leader = false;
  const go = (letter) => all(".rail a").find((link) => link.textContent.trim().toLowerCase().startsWith(letter))?.click();
  const keys = {
    j: () => step(1),
    k: () => step(-1),
    o: () => document.activeElement.closest?.(".row > a")?.click(),
    ".": () => show(),
    "?": () => one("#keys")?.showModal(),
    "/": () => {
      const field = one(".filters select, .filters input"), fold = field?.closest("details");
      if (fold) fold.open = true;
      field?.focus();
    },
    y: () => card() && navigator.clipboard?.writeText(new URL(card().dataset.url, location.href).href).then(() => toast("Link copied.")),
  };
  const decisions = {
    a: () => {
      const button = approve();
      if (button && !button.disabled && !button.hasAttribute("data-armed")) button.click();
      else if (!button && one("#approve.draft")) open("approve");
    },
    z: () => one("[data-undo]")?.click(),
    s: () => one("#handle") && open("handle"),
    x: () => one("#reject") && open("reject"),
    e: () => one("#edit") && open("edit"),
  };

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (key === "Escape") {
      const panel = one(".draft:not([hidden])"), menu = one(".menu[open]");
      if (one("dialog[open]")) return;
      if (menu) { menu.open = false; one("summary", menu).focus(); }
      else if (disarm()) say("Not approved.");
      else if (panel) open(panel.id, false);
      else one("#list [aria-current] > a")?.focus();
      return;
    }
    if (key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const form = target.closest?.(".draft form");
      if (form && !event.repeat && alive()) { event.preventDefault(); one("button[name=decision]", form).click(); }
      return;
    }
    if (event.ctrlKey || event.metaKey || (event.altKey && !event.getModifierState("AltGraph"))) return;
    if (target.closest?.("input, select, textarea, [contenteditable], dialog[open], .menu[open]")) return;
    if (key === "Enter" && one("[data-armed]")) {
      event.preventDefault();
      const button = approve();
      if (!event.repeat && alive() && performance.now() - armedAt >= GUARD && target === button) button.click();
      return;
    }
    if (key === " " && target.matches?.("a[role=button]")) { event.preventDefault(); target.click(); return; }
    if (leader) { leader = false; go(key); return; }
    if (key === "g") { leader = true; setTimeout(() => { leader = false; }, 1000); return; }
    if ((key === "ArrowDown" || key === "ArrowUp") && target.closest?.("#list")) { event.preventDefault(); step(key === "ArrowDown" ? 1 : -1); return; }
    const act = Object.hasOwn(decisions, key) ? decisions[key] : null;
    if (act) { if (!event.repeat && alive()) { event.preventDefault(); act(); } }
    else if (Object.hasOwn(keys, key)) { event.preventDefault(); keys[key](); }
  });

  /* -- htmx: fragments go in, whole pages never do ------------------------------------------------------------------ */
  const on = (name, handler) => document.addEventListener(`htmx:${name}`, handler);
  on("beforeRequest", (event) => {
    if (!wide.matches && event.target.closest?.(".row")) { event.preventDefault(); location.assign(event.target.href); return; }
    event.detail.target?.setAttribute("aria-busy", "true");
  });
  on("afterRequest", (event) => event.detail.target?.removeAttribute("aria-busy"));
  on("beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (!/^\s*<!doctype/i.test(xhr.responseText)) return;
    event.detail.shouldSwap = false;
    if (xhr.status < 400) location.assign(xhr.responseURL);
    else toast(`The server refused this (${xhr.status}). Nothing was decided.`, "error");
  });
  on("responseError", (event) => toast(`The server failed (${event.detail.xhr.status}). Look at the history before you try again.`, "error"));
  on("sendError", () => toast("The server cannot be reached. Look at the history before you try again.", "error"));
  on("afterSettle", (event) => {
    if (!event.detail.elt?.closest?.("#card") && event.detail.target?.id !== "card") return;
    const now = card(), from = event.detail.requestConfig?.elt;
    wake();
    for (const row of all("#list .row")) row.toggleAttribute("aria-current", row.dataset.id === now?.dataset.id);
    if (one("#list") && now?.dataset.id) {
      const address = new URL(location.href);
      address.searchParams.set("open", now.dataset.id);
      history.replaceState(history.state, "", address);
    }
    if (from?.closest?.(".row")) { const pane = one(".work-pane"); if (pane) pane.scrollTop = 0; return; }
    (one("#card [aria-invalid]") || one("#notice") || one("#card"))?.focus();
    check();
  });

  /* -- Live: an event is a doorbell; what is new is read from the list itself ----------------------------------------- */
  let fresh = null, pending = 0, failures = 0, contact = Date.now(), source = null;
  const health = (state, text) => {
    const mark = one("#health");
    if (mark) { mark.hidden = false; mark.dataset.state = state; mark.textContent = text; }
    const button = approve();
    if (button) button.disabled = state === "stale";
  };
  const ids = (root) => all(".row[data-id]", root).map((row) => row.dataset.id);
  const check = () => {
    if (!one("#list") || pending) return;
    pending = setTimeout(async () => {
      pending = 0;
      try {
        const answer = await fetch(location.href, { headers: { "HX-Request": "true", "HX-Target": "list" } });
        if (!answer.ok || answer.redirected) return;
        compare(new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#list"));
        contact = Date.now();
      } catch { /* the next ring or the poll tries again */ }
    }, 300);
  };
  const compare = (list) => {
    const now = one("#list");
    if (!list || !now) return;
    const have = ids(now), there = ids(list), arrived = there.filter((id) => !have.includes(id));
    for (const row of all(".row[data-id]", now)) row.classList.toggle("gone", !there.includes(row.dataset.id) && there.length < 50);
    for (const counter of all("[data-count=pending]")) counter.textContent = list.dataset.pending;
    const open = card();
    const deciding = one("#card .htmx-request, #card.htmx-request");
    if (!deciding && open?.dataset.status === "pending" && have.includes(open.dataset.id) && !there.includes(open.dataset.id) && there.length < 50 && !open.dataset.told) {
      open.dataset.told = "yes";
      toast("What is open here is no longer waiting: somebody was faster, or its time is over.");
    }
    fresh = list;
    const pill = one("#arrivals");
    if (arrived.length && !have.length) show();
    else if (pill) {
      pill.hidden = !arrived.length;
      const text = `${arrived.length} new, press . to show`;
      if (arrived.length && pill.textContent !== text) say(`${arrived.length} new`);
      pill.textContent = text;
    }
  };
  const show = () => {
    if (!fresh) return;
    const list = document.importNode(fresh, true), id = card()?.dataset.id;
    fresh = null;
    one("#list").replaceWith(list);
    window.htmx?.process(list);
    for (const row of all(".row", list)) row.toggleAttribute("aria-current", row.dataset.id === id);
    one("#arrivals").hidden = true;
  };
  const banner = async () => {
    const now = one("#stopped"), answer = now && await fetch(location.href).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const next = one("#stopped", new DOMParser().parseFromString(await answer.text(), "text/html"));
    if (next) { now.replaceWith(document.importNode(next, true)); say(next.textContent.trim() || "No stop is in force any more."); }
  };
  const hear = (stream) => {
    for (const name of ["hello", "resync", "proposal", "unknown", "halt"]) stream.addEventListener(name, check);
    for (const name of ["resync", "halt"]) stream.addEventListener(name, banner);
  };
  const listen = (address) => {
    source = new EventSource(`${address}?topics=queue`);
    source.onopen = () => { if (failures) check(); failures = 0; contact = Date.now(); health("live", "live"); };
    source.onmessage = check;
    hear(source);
    source.onerror = () => { failures += 1; health("wait", "reconnecting"); };
    setInterval(() => {
      if (source.readyState === EventSource.OPEN) { contact = Date.now(); return; }
      if (failures > 1) { check(); health("wait", "checking every 10 s"); }
      if (source.readyState === EventSource.CLOSED) { source.close(); listenAgain(address); }
      const silent = Math.round((Date.now() - contact) / 1000);
      if (silent > 60) health("stale", `no contact for ${silent} s`);
    }, 10000);
  };
  const listenAgain = (address) => {
    const next = new EventSource(`${address}?topics=queue`);
    Object.assign(next, { onopen: source.onopen, onmessage: source.onmessage, onerror: source.onerror });
    hear(next);
    source = next;
  };

  /* -- Times in words stay true --------------------------------------------------------------------------------------- */
  const words = (s) => s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} days`;
  setInterval(() => {
    for (const time of all("time[data-time]")) {
      const left = Math.round((Date.parse(time.dateTime) - Date.now()) / 1000);
      time.textContent = time.dataset.time === "ago" ? `${words(Math.max(-left, 0))} ago` : left > 0 ? `${words(left)} left` : `${words(-left)} late`;
    }
  }, 15000);

  /* -- A page that is still changing is read again, but never under somebody's hands ----------------------------------- */
  setInterval(async () => {
    const now = one("[data-refresh]");
    if (!now || document.hidden || one("details[open]", now) || now.contains(document.activeElement)) return;
    const target = now.dataset.refresh || now.id;
    const answer = await fetch(location.href, { headers: { "HX-Request": "true", "HX-Target": target } }).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const next = one(`#${now.id}`, new DOMParser().parseFromString(await answer.text(), "text/html"));
    const shown = (root) => all("time", root).reduce((text, time) => text.replace(time.textContent, ""), root.textContent);
    if (!next || shown(next) === shown(now)) return;
    now.replaceWith(document.importNode(next, true));
    const proof = one(".proof", next);
    if (proof) say(proof.textContent.trim());
  }, 3000);

  wake();
  if (document.body.dataset.live) listen(document.body.dataset.live);
})();
