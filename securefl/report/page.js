"use strict";
// Sorting tables and pointing at one arm everywhere. The page is complete without this script.
(() => {
  const value = (cell) => {
    const order = cell.dataset.order;
    return order === undefined ? cell.textContent.trim().toLowerCase() : Number(order);
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en"));
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => compare(value(a.cells[column]), value(b.cells[column])) * (down ? -1 : 1));
        body.append(...rows);
      });
    });
  }
  const marked = document.querySelectorAll("[data-arm]");
  const point = (name) => {
    for (const element of marked) element.classList.toggle("pointed", name !== null && element.dataset.arm === name);
  };
  for (const element of marked) {
    element.addEventListener("mouseenter", () => point(element.dataset.arm));
    element.addEventListener("mouseleave", () => point(null));
  }
})();
