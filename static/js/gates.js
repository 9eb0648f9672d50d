/* Gates count down, and a link to a section opens it. The server checks every gate again; nothing here decides. */
(() => {
  "use strict";
  const tell = () => {
    for (const gate of document.querySelectorAll(".gate[data-opens]:not([data-done])")) {
      if (Date.parse(gate.dataset.opens) <= Date.now()) gate.setAttribute("data-done", "");
    }
    const list = document.getElementById("gates");
    list?.toggleAttribute("data-ready", !list.querySelector(".gate:not([data-done])"));
  };
  setInterval(tell, 250);
  document.addEventListener("click", (event) => {
    const section = event.target.closest?.(".gate a")?.hash;
    const there = section && document.querySelector(section);
    if (there) there.open = true;
  });
  tell();
})();
