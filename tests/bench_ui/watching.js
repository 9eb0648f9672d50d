/* What the bench notes inside a page: shifts of the layout, pointers used, and when a key led to the next card. */
(() => {
  const notes = { shifts: 0, unasked: 0, pointers: 0, strokes: [], paint: 0 };
  window.benchNotes = notes;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) {
      notes.shifts += one.value;
      if (!one.hadRecentInput) notes.unasked += one.value;
    }
  }).observe({ type: "layout-shift", buffered: true });
  let stroke = 0, shown = "";
  addEventListener("pointerdown", () => { notes.pointers += 1; }, true);
  addEventListener("keydown", () => { stroke = performance.now(); }, true);
  const look = () => {
    const card = document.querySelector("#card[data-id]")?.dataset.id || "";
    if (card === shown) return;
    const first = !shown;
    shown = card;
    if (first || !stroke) return;
    const since = stroke;
    requestAnimationFrame(() => requestAnimationFrame(() => notes.strokes.push(performance.now() - since)));
  };
  addEventListener("DOMContentLoaded", () => {
    look();
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  });
})();
