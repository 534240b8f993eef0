// A table that is updated in place, sorted by its heads and shown a page at a time: a million rows cost what one page costs.

import { empty, h, patch } from "./dom.js";

const PAGE_ROWS = 25;

/**
 * `{ caption, columns: [{ title, cell: (row) => text or node, number, sort: (row) => value, wrap, key }], nothing: [title, sentence], rows }`.
 * The first column names the row. Answers `{ element, update(rows) }`.
 */
export function table(options) {
  const { columns } = options;
  const pageRows = options.rows ?? PAGE_ROWS;
  let [rows, page, sorted, down] = [[], 0, options.sorted ?? null, options.down ?? false];
  const body = h("tbody");
  const heads = columns.map((column, place) => {
    const kind = column.number ? "number" : "";
    if (!column.sort) return h("th", { scope: "col", class: kind }, column.title || h("span", { class: "hidden-text" }, "Actions"));
    return h("th", { scope: "col", class: kind }, h("button", { type: "button", onclick: () => sortBy(place) }, column.title));
  });
  const caption = h("caption", { class: "hidden-text" }, options.caption);
  const whole = h("table", null, caption, h("thead", null, h("tr", null, ...heads)), body);
  const scroller = h("div", { class: "wide", role: "group", "aria-label": options.caption, tabindex: "0" }, whole);
  const place = h("span", { "aria-live": "polite" });
  const back = h("button", { type: "button", class: "small", onclick: () => turn(-1) }, "Back");
  const on = h("button", { type: "button", class: "small", onclick: () => turn(1) }, "Next");
  const pager = h("div", { class: "pager", hidden: true }, place, h("span", { class: "row" }, back, on));
  const nothing = h("div", { hidden: true }, empty(...options.nothing));
  const element = h("div", null, scroller, nothing, pager);

  function sortBy(column) {
    [down, sorted] = [sorted === column ? !down : Boolean(columns[column].number), column];
    page = 0;
    show();
  }

  function turn(by) {
    page += by;
    show();
  }

  function show() {
    const pages = Math.max(1, Math.ceil(rows.length / pageRows));
    page = Math.min(page, pages - 1);
    heads.forEach((cell, index) => {
      if (index === sorted) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    const order = sorted === null ? rows : [...rows].sort(compare);
    const lines = order.slice(page * pageRows, (page + 1) * pageRows).map(line);
    patch(body, lines);
    [scroller.hidden, nothing.hidden, pager.hidden] = [rows.length === 0, rows.length > 0, pages < 2];
    [back.disabled, on.disabled] = [page === 0, page >= pages - 1];
    place.textContent = `${page * pageRows + 1} to ${Math.min(rows.length, (page + 1) * pageRows)} of ${rows.length}`;
  }

  function compare(one, other) {
    const [a, b] = [columns[sorted].sort(one), columns[sorted].sort(other)];
    const order = a === b ? 0 : (a ?? -Infinity) < (b ?? -Infinity) ? -1 : 1;
    return down ? -order : order;
  }

  function line(row) {
    const cells = columns.map((column, index) => {
      const content = column.cell(row);
      const attributes = { class: column.number ? "number" : column.wrap ? "wrap" : "" };
      return index === 0 ? h("th", { scope: "row", ...attributes }, content) : h("td", attributes, content);
    });
    // Listeners of a row are about that row: another one must not inherit them.
    return h("tr", { "data-keep": options.key ? options.key(row) : null }, ...cells);
  }

  return {
    element,
    update(fresh) {
      rows = fresh;
      show();
    },
  };
}
