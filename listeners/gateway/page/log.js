// The output of an instance, followed: both streams, paused, wrapped, searched, and never more of it
// than a page can hold.

import { clearLog } from "./actions.js";
import { coloured, plain } from "./ansi.js";
import { part, stream } from "./api.js";
import { button, h, icon, put, setAttribute, setText } from "./dom.js";

/** Lines that are kept; older ones go, a hundred at a time. */
const LINES_MAX = 5_000;
const CHUNK = 100;
/** Longest line that is shown whole, in characters. */
const LINE_MAX = 16_384;

/** What is left of a line: what was written over, by a progress bar, is gone. */
const rewritten = (line) => line.slice(line.lastIndexOf("\r", line.length - 2) + 1).slice(0, LINE_MAX);
/** Lines that are asked for at first. */
const FIRST = 200;
/** While it is paused, no more than this waits to be shown, in characters. */
const HELD_MAX = 1 << 20;

export class Log {
  constructor(name) {
    this.name = name;
    this.lines = [];
    this.held = [];
    this.heldSize = 0;
    this.paused = false;
    this.open = {};
    this.sources = [];
    this.at = -1;
    this.build();
    this.hide = () => { if (document.hidden) this.close(); else if (this.sources.length === 0) this.follow(this.channel); };
  }

  /** Begins to follow both streams; a page that nobody looks at does not. */
  begin() {
    this.follow("both");
    document.addEventListener("visibilitychange", this.hide);
  }

