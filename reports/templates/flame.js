"use strict";
(() => {
  const data = JSON.parse(document.getElementById("flame-data").textContent);
  const box = document.getElementById("flame");
  const told = document.getElementById("flame-told");
  const query = document.getElementById("flame-query");
  const found = document.getElementById("flame-found");
  const outward = document.getElementById("flame-out");
  const views = [...document.querySelectorAll('input[name="flame-view"]')];
  const two = box.dataset.sides === "2";
  const KINDS = ["all", "process", "own", "package", "python", "smaller"];
  const count = data.parent.length;
  const name = at => data.strings[data.name[at]];
  const short = at => {
    // A module's own code is told apart by its file alone.
    const file = data.strings[data.file[at]];
    return name(at) === "<module>" && file ? file.replace(/^(site-packages|lib\/python)\//, "") : name(at);
  };
  const place = at => {
    const file = data.strings[data.file[at]];
    return file && data.line[at] ? `${file}:${data.line[at]}` : file;
  };
  const change = at => data.after[at] - data.before[at];

  const children = Array.from({ length: count }, () => []);
  const level = new Int32Array(count);
  for (let at = 1; at < count; at++) {
    children[data.parent[at]].push(at);
    level[at] = level[data.parent[at]] + 1;
  }
  // What changed within a block, whichever way: what grew and what shrank below it do not cancel.
  const moved = new Float64Array(count);
  let most = 1;
  for (let at = count - 1; at >= 0; at--) {
    let own = change(at);
    for (const child of children[at]) { own -= change(child); moved[at] += moved[child]; }
    moved[at] += Math.abs(own);
    if (at) most = Math.max(most, Math.abs(change(at)));
  }

  const UNITS = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
  const size = bytes => {
    const sign = bytes < 0 ? "−" : "";
    bytes = Math.abs(bytes);
    for (const [unit, scale] of UNITS) {
      if (bytes >= scale) {
        const value = bytes / scale;
        const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
        return `${sign}${value.toFixed(digits)} ${unit}`;
      }
    }
    return `${sign}${bytes} B`;
  };
  const signed = bytes => (bytes > 0 ? `+${size(bytes)}` : bytes < 0 ? size(bytes) : "±0");
  const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");

  const state = { view: "after", zoom: 0, focus: 0, hits: null };
  const width = at => (state.view === "before" ? data.before[at] : state.view === "change" ? moved[at] : data.after[at]);

  const words = at => {
    const parts = [name(at)];
    if (place(at)) parts.push(place(at));
    if (two) {
      const before = data.before[at], after = data.after[at];
      parts.push(`${size(before)} before, ${size(after)} after`);
      const how = before === 0 ? "new" : after === 0 ? "gone" : `${change(at) >= 0 ? "+" : "−"}${percent(Math.abs(change(at)), before)}`;
      parts.push(change(at) ? `${signed(change(at))} (${how})` : "unchanged");
    } else {
      parts.push(`${size(data.after[at])}, ${percent(data.after[at], data.after[0])} of all`);
    }
    return parts;
  };
  const label = (at, pixels) => {
    if (pixels < 34) return "";
    const delta = change(at);
    if (two && notable(at)) return `${signed(delta)} ${short(at)}`;
    return !two && pixels > 150 ? `${short(at)} ${size(data.after[at])}` : short(at);
  };
  const notable = at => Math.abs(change(at)) >= Math.max(1024, most / 500);

  const tone = (element, at) => {
    if (!two) { element.classList.add(KINDS[data.kind[at]]); return; }
    if (!notable(at)) return;
    element.classList.add(change(at) > 0 ? "grew" : "shrank");
    element.style.setProperty("--share", `${Math.round(18 + 82 * Math.sqrt(Math.abs(change(at)) / most))}%`);
  };

  // Positions of what is drawn: ancestors of the zoomed block over the whole width, and below it what is wide enough.
  const layout = () => {
    const drawn = [];
    for (let at = data.parent[state.zoom]; at >= 0; at = data.parent[at]) drawn.push([at, 0, 1]);
    const least = 1.2 / Math.max(box.clientWidth, 300);
    const pending = [[state.zoom, 0, 1]];
    while (pending.length) {
      const [at, left, share] = pending.pop();
      drawn.push([at, left, share]);
      const whole = width(at);
      let from = left;
      for (const child of children[at]) {
        const part = whole ? (share * width(child)) / whole : 0;
        if (part >= least) pending.push([child, from, part]);
        from += part;
      }
    }
    return drawn;
  };

  let elements = new Map();
  const draw = () => {
    const row = parseFloat(getComputedStyle(box).getPropertyValue("--row"));
    const pixels = box.clientWidth;
    elements = new Map();
    const fragment = document.createDocumentFragment();
    let deepest = 0;
    for (const [at, left, share] of layout().sort((a, b) => a[0] - b[0])) {
      const element = document.createElement("div");
      element.className = "block";
      element.dataset.at = at;
      element.setAttribute("role", "treeitem");
      element.setAttribute("aria-level", level[at] + 1);
      element.setAttribute("aria-label", words(at).join(", "));
      element.title = words(at).join("\n");
      element.tabIndex = -1;
      element.style.left = `${100 * left}%`;
      element.style.width = `${100 * share}%`;
      element.style.top = `${level[at] * row}px`;
      tone(element, at);
      if (level[at] < level[state.zoom]) element.classList.add("above");
      if (state.hits) element.classList.add(state.hits.has(at) ? "hit" : "miss");
      element.textContent = label(at, share * pixels);
      fragment.append(element);
      elements.set(at, element);
      deepest = Math.max(deepest, level[at]);
    }
    box.replaceChildren(fragment);
    box.style.height = `${(deepest + 1) * row}px`;
    outward.disabled = state.zoom === 0;
    if (!elements.has(state.focus)) state.focus = state.zoom;
    elements.get(state.focus).tabIndex = 0;
  };

  const tell = at => {
    const [first, ...rest] = words(at);
    const strong = document.createElement("b");
    strong.textContent = first;
    told.replaceChildren(strong, document.createElement("br"), rest.join(" · "));
  };
  const focus = at => {
    if (!elements.has(at)) return;
    elements.get(state.focus).tabIndex = -1;
    state.focus = at;
    elements.get(at).tabIndex = 0;
    elements.get(at).focus();
    tell(at);
  };
  const zoom = (at, keep) => {
    state.zoom = at;
    state.focus = at;
    draw();
    tell(at);
    if (keep) focus(at);
  };
  const beside = (at, step) => {
    const drawn = at ? children[data.parent[at]].filter(other => elements.has(other)) : [at];
    return drawn[drawn.indexOf(at) + step];
  };

  const search = () => {
    const text = query.value.trim().toLowerCase();
    state.hits = null;
    found.textContent = "";
    if (text) {
      const matching = data.strings.map(string => string.toLowerCase().includes(text));
      state.hits = new Set();
      // A hit within a hit is in its memory already.
      let before = 0, after = 0;
      const inside = new Uint8Array(count);
      for (let at = 1; at < count; at++) {
        const hit = matching[data.name[at]] || matching[data.file[at]];
        if (hit) state.hits.add(at);
        if (hit && !inside[data.parent[at]]) { before += data.before[at]; after += data.after[at]; }
        inside[at] = hit || inside[data.parent[at]];
      }
      const blocks = state.hits.size === 1 ? "1 block" : `${state.hits.size.toLocaleString("en")} blocks`;
      const sizes = two ? `${size(before)} before, ${size(after)} after, ${signed(after - before)}` : size(after);
      found.textContent = state.hits.size ? `${blocks}, together ${sizes}` : "nothing found";
    }
    draw();
  };
  let turn = -1;
  const nextHit = () => {
    if (!state.hits || !state.hits.size) return;
    const ordered = [...state.hits].sort((a, b) => width(b) - width(a) || a - b);
    turn = (turn + 1) % ordered.length;
    zoom(ordered[turn], false);
  };

  const atOf = event => {
    const block = event.target.closest(".block");
    return block ? Number(block.dataset.at) : -1;
  };
  box.addEventListener("click", event => { if (atOf(event) >= 0) zoom(atOf(event), true); });
  box.addEventListener("pointerover", event => { if (atOf(event) >= 0) tell(atOf(event)); });
  box.addEventListener("pointerleave", () => tell(state.focus));
  box.addEventListener("keydown", event => {
    const at = state.focus;
    const moves = {
      ArrowUp: () => focus(data.parent[at]),
      ArrowDown: () => focus(children[at].find(child => elements.has(child))),
      ArrowLeft: () => focus(beside(at, -1)),
      ArrowRight: () => focus(beside(at, 1)),
      Home: () => focus(0),
      Enter: () => zoom(at, true),
      " ": () => zoom(at, true),
      Escape: () => zoom(0, true),
      Backspace: () => zoom(Math.max(0, data.parent[state.zoom]), true),
    };
    if (event.ctrlKey || event.altKey || event.metaKey || !moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });
  query.addEventListener("input", () => { turn = -1; search(); });
  query.addEventListener("keydown", event => {
    if (event.key === "Enter") { event.preventDefault(); nextHit(); }
    if (event.key === "Escape") { query.value = ""; search(); }
  });
  outward.addEventListener("click", () => zoom(0, true));
  for (const view of views) {
    view.addEventListener("change", () => { state.view = view.value; draw(); });
    if (view.checked) state.view = view.value; // as the browser kept it when the page is loaded again
  }
  let pending = 0;
  new ResizeObserver(entries => {
    const now = Math.round(entries[0].contentRect.width);
    if (now !== pending) { pending = now; draw(); }
  }).observe(box);
  draw();
  tell(0);
})();
