// Colours of a terminal in a line of a log. Pure, but that it makes elements.

import { h } from "./dom.js";

// Everything that a terminal obeys: control sequences, titles, and single escapes.
const ESCAPE = /\x1b\[([0-9;?]*)([ -/]*[@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]/g;

/** A line without what a terminal obeys. */
export const plain = (line) => line.replace(ESCAPE, "");

function turn(style, codes) {
  const next = { ...style };
  for (let n = 0; n < codes.length; n += 1) {
    const code = codes[n];
    if (code === 0) { next.bold = next.dim = false; next.colour = null; }
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 22) next.bold = next.dim = false;
    else if (code >= 30 && code <= 37) next.colour = code - 30;
    else if (code >= 90 && code <= 97) next.colour = code - 82;
    else if (code === 39) next.colour = null;
    else if (code === 38 || code === 48) {
      // Of more colours only the first sixteen are shown.
      if (codes[n + 1] === 5) { if (code === 38) next.colour = codes[n + 2] < 16 ? codes[n + 2] : null; n += 2; } else n += 4;
    }
  }
  return next;
}

/** The nodes of a line, and the style that its successor begins with. */
export function coloured(line, style = { bold: false, dim: false, colour: null }) {
  const nodes = [];
  const add = (text) => {
    if (text === "") return;
    const css = [style.bold && "bold", style.dim && "dim", style.colour !== null && `c${style.colour}`].filter(Boolean).join(" ");
    nodes.push(css ? h("span", { class: css }, text) : document.createTextNode(text));
  };
  let at = 0;
  for (const found of line.matchAll(ESCAPE)) {
    add(line.slice(at, found.index));
    at = found.index + found[0].length;
    if (found[2] === "m") style = turn(style, (found[1] || "0").split(";").map(Number));
  }
  add(line.slice(at));
  return nodes;
}