  build() {
    const option = (value, text) => h("option", { value }, text);
    this.which = h("select", { "aria-label": "Which output", class: "choice" },
      option("both", "Both streams"), option("stdout", "stdout"), option("stderr", "stderr"));
    this.search = h("input", { type: "search", class: "search", placeholder: "Find in log", "aria-label": "Find in log", autocomplete: "off", spellcheck: "false" });
    this.found = h("span", { class: "dim found", role: "status" });
    this.pause = button("pause", "Pause", { "aria-pressed": "false" });
    this.wrap = button("wrap", "Wrap", { "aria-pressed": "true" });
    const wipe = button("broom", "Clear view", { class: "bare", title: "Clear what is shown here" });
    const clear = button("trash", "Clear log", { class: "bare danger operator", title: "Clear the log: empty its files on the worker" });
    const save = h("a", { class: "button bare", href: stream(`/instances/${part(this.name)}/log?channel=stdout&lines=5000`), download: `${this.name.replace(":", "-")}.log`, title: "The last 5,000 lines of stdout" },
      icon("save"), h("span", { class: "label" }, "Save"));
    this.view = h("div", { class: "text wrap", tabindex: 0, role: "log", "aria-label": `Output of ${this.name}`, "aria-live": "off" });
    this.more = button("down", "Latest", { class: "solid latest", hidden: true });
    this.state = h("span", { class: "dim", role: "status" });
    this.root = h("section", { class: "card log", id: "log" },
      h("header", {}, h("h2", {}, "Log"), this.state, this.which,
        h("label", { class: "searchbox" }, icon("search"), this.search), this.found, this.pause, this.wrap, wipe, save, clear),
      h("div", { class: "frame" }, this.view, this.more));
    this.which.addEventListener("change", () => this.follow(this.which.value));
    this.pause.addEventListener("click", () => this.setPaused(!this.paused));
    this.wrap.addEventListener("click", () => {
      const on = this.view.classList.toggle("wrap");
      setAttribute(this.wrap, "aria-pressed", on);
      if (this.stuck) this.bottom();
    });
    wipe.addEventListener("click", () => this.wipe());
    clear.addEventListener("click", async () => { if (await clearLog(this.name)) this.wipe(); });
    this.more.addEventListener("click", () => { this.stuck = true; this.bottom(); });
    this.stuck = true;
    this.view.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.view;
      this.stuck = scrollHeight - scrollTop - clientHeight < 24;
      this.more.hidden = this.stuck;
    }, { passive: true });
    this.search.addEventListener("input", () => this.find());
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); this.step(event.shiftKey ? -1 : 1); }
      if (event.key === "Escape") { this.search.value = ""; this.find(); this.view.focus(); event.stopPropagation(); }
    });
  }

  setPaused(on) {
    this.paused = on;
    setAttribute(this.pause, "aria-pressed", on);
    setText(this.pause.lastElementChild, on ? "Resume" : "Pause");
    this.pause.firstElementChild.firstElementChild.setAttribute("href", on ? "#i-play" : "#i-pause");
    if (!on) for (const [channel, text] of this.held.splice(0)) this.take(channel, text);
    this.heldSize = 0;
    this.say();
  }

  say(text = this.paused ? "paused" : "following") { setText(this.state, text); }

  follow(channel) {
    this.close();
    this.channel = channel;
    this.wipe();
    this.say("connecting");
    const channels = channel === "both" ? ["stdout", "stderr"] : [channel];
    this.sources = channels.map((one) => {
      const source = new EventSource(stream(`/instances/${part(this.name)}/log?channel=${one}&lines=${FIRST}&follow=true`));
      let begun = false;
      source.addEventListener("open", () => {
        // It tells the last lines anew after it was away.
        if (begun) this.wipe(one);
        begun = true;
        this.say();
      });
      source.addEventListener("error", () => {
        this.say(source.readyState === EventSource.CLOSED ? "not available" : "reconnecting");
      });
      source.addEventListener("output", (message) => this.hear(one, JSON.parse(message.data)));
      source.addEventListener("note", (message) => this.hear("note", `${JSON.parse(message.data)}\n`));
      return source;
    });
  }

  close() { for (const source of this.sources.splice(0)) source.close(); }

  hear(channel, text) {
    if (!this.paused) { this.take(channel, text); return; }
    this.held.push([channel, text]);
    this.heldSize += text.length;
    while (this.heldSize > HELD_MAX && this.held.length > 1) this.heldSize -= this.held.shift()[1].length;
    this.say(`paused · ${Math.ceil(this.heldSize / 1024)} KiB new`);
  }

  /** Takes a piece of text, which may end within a line. */
  take(channel, text) {
    const pieces = text.split("\n");
    for (const [n, piece] of pieces.entries()) {
      if (piece === "" && n === pieces.length - 1) break;
      const open = this.open[channel];
      if (open) {
        open.text = rewritten(open.text + piece);
        open.stale = true;
      } else this.lines.push(this.open[channel] = { channel, text: rewritten(piece), node: null, stale: true });
      if (n < pieces.length - 1) this.open[channel] = null;
    }
    this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  /** Shows what is new, in one go. */
  draw() {
    const over = this.lines.length - LINES_MAX;
    if (over > 0) {
      const gone = Math.ceil(over / CHUNK) * CHUNK;
      for (const line of this.lines.splice(0, gone)) line.node?.remove();
    }
    const fresh = document.createDocumentFragment();
    const stale = [];
    // Only the end of the list can be new, or a line of each stream that was not whole.
    for (let n = this.lines.length - 1; n >= 0; n -= 1) {
      const line = this.lines[n];
      if (line.stale) stale.push(line);
      else if (this.lines.length - n > CHUNK) break;
    }
    for (const line of stale.reverse()) {
      line.stale = false;
      if (!line.node) {
        line.node = h("div", { class: `l ${line.channel}` });
        fresh.append(line.node);
      }
      put(line.node, coloured(line.text.replace(/\r$/, "")));
      if (line.node.childNodes.length === 0) line.node.append("\u200b");
    }
    this.view.append(fresh);
    this.empty();
    if (this.search.value) this.find(false);
    if (this.stuck) this.bottom();
  }

  bottom() { this.view.scrollTop = this.view.scrollHeight; }

  empty() { this.view.classList.toggle("nothing", this.lines.length === 0); }

  /** Forgets what is shown, or that of one stream. */
  wipe(channel) {
    const stays = channel ? (line) => line.channel !== channel : () => false;
    for (const line of this.lines) if (!stays(line)) line.node?.remove();
    this.lines = this.lines.filter(stays);
    if (channel) delete this.open[channel]; else { this.open = {}; this.held = []; this.heldSize = 0; }
    this.empty();
    this.find();
  }

  /** Marks what was searched for, by the browser's own highlights: the lines stay as they are. */
  find(jump = true) {
    const wanted = this.search.value.toLowerCase();
    this.hits = [];
    if (wanted) {
      for (const line of this.lines) {
        if (line.node && plain(line.text).toLowerCase().includes(wanted)) this.hits.push(line.node);
      }
    }
    if (globalThis.Highlight) {
      const ranges = [];
      for (const node of this.hits) {
        const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
        for (let text = walker.nextNode(); text; text = walker.nextNode()) {
          const low = text.data.toLowerCase();
          for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, at + wanted.length)) {
            const range = new Range();
            range.setStart(text, at);
            range.setEnd(text, Math.min(at + wanted.length, text.data.length));
            ranges.push(range);
          }
        }
      }
      CSS.highlights.set("found", new Highlight(...ranges));
    }
    if (jump) { this.at = this.hits.length; if (this.hits.length > 0) this.step(-1); }
    this.sayFound();
  }

  sayFound() {
    const n = this.hits.length;
    setText(this.found, this.search.value === "" ? "" : n === 0 ? "none" : `${Math.min(this.at + 1, n)} of ${n}`);
  }

  step(by) {
    if (this.hits.length === 0) return;
    this.at = (this.at + by + this.hits.length) % this.hits.length;
    this.view.querySelector(".hit")?.classList.remove("hit");
    const node = this.hits[this.at];
    node.classList.add("hit");
    this.stuck = false;
    const [box, view] = [node.getBoundingClientRect(), this.view.getBoundingClientRect()];
    this.view.scrollTop += box.top - view.top - view.height / 2;
    this.sayFound();
  }

  end() {
    this.close();
    cancelAnimationFrame(this.frame);
    document.removeEventListener("visibilitychange", this.hide);
    globalThis.CSS?.highlights?.delete("found");
  }
}

