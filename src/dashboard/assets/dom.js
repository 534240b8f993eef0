// Elements out of values. Text only ever enters a page as text, never as markup.

/** `h("td", { class: "number" }, "7")`: attributes, `on…` listeners, `style` as an object of properties; null children are left out. */
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    // Properties set one by one are no inline style in the eyes of the policy.
    else if (name === "style") for (const [property, text] of Object.entries(value)) node.style.setProperty(property, text);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** A line drawing of 24 by 24. */
export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "path");
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", "aria-hidden": "true", fill: "none", stroke: "currentColor" }))
    svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({ d: path, "stroke-width": "1.8", "stroke-linecap": "round", "stroke-linejoin": "round" }))
    line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

/** Writes a text only when it differs: a screen reader hears what changes. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes a node look like another one and touches only what differs, so that focus and selection stay. */
export function become(old, fresh) {
  if (old.isEqualNode(fresh)) return old;
  if (old.nodeType !== 1 || old.tagName !== fresh.tagName || old.dataset.keep !== fresh.dataset.keep) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (!["TR", "TBODY", "UL", "OL", "DL", "DIV", "DD"].includes(old.tagName)) {
    old.replaceWith(fresh);
    return fresh;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  inside(old, fresh);
  return old;
}

function inside(old, fresh) {
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  after.forEach((child, place) => (before[place] ? become(before[place], child) : old.append(child)));
  before.slice(after.length).forEach((child) => child.remove());
}

/** The same over children that have keys (`data-keep`): known ones stay where they are, so that focus stays, and only what is new is heard. */
export function patch(parent, lines) {
  const wanted = new Set(lines.map((line) => line.dataset.keep));
  const old = new Map([...parent.children].map((node) => [node.dataset.keep, node]));
  if (wanted.size !== lines.length || wanted.has(undefined)) return inside(parent, withChildren(parent, lines));
  for (const node of [...parent.childNodes]) if (!wanted.has(node.dataset?.keep) || old.get(node.dataset.keep) !== node) node.remove();
  let next = parent.firstChild;
  for (const line of lines) {
    const node = old.get(line.dataset.keep);
    if (node && node === next) next = become(node, line).nextSibling;
    else parent.insertBefore(node ? become(node, line) : line, next);
  }
}

function withChildren(parent, children) {
  return h(parent.tagName, Object.fromEntries([...parent.attributes].map(({ name, value }) => [name, value])), ...children);
}

/** The same over all children. */
export function fill(parent, ...children) {
  inside(parent, withChildren(parent, children));
}

/** A card with a heading; `extra` stands beside it. */
export function card(title, extra, ...children) {
  const id = "card-" + title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  return h("section", { class: "card", "aria-labelledby": id }, h("header", null, h("h2", { id }, title), extra), ...children);
}

/** The head of a page. */
export function head(title, sentence, ...extra) {
  return h("div", { class: "head" }, h("div", null, h("h1", null, title), h("p", null, sentence)), ...extra);
}

export const badge = (text, kind) => h("span", { class: "badge " + (kind ?? "") }, text);

export const empty = (title, sentence) => h("div", { class: "empty" }, h("b", null, title), sentence);

export const absent = () => empty("Not available in this build", "This gateway does not answer for it.");

export function tile(name, id, note) {
  return h("div", null, h("dt", null, name), h("dd", { id }, "–"), h("dd", { class: "note", id: id + "-note" }, note ?? ""));
}

/** A labelled share of a whole, 0 to 1. */
export function bar(share, label) {
  const kind = share >= 0.9 ? "bad" : share >= 0.75 ? "warn" : "";
  const width = Math.round(1000 * Math.min(Math.max(share, 0), 1)) / 10 + "%";
  return h("span", { class: "bar", role: "img", "aria-label": label }, h("span", { class: kind, style: { width } }));
}

export function field(label, control, hint) {
  control.id ||= "field-" + label.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const note = hint ? h("span", { class: "hint", id: control.id + "-hint" }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

export function select(options, chosen, attributes) {
  const nodes = options.map((option) => {
    const [value, text] = Array.isArray(option) ? option : [option, option];
    return h("option", { value, selected: value === chosen }, text);
  });
  return h("select", attributes ?? {}, ...nodes);
}
