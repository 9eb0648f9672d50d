/* The open card: its gates count down, a link to a section opens it, and the X-ray lights what untrusted text reached.
   The server checks every gate again; nothing here decides. */
(() => {
  "use strict";
  let next = 0;
  const tell = () => {
    let soonest = 250;
    for (const gate of document.querySelectorAll(".gate[data-opens]:not([data-done])")) {
      const left = Date.parse(gate.dataset.opens) - Date.now();
      if (left > 0) soonest = Math.min(soonest, left);
      else gate.setAttribute("data-done", "");
    }
    const list = document.getElementById("gates");
    list?.toggleAttribute("data-ready", !list.querySelector(".gate:not([data-done])"));
    clearTimeout(next);
    next = setTimeout(tell, soonest);
  };
  document.addEventListener("click", (event) => {
    const section = event.target.closest?.(".gate a")?.hash;
    const there = section && document.querySelector(section);
    if (there) there.open = true;
  });
  tell();
})();
(() => {
  "use strict";
  let on = new URLSearchParams(location.search).has("xray");
  const show = () => {
    const card = document.querySelector("#card");
    if (!card) return;
    card.classList.toggle("xray", on);
    document.querySelector("[data-xray]")?.setAttribute("aria-pressed", String(on));
  };
  const toggle = () => {
    on = !on;
    show();
    const lit = document.querySelectorAll("#card [data-tainted]");
    const live = document.querySelector("#live");
    if (live) live.textContent = on ? `X-ray: ${lit.length} arguments descend from untrusted text.` : "X-ray off.";
    if (on) lit[0]?.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("desk:xray", toggle);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-xray]")) return;
    event.preventDefault();
    toggle();
  });
  document.addEventListener("htmx:afterSettle", () => { if (on) show(); });
})();
