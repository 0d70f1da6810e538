// A list of any length, of which only what is seen exists.

/** Rows above and below what is seen, so that a fast finger finds them there. */
const OVERSCAN = 8;

export class List {
  /**
   * `root` grows to the height of all items, in `scroller`. `rowHeight()` says how high each is;
   * `key(item)` what it is, `kind(item)` which nodes it can have; `make(kind)` makes one, and
   * `show(node, item, index)` lets it show an item.
   */
  constructor({ root, scroller, rowHeight, key, kind, make, show }) {
    Object.assign(this, { root, scroller, rowHeight, key, kind, make, show });
    this.items = [];
    this.nodes = new Map();
    this.spare = new Map();
    this.frame = 0;
    this.onScroll = () => { this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.refresh(); }); };
    scroller.addEventListener("scroll", this.onScroll, { passive: true });
    this.resize = new ResizeObserver(this.onScroll);
    this.resize.observe(scroller);
  }

  /** These are all. */
  set(items) {
    this.items = items;
    this.refresh();
  }

  top() {
    return this.root.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top + this.scroller.scrollTop;
  }

  /** Shows what is seen, as it is now. */
  refresh() {
    const height = this.rowHeight();
    const total = `${this.items.length * height}px`;
    if (this.root.style.height !== total) this.root.style.height = total;
    const above = this.scroller.scrollTop - this.top();
    const first = Math.max(0, Math.floor(above / height) - OVERSCAN);
    const end = Math.min(this.items.length, Math.ceil((above + this.scroller.clientHeight) / height) + OVERSCAN);
    const wanted = new Map();
    for (let index = first; index < end; index += 1) wanted.set(this.key(this.items[index]), index);
    for (const [key, node] of this.nodes) {
      const index = wanted.get(key);
      if (index !== undefined && this.kind(this.items[index]) === node.kind) continue;
      this.nodes.delete(key);
      if (node.contains(document.activeElement)) this.root.focus({ preventScroll: true });
      node.remove();
      const spare = this.spare.get(node.kind) ?? [];
      spare.push(node);
      this.spare.set(node.kind, spare);
    }
    const fresh = document.createDocumentFragment();
    for (const [key, index] of wanted) {
      const item = this.items[index];
      let node = this.nodes.get(key);
      if (!node) {
        const kind = this.kind(item);
        node = this.spare.get(kind)?.pop() ?? this.make(kind);
        node.kind = kind;
        node.id ||= `row-${(List.count += 1)}`;
        this.nodes.set(key, node);
        fresh.append(node);
      }
      const place = `translateY(${index * height}px)`;
      if (node.style.transform !== place) node.style.transform = place;
      this.show(node, item, index);
    }
    this.root.append(fresh);
  }

  /** Scrolls as little as needed to show an item, below what is fixed at the top. */
  reveal(index, covered = 0) {
    const height = this.rowHeight();
    const at = this.top() + index * height;
    const view = this.scroller;
    if (at - covered < view.scrollTop) view.scrollTop = at - covered;
    else if (at + height > view.scrollTop + view.clientHeight) view.scrollTop = at + height - view.clientHeight + 4;
    this.refresh();
  }

  end() {
    this.scroller.removeEventListener("scroll", this.onScroll);
    this.resize.disconnect();
    cancelAnimationFrame(this.frame);
  }
}
List.count = 0;
