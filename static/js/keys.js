/* The keyboard, as the list of keys on the page says, and the palette. */
(() => {
  "use strict";
  const { one, all, card, approve, alive, settled, disarm, open, say, toast, step, show } = window.desk;
  const sheet = one("#keys");
  const off = !sheet || sheet.hasAttribute("data-off");
  const lines = sheet ? all("[data-command]", sheet) : [];
  const names = new Map(lines.map((line) => [line.dataset.key, line.dataset.command]));
  const onCard = new Set(lines.filter((line) => line.hasAttribute("data-card")).map((line) => line.dataset.command));

  /* -- What each command does. A page that has more marks its controls with data-act, and the command presses them. ---- */
  const press = (name) => one(`#card [data-act="${name}"], [data-act="${name}"]`);
  const panel = (id) => one(`[data-panel="${id}"]`) && one(`#${id}`);
  const section = (by) => {
    const parts = all("#card .sec, #card .bar").filter((part) => part.offsetParent);
    const top = one(".work-pane")?.getBoundingClientRect().top ?? 0;
    const here = parts.findLastIndex((part) => part.getBoundingClientRect().top <= top + 90);
    const next = parts[Math.min(Math.max(here + by, 0), parts.length - 1)];
    if (next) { next.tabIndex = -1; next.scrollIntoView({ block: "start" }); next.focus({ preventScroll: true }); }
  };
  const argument = (number) => {
    const found = all("#card .arg")[number - 1];
    if (found) { found.tabIndex = -1; found.scrollIntoView({ block: "nearest" }); found.focus({ preventScroll: true }); }
  };
  const rail = (letter) => all(".rail a").find((link) => link.textContent.trim().toLowerCase().startsWith(letter));
  const acts = {
    next: { able: () => one("#list, .table"), run: () => step(1) },
    previous: { able: () => one("#list, .table"), run: () => step(-1) },
    open: { able: () => one("#list, .table"), run: () => (document.activeElement.closest?.(".row > a") || one("#list [aria-current] > a"))?.click() },
    serve: { able: () => one("#serve"), run: () => (panel("skip") ? open("skip") : one("#serve button").click()) },
    arrivals: { able: () => one("#arrivals"), run: show },
    filter: {
      able: () => one("#q, .filters select, .filters input"),
      run: () => {
        const field = one("#q, .filters select, .filters input"), fold = field.closest("details");
        if (fold) fold.open = true;
        field.focus();
        field.select?.();
      },
    },
    go: { able: () => one(".rail"), run: () => { leader = true; setTimeout(() => { leader = false; }, 1000); } },
    help: { able: () => sheet, run: () => { fit(); sheet.showModal(); } },
    stop: { able: () => rail("stop"), run: () => rail("stop").click() },
    approve: {
      able: () => approve() || panel("approve"),
      run: () => { const button = approve(); if (!button) open("approve"); else if (!button.disabled && !button.hasAttribute("data-armed")) button.click(); },
    },
    taint: { able: () => one("[data-xray]"), run: () => document.dispatchEvent(new CustomEvent("desk:xray")) },
    escalate: { able: () => panel("handle"), run: () => open("handle") },
    undo: { able: () => one("[data-undo]"), run: () => one("[data-undo]").click() },
    seen: {
      able: () => one("#card details[data-must-see]:not([open])"),
      run: () => { const next = one("#card details[data-must-see]:not([open])"); next.open = true; next.scrollIntoView({ block: "start" }); },
    },
    "section-next": { able: card, run: () => section(1) },
    "section-previous": { able: card, run: () => section(-1) },
    copy: { able: card, run: () => navigator.clipboard?.writeText(new URL(card().dataset.url, location.href).href).then(() => toast("Link copied.")) },
  };
  for (const name of ["reject", "edit", "ask", "hold", "note"]) {
    acts[name] = { able: () => panel(name) || press(name), run: () => (panel(name) ? open(name) : press(name).click()) };
  }
  const act = (name) => acts[name] ?? { able: () => press(name), run: () => press(name).click() };
  const fit = () => { for (const line of lines) line.hidden = !act(line.dataset.command).able(); };
  const run = (name) => {
    const found = act(name);
    if (!found.able()) return false;
    found.run();
    return true;
  };

  let leader = false;
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && key.toLowerCase() === "k" && one("#palette")) {
      event.preventDefault();
      palette.open();
      return;
    }
    if (key === "Escape") {
      const draft = one(".draft:not([hidden])"), menu = one(".menu[open]");
      if (one("dialog[open]")) return;
      if (menu) { menu.open = false; one("summary", menu).focus(); }
      else if (disarm()) say("Not approved.");
      else if (draft) open(draft.id, false);
      else one("#list [aria-current] > a")?.focus();
      return;
    }
    if (key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const form = target.closest?.(".draft form");
      if (form && !event.repeat && alive()) { event.preventDefault(); one("button:not([type=button])", form).click(); }
      return;
    }
    const graph = event.getModifierState("AltGraph");
    const held = graph ? "" : `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}`;
    if (!held && target.closest?.("input:not([name=chosen]), select, textarea, [contenteditable]")) return;
    if (target.closest?.("dialog[open], .menu[open]")) return;
    if (!held && key === "Enter" && one("[data-armed]")) {
      event.preventDefault();
      const button = approve();
      if (!event.repeat && alive() && settled() && target === button) button.click();
      return;
    }
    if (!held && key === " " && target.matches?.("a[role=button]")) { event.preventDefault(); target.click(); return; }
    if (!held && (key === "ArrowDown" || key === "ArrowUp") && target.closest?.("#list")) { event.preventDefault(); step(key === "ArrowDown" ? 1 : -1); return; }
    if (off) return;
    if (leader) { leader = false; if (!held) rail(key.toLowerCase())?.click(); return; }
    if (!held && /^[1-9]$/.test(key) && card()) { argument(Number(key)); return; }
    const name = names.get(held + key);
    if (!name || (onCard.has(name) && (event.repeat || !alive()))) return;
    if (run(name)) event.preventDefault();
  });

  /* -- The palette: every command, page and view by name, and words to look for ---------------------------------------- */
  const palette = (() => {
    const dialog = one("#palette"), field = one("#palette-q"), list = one("#palette-list");
    let found = [], at = 0;
    const entries = () => [
      ...lines.filter((line) => act(line.dataset.command).able()).map((line) => ({
        text: one(".does", line).textContent, key: off ? "" : line.dataset.key, card: onCard.has(line.dataset.command), run: () => run(line.dataset.command),
      })),
      ...all(".rail a").map((link) => ({ text: link.firstChild.nextSibling?.textContent.trim() || link.textContent.trim(), kind: "page", run: () => link.click() })),
      ...all(".views a").map((link) => ({ text: link.firstChild.textContent.trim(), kind: "view", run: () => link.click() })),
    ];
    const search = (text) => {
      const queue = one(".rail a[href$='/queue']")?.href;
      if (!queue || !text) return [];
      const id = /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(text);
      const look = { text: `Look for ${text}`, kind: "queue", run: () => location.assign(`${queue}?q=${encodeURIComponent(text)}`) };
      return id ? [{ text: `Proposal ${text}`, kind: "page", run: () => location.assign(`${queue.replace(/queue$/, "proposals/")}${text}`) }] : [look];
    };
    const choose = (index) => {
      at = Math.min(Math.max(index, 0), found.length - 1);
      [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === at)));
      const item = list.children[at];
      if (item) { field.setAttribute("aria-activedescendant", item.id); item.scrollIntoView({ block: "nearest" }); }
      else field.removeAttribute("aria-activedescendant");
    };
    const fill = () => {
      const text = field.value.trim(), wanted = text.toLowerCase();
      found = [...entries().filter((entry) => entry.text.toLowerCase().includes(wanted)), ...search(text)];
      list.replaceChildren(...found.map((entry, index) => {
        const item = document.createElement("li"), name = document.createElement("span"), side = document.createElement(entry.key ? "kbd" : "small");
        item.id = `palette-${index}`;
        item.setAttribute("role", "option");
        name.textContent = entry.text;
        side.textContent = entry.key || entry.kind || "";
        item.append(name, side);
        item.addEventListener("click", () => { choose(index); go(); });
        return item;
      }));
      choose(0);
    };
    const go = () => { const entry = found[at]; dialog.close(); if (entry && (!entry.card || alive())) entry.run(); };
    field?.addEventListener("input", fill);
    field?.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); choose(at + (event.key === "ArrowDown" ? 1 : -1)); }
      else if (event.key === "Enter") { event.preventDefault(); if (!event.repeat) go(); }
    });
    dialog?.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    return { open: () => { if (one("dialog[open]")) return; field.value = ""; fill(); dialog.showModal(); field.focus(); } };
  })();
})();
