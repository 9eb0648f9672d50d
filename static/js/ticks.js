/* Ticking many: all or none in place, a range with Shift, and how many there are. Without scripts the links do it. */
(() => {
  "use strict";
  const { one, all } = window.desk;
  const form = one("form[data-ticks]");
  if (!form) return;
  const boxes = all(".choose input", form), told = one("[data-ticked]", form), button = one("button.ink", form);
  let last = null;
  const tell = () => {
    const ticked = boxes.filter((box) => box.checked).length;
    told.textContent = ticked ? `${ticked} ticked.` : "";
    button.textContent = ticked ? `Reject ${ticked}` : "Reject what is ticked";
  };
  form.addEventListener("click", (event) => {
    const link = event.target.closest("[data-tick]");
    if (link) {
      event.preventDefault();
      for (const box of boxes) box.checked = link.dataset.tick === "all";
      window.desk.say(`${boxes.filter((box) => box.checked).length} ticked`);
    } else if (boxes.includes(event.target)) {
      const from = boxes.indexOf(last), to = boxes.indexOf(event.target);
      if (event.shiftKey && from >= 0) for (const box of boxes.slice(Math.min(from, to), Math.max(from, to) + 1)) box.checked = event.target.checked;
      last = event.target;
    }
    tell();
  });
  /* Enter on a box would send the form. */
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && boxes.includes(event.target)) { event.preventDefault(); event.target.click(); }
  });
  form.addEventListener("submit", () => { setTimeout(() => { button.disabled = true; }); });
  window.addEventListener("pageshow", () => { button.disabled = false; tell(); });
})();
