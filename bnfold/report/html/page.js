"use strict";
(() => {
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const tools = document.querySelector(".tools");
  const rows = all("details.row");
  const groups = all("details.group");
  const cells = new Map(all(".strip a").map((cell) => [cell.getAttribute("href").slice(1), cell]));

  // Browsers open what a link leads to by themselves; older ones do not.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();

  // Of thousands of cells, the page does not hold the names twice.
  document.addEventListener("pointerover", (event) => {
    const cell = event.target.closest(".strip a");
    if (!cell || cell.title) return;
    const row = document.getElementById(cell.getAttribute("href").slice(1));
    if (row) cell.title = row.querySelector("b").textContent;
  });

  if (!tools) return;
  tools.hidden = false;
  const told = tools.querySelector("output");
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const opened = new Map(groups.map((group) => [group, group.open]));
  let filtered = false;

  const filter = () => {
    const wanted = tools.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fate = tools.elements.fate.value;
    const code = tools.elements.code.value;
    const active = Boolean(wanted.length || fate || code);
    let shown = 0;
    for (const row of rows) {
      const fits =
        (!fate || row.classList.contains(fate)) &&
        (!code || (row.dataset.codes || "").split(" ").includes(code)) &&
        wanted.every((word) => words.get(row).includes(word));
      row.hidden = !fits;
      shown += fits;
      const cell = cells.get(row.id);
      if (cell) cell.classList.toggle("dim", !fits);
    }
    for (const group of groups) {
      const inside = all(".row", group);
      if (!inside.length) continue;
      group.hidden = inside.every((row) => row.hidden);
      group.open = active ? !group.hidden : filtered ? opened.get(group) : group.open;
    }
    for (const section of all("section.searched")) {
      section.hidden = active && all(".row", section).every((row) => row.hidden);
      const outer = section.querySelector(":scope > details");
      if (outer && active) outer.open = !section.hidden;
    }
    filtered = active;
    told.textContent = active ? `${shown} of ${rows.length} nodes` : "";
  };

  const key = (row, order) => {
    if (order === "graph") return Number(row.id.match(/\d+$/)[0]);
    const cells = row.querySelectorAll("summary > b, summary > i");
    if (order === "name") return cells[0].textContent;
    const found = parseFloat((cells[order] ? cells[order].textContent : "").replace(/^[^\d-]+/, ""));
    return Number.isNaN(found) ? Infinity : -found;
  };
  const sort = () => {
    const order = tools.elements.order.value;
    for (const body of all(".rows > .body")) {
      const keyed = all(":scope > .row", body).map((row) => [key(row, order), row]);
      keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      body.append(...keyed.map(([, row]) => row));
    }
  };

  tools.addEventListener("input", (event) => (event.target.name === "order" ? sort() : filter()));
  tools.addEventListener("submit", (event) => event.preventDefault());
})();
