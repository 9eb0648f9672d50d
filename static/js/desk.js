/* What all scripts share, the open card with its guard, and small courtesies. Every page works without scripts. */
window.desk = (() => {
  "use strict";
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const on = (name, handler) => document.addEventListener(`htmx:${name}`, handler);
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
  const page = (text) => new DOMParser().parseFromString(text, "text/html");
  const fragment = async (address, target, headers = {}) => {
    const answer = await fetch(address, { headers: { "HX-Request": "true", "HX-Target": target, ...headers } }).catch(() => null);
    return answer?.ok && !answer.redirected ? page(await answer.text()) : null;
  };

  /* -- The card: dead until it has been on the screen for a moment ------------------------------------------------ */
  let awake = Infinity;
  const wake = () => {
    awake = performance.now() + GUARD;
    setTimeout(() => card()?.setAttribute("data-live", ""), GUARD);
  };
  const alive = () => card() && performance.now() >= awake && !one("#card .htmx-request, #card.htmx-request");

  let armedAt = 0;
  const settled = () => performance.now() - armedAt >= GUARD;
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
      else if (!settled()) event.preventDefault();
    }
  });

  /* -- htmx: fragments go in, whole pages never do ------------------------------------------------------------------ */
  on("beforeRequest", (event) => {
    if (!wide.matches && event.target.closest?.(".row")) { event.preventDefault(); location.assign(event.target.href); return; }
    event.detail.target?.setAttribute("aria-busy", "true");
  });
  on("afterRequest", (event) => event.detail.target?.removeAttribute("aria-busy"));
  on("beforeSwap", (event) => {
    const { xhr, requestConfig } = event.detail;
    if (!/^\s*<!doctype/i.test(xhr.responseText)) return;
    event.detail.shouldSwap = false;
    if (xhr.status >= 400) {
      toast(`The server refused this (${xhr.status}). Nothing was decided.`, "error");
      if (one("[data-old-form]", page(xhr.responseText))) renew();
    } else if (requestConfig.verb === "post" && new URL(xhr.responseURL).pathname === "/sign-in") {
      toast("You are signed out, and nothing was decided. Sign in in another tab, then send this again.", "error");
    } else location.assign(xhr.responseURL);
  });
  /* Whoever has signed in anew has another token: what is typed here can be sent with that. */
  const renew = async () => {
    const name = "[name=csrfmiddlewaretoken]", read = card() && await fragment(card().dataset.url, "card"), token = read && one(name, read);
    if (!token) return;
    for (const field of all(name)) field.value = token.value;
    toast("You have signed in anew since. Nothing was decided: send this again.", "error");
  };
  on("responseError", (event) => toast(`The server failed (${event.detail.xhr.status}). Look at the history before you try again.`, "error"));
  on("sendError", () => toast("The server cannot be reached. Look at the history before you try again.", "error"));
  // The same field stands in several panels, of which one is open; a group of choices takes no focus, its choices do.
  const amiss = () => {
    const field = all("#card [aria-invalid]").find((each) => each.offsetParent);
    return field?.matches("fieldset") ? one("input:checked", field) || one("input", field) : field;
  };
  on("afterSettle", (event) => {
    if (!event.detail.elt?.closest?.("#card") && event.detail.target?.id !== "card") return;
    wake();
    if (event.detail.requestConfig?.elt?.closest?.(".row")) return;
    (amiss() || one("#card input[type=password]") || one("#notice") || one("#card"))?.focus();
  });

  /* -- A lease is kept while somebody looks at it --------------------------------------------------------------------- */
  setInterval(async () => {
    const mine = one("[data-renew]"), token = mine && one("#card input[name=csrfmiddlewaretoken]");
    if (!token || document.hidden) return;
    const answer = await fetch(mine.dataset.renew, { method: "POST", headers: { "X-CSRFToken": token.value } }).catch(() => null);
    if (answer?.status !== 409 || !mine.isConnected) return;
    mine.removeAttribute("data-renew");
    const { by } = await answer.json();
    toast(by ? `${by} has taken this over.` : "This is not yours any more.", "error");
  }, 45000);

  /* -- Times in words stay true --------------------------------------------------------------------------------------- */
  const words = (s) => s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} days`;
  setInterval(() => {
    for (const time of all("time[data-time]")) {
      const left = Math.round((Date.parse(time.dateTime) - Date.now()) / 1000);
      const text = time.dataset.time === "ago" ? `${words(Math.max(-left, 0))} ago` : left > 0 ? `${words(left)} left` : `${words(-left)} late`;
      if (time.textContent !== text) time.textContent = text;
    }
  }, 15000);

  /* -- A page that is still changing is read again, but never under somebody's hands ----------------------------------- */
  setInterval(async () => {
    const now = one("[data-refresh]");
    if (!now || document.hidden || one("details[open]", now) || now.contains(document.activeElement)) return;
    const read = await fragment(location.href, now.dataset.refresh || now.id);
    const next = read && one(`#${now.id}`, read);
    const shown = (root) => all("time", root).reduce((text, time) => text.replace(time.textContent, ""), root.textContent);
    if (!next || shown(next) === shown(now)) return;
    now.replaceWith(document.importNode(next, true));
    const proof = one(".proof", next);
    if (proof) say(proof.textContent.trim());
  }, 3000);

  /* -- Passkeys: their script is fetched by whoever uses one ----------------------------------------------------------- */
  const passkeys = (event) => {
    const button = event.target.closest("[data-passkey]");
    if (!button) return;
    document.removeEventListener("click", passkeys);
    import(button.dataset.module).then((module) => module.ask(button));
  };
  document.addEventListener("click", passkeys);

  document.addEventListener("DOMContentLoaded", wake);
  return { one, all, on, card, approve, wide, say, toast, page, fragment, alive, settled, disarm, open, words };
})();
