// Making elements. Nothing here, and nothing that uses it, ever parses text as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "text") node.textContent = value;
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

/** An element: h("a", {class: "name", href: "/"}, "text", child). */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** The same of SVG. */
export const svg = (tag, props, ...children) =>
  fill(document.createElementNS(SVG, tag), props, children);

/** A drawing of index.html. It says nothing to those who listen: a text stands beside it. */
export const icon = (name) =>
  svg("svg", { class: `icon i-${name}`, "aria-hidden": "true", viewBox: "0 0 16 16" },
    svg("use", { href: `#i-${name}` }));

/** A button with a drawing, and a text that may be hidden where there is no room. */
export const button = (name, label, props = {}) =>
  h("button", { type: "button", ...props, class: `button ${props.class ?? ""}` },
    name && icon(name), h("span", { class: "label" }, label));

/** Sets a text, only where it differs: whatever is written is laid out anew. */
export function setText(node, text) {
  const wanted = text ?? "";
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Sets or takes an attribute, only where it differs. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Lets an icon be another one. */
export function setIcon(node, name) {
  const wanted = `#i-${name}`;
  const use = node.firstElementChild;
  if (use.getAttribute("href") === wanted) return;
  use.setAttribute("href", wanted);
  node.setAttribute("class", `icon i-${name}`);
}

/** Replaces what is in a node. */
export const put = (node, ...children) =>
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));

/** Whether a person types here, so that single keys mean themselves. */
export function isTyping(target) {
  if (!(target instanceof Element)) return false;
  if (target.closest("textarea, select, [contenteditable]")) return true;
  return target.matches("input") && !["checkbox", "radio", "button"].includes(target.type);
}
