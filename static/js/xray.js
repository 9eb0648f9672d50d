/* The X-ray: light what descends from untrusted text. Ask for it with a click on [data-xray], or with the event
   `desk:xray` on the document (the keyboard does). The card has a link that does the same without this file. */
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
