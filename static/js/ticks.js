/* Ticking many: all or none, or a range with Shift; Enter ticks, and does not send the form. */
(() => {
  "use strict";
  const { one, all } = window.desk;
  const form = one("form[data-ticks]"), button = one("button", form), boxes = all("[name=chosen]");
  let last = 0;
  const tell = () => {
    button.textContent = `Reject ${boxes.filter((box) => box.checked).length}`;
    button.disabled = false;
  };
  const tick = (from, to, on) => { for (const box of boxes.slice(from, to)) box.checked = on; };
  form.addEventListener("click", (event) => {
    const { target } = event, link = target.closest("[data-tick]"), at = boxes.indexOf(target);
    if (link) {
      event.preventDefault();
      tick(0, boxes.length, link.dataset.tick === "all");
    } else if (at >= 0) {
      if (event.shiftKey) tick(Math.min(last, at), Math.max(last, at), target.checked);
      last = at;
    }
    tell();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && boxes.includes(event.target)) { event.preventDefault(); event.target.click(); }
  });
  form.addEventListener("submit", () => { button.disabled = true; });
  window.addEventListener("pageshow", tell);
})();
