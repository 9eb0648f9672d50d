/* The list of the queue: moving through it, what is open, what comes next, and what changed while it stood there. */
(() => {
  "use strict";
  const { one, all, on, card, wide, fragment, say } = window.desk;
  const LOW = 20;

  /* -- Moving --------------------------------------------------------------------------------------------------------- */
  const rows = () => all("#list .row > a, .table tbody td:first-child a, [name=chosen]");
  let opening = 0;
  const step = (by) => {
    const list = rows();
    if (!list.length) return;
    const here = list.findIndex((row) => row === document.activeElement);
    const current = here >= 0 ? here : list.findIndex((row) => row.closest("[aria-current]"));
    const next = list[Math.min(Math.max(current + by, 0), list.length - 1)];
    next.focus();
    clearTimeout(opening);
    if (wide.matches && next.hasAttribute("hx-get")) opening = setTimeout(() => go(next), 120);
  };
  let quiet = false; // leaves no place in the history
  const go = (row) => { quiet = true; row?.click(); quiet = false; };
  const mark = () => {
    const id = card()?.dataset.id;
    for (const row of all("#list .row")) row.toggleAttribute("aria-current", row.dataset.id === id);
    one("#list [aria-current]")?.scrollIntoView({ block: "nearest" });
  };

  /* -- What is open --------------------------------------------------------------------------------------------------- */
  on("afterSettle", (event) => {
    const { target, elt, requestConfig } = event.detail;
    if (target?.id === "queue-pane") { settle(); return; }
    if (target?.id === "more" || !one("#list")) return;
    if (target?.id !== "card" && !elt?.closest?.("#card")) return;
    const before = requestConfig?.before;
    if (/\/decide$/.test(requestConfig?.path || "") && before && (card()?.dataset.id !== before || card()?.dataset.status !== "pending")) {
      one(`#row-${CSS.escape(before)}`)?.remove();
      window.desk.own.add(before);
      refill();
    }
    mark();
    if (/\/undo$/.test(requestConfig?.path || "") && card()) { back = card().dataset.id; window.desk.own.delete(back); check(); }
    const id = card()?.dataset.id, row = requestConfig?.elt?.closest?.(".row");
    if (id) {
      const address = new URL(location.href);
      address.searchParams.set("open", id);
      if (id !== before) address.hash = "";
      history[row && id !== before && !requestConfig.quiet ? "pushState" : "replaceState"](history.state, "", address);
    }
    if (row) one(".work-pane")?.scrollTo(0, 0);
  });
  on("configRequest", (event) => { Object.assign(event.detail, { before: card()?.dataset.id, quiet }); });
  const settle = () => {
    fresh = null;
    mark();
    line = asked("q");
    const id = card()?.dataset.id;
    if (wide.matches && !one("#list [aria-current]") && (!id || one("#card").dataset.status !== "pending" || rows().length)) go(rows()[0]);
    say(`${one("[data-count=pending]")?.textContent} waiting, ${all("#list .row").length} shown`);
  };
  const refill = () => {
    if (all("#list .row:not(.gone)").length < LOW) one("#more a")?.click();
  };

  /* -- Back and forward: to the card that was open; another list is read anew ------------------------------------------- */
  const asked = (name) => new URL(location.href).searchParams.get(name) || "";
  const first = asked("open") ? "" : card()?.dataset.id;
  let line = asked("q");
  window.addEventListener("popstate", (event) => {
    if (!one("#list")) return;
    event.stopImmediatePropagation();
    const id = asked("open") || first, row = one(`#row-${CSS.escape(id)} > a`);
    if (asked("q") === line && id === card()?.dataset.id) return;
    if (asked("q") === line && row) { row.focus(); go(row); } else location.reload();
  });
  if (wide.matches) mark();

  /* -- What changed: read from the list itself; rows change in place, and never move by themselves --------------------- */
  let fresh = null;
  const ids = (root) => all(".row[data-id]", root).map((row) => row.dataset.id);
  const replace = (row, next) => {
    if (!next || row.dataset.state === next.dataset.state) return;
    const kept = document.importNode(next, true);
    row.replaceChildren(...kept.childNodes);
    row.dataset.state = next.dataset.state;
    row.classList.toggle("gone", next.classList.contains("gone"));
    window.htmx?.process(row);
  };
  const refresh = async (changed) => {
    const desk = one("[data-rows]");
    const here = all("#list .row:not(.gone)").filter((row) => changed.has(row.dataset.id)).slice(0, 100);
    if (!desk || !here.length) return;
    const read = await fragment(`${desk.dataset.rows}?ids=${here.map((row) => row.dataset.id).join(",")}`, "rows");
    if (!read) return;
    for (const row of here) replace(row, read.getElementById(row.id));
    const open = card(), row = open && one(`#row-${CSS.escape(open.dataset.id)}`);
    if (row?.classList.contains("gone") && open.dataset.status === "pending" && !open.dataset.told && !one("#card .htmx-request, #card.htmx-request")) {
      open.dataset.told = "yes";
      window.desk.toast(`What is open here is no longer waiting: ${one(".fate", row)?.textContent.trim() || "it is closed"}.`, "error");
      if (!one(".draft:not([hidden])")) go(one("a", row));
    }
  };
  let back = "";
  const restore = (now, list) => {
    const place = `#row-${CSS.escape(back)}`, row = back && one(place, list);
    back = "";
    if (!row || one(place, now) || !one(".row[data-id]", now)) return;
    const kept = document.importNode(row, true), order = all(".row[data-id]", list);
    const next = order.slice(order.indexOf(row) + 1).map((each) => one(`#${CSS.escape(each.id)}`, now)).find(Boolean);
    if (next) next.before(kept); else all(".row[data-id]", now).at(-1).after(kept);
    window.htmx?.process(kept);
    mark();
  };
  const compare = (read) => {
    const now = one("#list"), list = read && one("#list", read);
    if (!list || !now) return;
    restore(now, list);
    const have = new Set(ids(now)), there = ids(list), arrived = there.filter((id) => !have.has(id));
    for (const row of all(".row[data-id]", now)) replace(row, list.querySelector(`#row-${CSS.escape(row.dataset.id)}`));
    for (const counter of all("[data-count=pending]")) counter.textContent = list.dataset.pending;
    const counts = list.dataset.views.trim().split(/\s+/);
    all(".views .n").forEach((counter, index) => { if (counts[index]) counter.textContent = counts[index]; });
    fresh = list;
    const pill = one("#arrivals");
    if (arrived.length && !have.size) { show(); return; }
    if (!pill) return;
    pill.hidden = !arrived.length;
    const text = `${arrived.length} new, press . to show`;
    if (arrived.length && pill.textContent !== text) say(`${arrived.length} new`);
    pill.textContent = text;
  };
  const alone = async (open) => {
    const read = open && await fragment(open.dataset.url, "card");
    if (read && open.isConnected && one("#card", read).dataset.status !== open.dataset.status) {
      if (one(".draft:not([hidden])")) window.desk.toast("What is open here is no longer waiting.", "error");
      else location.reload();
    }
    return Boolean(read);
  };
  const check = async (changed = new Set()) => {
    if (!one("#list")) return alone(card());
    if (one("#list.htmx-request")) return false;
    const address = new URL(location.href);
    address.searchParams.delete("after");
    const read = await fragment(address, "list");
    if (!read) return false;
    compare(read);
    const missing = ids(one("#list")).filter((id) => !ids(one("#list", read) || read).includes(id));
    await refresh(changed.size ? changed : new Set(missing));
    return true;
  };
  const show = () => {
    if (!fresh) return;
    const list = document.importNode(fresh, true);
    fresh = null;
    one("#list").replaceWith(list);
    window.htmx?.process(list);
    mark();
    one("#arrivals").hidden = true;
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest("#arrivals") && fresh) { event.preventDefault(); show(); }
  });

  Object.assign(window.desk, { step, show, check, own: new Set() });
})();
