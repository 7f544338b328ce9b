"use strict";
/* The page's tasks and pictures: filter, sort, enlarge, play, mark and copy. It asks the network for nothing.

   Foreign text becomes text nodes and attribute values only; no HTML is made from it.

   A live page (`LivePart` in render.py) is this page, served by a program:
     batchswap.update({names, rows})         replaces the tasks with these ids, and adds new ones
     batchswap.section(name, html)           replaces a section by one that the same template made, which is escaped
     batchswap.address = (task, which) => …  returns the address of "file" or "original", where it is not a relative path
     batchswap.act = (action, names) => …    does "accept" or "reject" at once; without it, a mark gives a command to copy
*/
const batchswap = (() => {
  const byId = (id) => document.getElementById(id);
  const page = JSON.parse(byId("data").textContent);
  const tasks = [];
  const place = new Map(); // id of a task -> its place in `tasks`
  let shown = []; // the tasks that match the filter, in their order
  const NAMED = new Set(["batch", "state", "quality", "review", "code", "reason", "target", "face", "consent", "tags", "kind", "original", "note"]);
  const SIGNS = { done: "✓", failed: "✕", uncertain: "?", queued: "○", submitting: "◐", running: "◐", fetching: "◐", cancelled: "–" };
  const TONES = { done: "good", failed: "bad", uncertain: "look", swapped: "good", partly: "look", unchanged: "bad", no_face: "look" };
  const PRINTED = 500;
  const PAGE_OF_STRIPS = 48;

  /** Make an element. Children are elements or texts. */
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }

  // Words

  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 4 });
  const count = (n, noun) => `${number.format(n)} ${noun}${n === 1 ? "" : "s"}`;
  const credits = (value) => (value === null ? "unknown" : number.format(value));
  const RESERVED = new Set(["submitting", "running", "uncertain"]);
  const price = (task) => (RESERVED.has(task.state) ? (task.credits ? `${credits(task.credits)} + reserved` : "reserved") : task.tries ? credits(task.credits) : "–");
  const nameOf = (task) => `${task.batch}/${task.key}`;
  const two = (n) => String(n).padStart(2, "0");

  function moment(at) {
    if (at === null) return "";
    const date = new Date(at * 1000);
    return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
  }

  function span(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
    return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
  }

  function quality(task) {
    if (!task.quality) return "";
    const words = page.qualities[task.quality] ?? task.quality;
    const share = task.quality === "partly" && task.share !== null ? ` ${Math.round(task.share * 100)} %` : "";
    return `${words}${share}${task.review ? `, ${task.review}` : ""}`;
  }

  const reason = (task) => (task.code && task.reason !== task.code ? [task.code, task.reason].filter(Boolean).join(": ") : task.reason || task.code);
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

  /** Return a command as it is typed. Names are quoted, and cannot be mistaken for options. */
  function command(verb, names, options = "") {
    const given = [options, page.options].filter(Boolean);
    const words = names.map(quoted);
    return names.some((name) => name.startsWith("-"))
      ? ["batchswap", verb, ...given, "--", ...words].join(" ")
      : ["batchswap", verb, ...words, ...given].join(" ");
  }

  function commandLine(text) {
    return element("span", { class: "command" }, element("code", {}, ...text.split(" ").flatMap((word, at) => [at ? " " : "", element("span", {}, word)])),
      element("button", { type: "button", class: "copy", "data-copy": text, "aria-label": `Copy the command: ${text}` }, "Copy"));
  }

  // Tasks

  /** Take a piece: {names: [text, …], rows: [[cell, …], …]}. A task that is known is replaced. */
  function take({ names, rows }) {
    for (const cells of rows) {
      const task = {};
      page.fields.forEach((field, at) => { task[field] = NAMED.has(field) ? names[cells[at]] : cells[at]; });
      task.text = `${task.batch}/${task.key} ${task.target} ${task.face} ${task.code} ${task.reason} ${task.consent} ${task.tags} ${task.note} ${task.file}`.toLowerCase();
      const known = place.get(task.id);
      if (known === undefined) {
        place.set(task.id, tasks.length);
        tasks.push(task);
      } else tasks[known] = task;
    }
  }

  const ORDERS = {
    "": ["manifest order", null],
    key: ["task", (task) => nameOf(task)],
    state: ["state", (task) => page.states.indexOf(task.state)],
    quality: ["swap", (task) => (task.quality ? task.score ?? 2 : 3)],
    credits: ["credits", (task) => task.credits ?? Infinity],
    tries: ["tries", (task) => task.tries],
    at: ["changed", (task) => task.at ?? 0],
    took: ["time taken", (task) => task.took ?? -1],
    reason: ["message", (task) => reason(task)],
  };
  const chosen = { q: "", state: "", quality: "", batch: "", code: "", sort: "" };

  function matches(task, words) {
    if (chosen.state && task.state !== chosen.state) return false;
    if (chosen.batch && task.batch !== chosen.batch) return false;
    if (chosen.code && task.code !== chosen.code) return false;
    if (chosen.quality && !hasQuality(task, chosen.quality)) return false;
    return words.every((word) => task.text.includes(word));
  }

  function hasQuality(task, wanted) {
    if (wanted === "look") return page.doubtful.includes(task.quality) && !task.review;
    if (wanted === "accepted" || wanted === "rejected") return task.review === wanted;
    return task.quality === wanted;
  }

  /** Filter and sort, and draw the list: from its start, or with `stays` at its place. */
  function apply(stays = false) {
    const before = list.active();
    const words = chosen.q.toLowerCase().split(/\s+/).filter(Boolean);
    shown = tasks.filter((task) => matches(task, words));
    const [, key] = ORDERS[chosen.sort.replace(/^-/, "")] ?? ORDERS[""];
    if (key) {
      const sign = chosen.sort.startsWith("-") ? -1 : 1;
      const keys = new Map(shown.map((task) => [task, key(task)]));
      shown.sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        return (x < y ? -1 : x > y ? 1 : 0) * sign;
      });
    }
    const missing = page.total - tasks.length;
    const all = shown.length === tasks.length ? "" : ` of ${number.format(tasks.length)}`;
    byId("matches").textContent = `${number.format(shown.length)}${all} ${tasks.length === 1 ? "task" : "tasks"}` +
      (chosen.code ? ` with the code ${chosen.code}` : "") + (missing > 0 && page.pieces.length ? `; ${number.format(missing)} more are being read` : "");
    byId("printed").textContent = shown.length > PRINTED ? `Only the first ${number.format(PRINTED)} are printed.` : "";
    if (stays) list.refresh(before);
    else list.reset();
  }

  // The filter in the address: #tasks?state=failed&q=hero

  function readAddress() {
    const [section, query = ""] = location.hash.slice(1).split("?");
    if (section !== "tasks" || !query) return false;
    const given = new URLSearchParams(query);
    for (const name of Object.keys(chosen)) chosen[name] = given.get(name) ?? "";
    if (!(chosen.sort.replace(/^-/, "") in ORDERS)) chosen.sort = "";
    showChosen();
    return true;
  }

  function writeAddress() {
    const given = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
    const query = given.toString();
    history.replaceState(null, "", query ? `#tasks?${query}` : "#tasks");
  }

  function showChosen() {
    byId("filter-q").value = chosen.q;
    for (const name of ["state", "quality", "batch"]) byId(`filter-${name}`).value = chosen[name];
    byId("sort").value = chosen.sort;
    for (const head of byId("heads").children) {
      const own = chosen.sort.replace(/^-/, "") === head.dataset.sort;
      head.setAttribute("aria-sort", own ? (chosen.sort.startsWith("-") ? "descending" : "ascending") : "none");
    }
  }

  function choose(values) {
    Object.assign(chosen, values);
    showChosen();
    writeAddress();
    apply();
  }

  function prepareFilters() {
    const fill = (id, options) => byId(id).append(...options.map(([value, words]) => element("option", { value }, words)));
    fill("filter-state", page.states.map((state) => [state, state]));
    fill("filter-quality", [["look", "needs a look"], ...Object.entries(page.qualities), ["accepted", "accepted by you"], ["rejected", "rejected by you"]]);
    fill("filter-batch", page.batches.map((name) => [name, name]));
    byId("filter-batch").parentElement.hidden = page.batches.length < 2;
    fill("sort", Object.entries(ORDERS).flatMap(([name, [words]]) => (name ? [[name, words], [`-${name}`, `${words}, descending`]] : [[name, words]])));
    byId("filter-q").addEventListener("input", (event) => choose({ q: event.target.value }));
    for (const name of ["state", "quality", "batch"]) byId(`filter-${name}`).addEventListener("change", (event) => choose({ [name]: event.target.value }));
    byId("sort").addEventListener("change", (event) => choose({ sort: event.target.value }));
    byId("reset").addEventListener("click", () => choose({ q: "", state: "", quality: "", batch: "", code: "", sort: "" }));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    const heads = [["key", "task", "Task"], ["state", "state", "State"], ["quality", "quality", "Swap"], ["credits", "credits number", "Credits"],
      ["tries", "tries number", "Tries"], ["at", "at", "Changed"], ["reason", "rest", "Message or target"]];
    byId("heads").append(...heads.map(([sort, kind, words]) => element("div", { role: "columnheader", class: kind, "data-sort": sort, "aria-sort": "none" },
      element("button", { type: "button", onclick: () => choose({ sort: chosen.sort === sort ? `-${sort}` : chosen.sort === `-${sort}` ? "" : sort }) }, words))));
  }

  // The list draws only the rows in sight, and the row that has the focus.

  const list = (() => {
    const frame = byId("window"), canvas = byId("canvas");
    const drawn = new Map(); // place in `shown` -> its element
    let active = 0, height = 44, all = false;

    function cell(kind, ...children) { return element("div", { role: "cell", class: kind }, ...children); }

    function sign(word, tone) { return element("span", { class: `mark ${TONES[tone ?? word] ?? ""}`, "aria-hidden": "true" }, SIGNS[word] ?? "•"); }

    function row(at) {
      const task = shown[at];
      const made = element("div", { role: "row", class: "row", "aria-rowindex": at + 2, "data-at": at },
        cell("task", element("button", { type: "button", class: "key", tabindex: at === active ? 0 : -1, title: nameOf(task) }, task.key),
          page.batches.length > 1 ? element("small", {}, ` ${task.batch}`) : ""),
        cell("state", sign(task.state), task.state),
        cell("quality", task.quality ? element("span", { class: TONES[task.review ? "swapped" : task.quality] ?? "soft" }, quality(task)) : ""),
        cell("credits number", price(task)),
        cell("tries number", String(task.tries)),
        cell("at", moment(task.at)),
        cell("rest", reason(task) || task.target));
      made.style.transform = `translateY(${at * height}px)`;
      return made;
    }

    function draw() {
      const first = all ? 0 : Math.max(0, Math.floor(frame.scrollTop / height) - 6);
      const last = all ? Math.min(shown.length, PRINTED) : Math.min(shown.length, Math.ceil((frame.scrollTop + frame.clientHeight) / height) + 6);
      for (const [at, made] of drawn) {
        if ((at < first || at >= last) && at !== active) {
          made.remove();
          drawn.delete(at);
        }
      }
      for (let at = first; at < last; at += 1) add(at);
      if (active < shown.length) add(active);
    }

    function add(at) {
      if (drawn.has(at)) return;
      const made = row(at);
      drawn.set(at, made);
      const next = [...canvas.children].find((other) => Number(other.dataset.at) > at);
      canvas.insertBefore(made, next ?? null);
    }

    /** Draw the list again, scrolled to `top`. The row at `at` is the one that keys move from. */
    function redraw(top, at) {
      const had = canvas.contains(document.activeElement);
      canvas.replaceChildren();
      drawn.clear();
      active = Math.max(0, Math.min(shown.length - 1, at));
      const probe = element("div", { class: "row" });
      canvas.append(probe);
      height = probe.offsetHeight || 44;
      probe.remove();
      canvas.style.height = `${shown.length * height}px`;
      frame.style.height = shown.length * height < frame.clientHeight || !shown.length ? `${Math.max(shown.length, 1) * height}px` : "";
      byId("list").setAttribute("aria-rowcount", shown.length + 1);
      frame.scrollTop = top;
      draw();
      if (had) drawn.get(active)?.querySelector(".key").focus({ preventScroll: true });
    }

    const reset = () => redraw(0, 0);

    /** Draw the list again at its place. The focus stays on the task `id`, wherever that is now. */
    function refresh(id = shown[active]?.id) {
      const at = shown.findIndex((task) => task.id === id);
      redraw(frame.scrollTop, at < 0 ? active : at);
    }

    function focus(at) {
      if (!shown.length) return;
      const before = active;
      active = Math.max(0, Math.min(shown.length - 1, at));
      if (active * height < frame.scrollTop) frame.scrollTop = active * height;
      if ((active + 1) * height > frame.scrollTop + frame.clientHeight) frame.scrollTop = (active + 1) * height - frame.clientHeight;
      draw();
      drawn.get(before)?.querySelector(".key").setAttribute("tabindex", "-1");
      const button = drawn.get(active).querySelector(".key");
      button.setAttribute("tabindex", "0");
      button.focus({ preventScroll: true });
    }

    const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in STEPS) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      focus(Math.max(-1, Math.min(shown.length, active + STEPS[event.key])));
    });
    canvas.addEventListener("click", (event) => {
      const at = Number(event.target.closest(".row")?.dataset.at ?? NaN);
      if (Number.isNaN(at) || String(getSelection())) return;
      focus(at);
      openTask(shown[at]);
    });
    let waiting = false;
    frame.addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    }, { passive: true });
    addEventListener("resize", () => refresh());
    addEventListener("beforeprint", () => { all = true; draw(); });
    addEventListener("afterprint", () => { all = false; draw(); });
    return { reset, refresh, active: () => shown[active]?.id };
  })();

  // Pictures and videos

  const strips = new Map(); // number of an embedded piece -> its pictures by task id

  /** Return the address of a picture: a file next to the page, or the data that the page contains. */
  function picture(task, address) {
    if (!address.startsWith("#")) return address;
    const piece = address.slice(1);
    if (!strips.has(piece)) {
      const found = byId(`strips-${piece}`);
      if (!found) return "";
      strips.set(piece, JSON.parse(found.textContent));
    }
    const data = strips.get(piece)[task];
    return data ? `data:image/webp;base64,${data}` : "";
  }

  function stripButton(id, address, name) {
    return element("button", { type: "button", class: "strip open-task", "data-task": id, "aria-label": `Look at ${name}` },
      element("img", { src: picture(id, address), alt: `Before and after: ${name}`, loading: address.startsWith("#") ? null : "lazy", decoding: "async", width: 360, height: 240 }));
  }

  /** Let a picture grow towards the middle of the window, so that it stays in sight. */
  function aim(event) {
    const image = event.target.closest?.(".strip")?.querySelector("img");
    if (!image) return;
    const { left, width } = image.parentElement.getBoundingClientRect();
    const free = document.documentElement.clientWidth - width;
    image.style.transformOrigin = `${free > 0 ? Math.min(100, Math.max(0, (left / free) * 100)) : 50}% 50%`;
  }
  addEventListener("pointerover", aim);
  addEventListener("focusin", aim);

  let stripsWanted = PAGE_OF_STRIPS, stripsDrawn = "";

  function rank(task) {
    return page.doubtful.includes(task.quality) && !task.review ? (task.score ?? 0) : task.review === "rejected" ? 2 : 3;
  }

  function showStrips(more = 0) {
    stripsWanted += more;
    const some = tasks.filter((task) => task.strip && picture(task.id, task.strip)).sort((a, b) => rank(a) - rank(b));
    const first = some.slice(0, stripsWanted);
    const drawn = JSON.stringify(first.map((task) => [task.id, task.strip, quality(task)]));
    if (drawn !== stripsDrawn) drawStrips(first);
    stripsDrawn = drawn;
    byId("more-strips").hidden = first.length >= some.length;
    byId("more-strips").textContent = `Show more (${number.format(some.length - first.length)} left)`;
    byId("no-strips").hidden = some.length > 0 || tasks.length < page.total;
    for (const made of document.querySelectorAll(".need-strip:empty")) {
      const { task, strip } = made.dataset;
      if (picture(task, strip)) made.append(stripButton(Number(task), strip, made.closest(".need").dataset.name));
    }
  }

  function drawStrips(some) {
    const holder = byId("strip-list");
    const focused = holder.contains(document.activeElement) ? document.activeElement.dataset.task : "";
    holder.replaceChildren(...some.map((task) => element("li", {},
      stripButton(task.id, task.strip, nameOf(task)),
      element("p", { class: "caption" }, element("span", { class: "name" }, task.key),
        element("span", { class: TONES[task.review ? "swapped" : task.quality] ?? "soft" }, quality(task))))));
    if (focused) holder.querySelector(`[data-task="${focused}"]`)?.focus({ preventScroll: true });
  }

  let address = (task, which) => task[which];

  /** Return the result next to its original. Videos play in step: the original follows the result. */
  function media(task) {
    const made = [];
    const views = [["original", "Original"], ["file", "Result"]].map(([which, words]) => {
      const source = address(task, which);
      if (!source) return null;
      const view = task.kind === "video"
        ? element("video", { src: source, playsinline: true, preload: "auto", loop: true, controls: which === "file", muted: which === "original", "aria-label": `${words} of ${nameOf(task)}` })
        : element("img", { src: source, alt: `${words} of ${nameOf(task)}` });
      if (which === "original") view.muted = true;
      made.push(view);
      view.dataset.which = which;
      return element("figure", {}, view, element("figcaption", {}, words, which === "original" ? "" : ` · ${task.file}`));
    });
    const [original, result] = made;
    if (task.kind === "video" && made.length === 2) follow(result, original);
    if (!made.length) return { media: element("p", { class: "calm" }, task.state === "done" ? "The files are not where they were saved." : "There is no result yet."), play: () => {} };
    const play = () => {
      const last = made.at(-1);
      if (task.kind === "video" && !matchMedia("(prefers-reduced-motion: reduce)").matches) last.play().catch(() => {});
    };
    return { media: element("div", { class: "media" }, ...views), play };
  }

  function follow(result, original) {
    const align = (most) => {
      if (Math.abs(original.currentTime - result.currentTime) > most && original.duration > result.currentTime) original.currentTime = result.currentTime;
    };
    result.addEventListener("play", () => { align(0.02); original.play().catch(() => {}); });
    result.addEventListener("pause", () => { original.pause(); align(0.02); });
    result.addEventListener("seeking", () => align(0));
    result.addEventListener("ratechange", () => { original.playbackRate = result.playbackRate; });
    result.addEventListener("timeupdate", () => align(0.12));
  }

  // One task

  const detail = byId("detail");

  function openTask(task) {
    const facts = [
      ["state", [task.state, reason(task)].filter(Boolean).join(", ")], ["swap", [quality(task), task.score === null ? "" : `score ${task.score.toFixed(2)}`].filter(Boolean).join(", ")],
      ["your note", task.note], ["target", task.target], ["new face", task.face], ["release", task.consent || "none"], ["tags", task.tags.replaceAll(";", ", ")],
      ["tries", String(task.tries)], ["credits", task.tries ? price(task) : ""], ["took", task.took === null ? "" : span(task.took)],
      ["changed", moment(task.at)], ["result", task.file ? decodeURI(task.file) : ""], ["signed", task.state === "done" ? (task.signed ? "yes" : "no") : ""],
    ].filter(([, value]) => value);
    const name = nameOf(task), strip = task.strip ? picture(task.id, task.strip) : "";
    const { media: views, play } = media(task);
    const commands = [["all about it", command("show", [name])]];
    if (task.state === "failed" || task.state === "cancelled") commands.push(["queue it again", command("retry", [name])]);
    if (task.state === "queued" || task.state === "failed") commands.push(["leave it out for good", command("cancel", [name])]);
    if (task.state === "done") commands.push(["it is good", command("review", [name], "--accept")], ["it is not", command("review", [name], "--reject")], ["make it again, which costs credits", command("review", [name], "--redo")]);
    detail.replaceChildren(element("div", { class: "sheet" },
      element("header", {}, element("h2", { id: "detail-title" }, name), element("button", { type: "button", autofocus: true, onclick: () => detail.close() }, "Close")),
      task.state === "done" ? element("div", { class: "marks", role: "group", "aria-label": `Mark ${name}` }, markButton("accept", name), markButton("reject", name)) : "",
      task.state === "done" ? views : "",
      strip ? element("img", { src: strip, alt: `Before and after: ${name}` }) : "",
      element("dl", { class: "colophon" }, ...facts.map(([key, value]) => element("div", {}, element("dt", {}, key), element("dd", {}, value)))),
      element("dl", { class: "options" }, ...commands.map(([when, text]) => element("div", {}, element("dt", {}, when), element("dd", {}, commandLine(text)))))));
    if (!detail.open) detail.showModal();
    if (task.state === "done") play();
  }

  detail.addEventListener("close", () => detail.replaceChildren());
  detail.addEventListener("click", (event) => { if (event.target === detail) detail.close(); });

  // Marks: a file cannot write to the ledger, so a mark gives a command to copy.

  const marks = new Map(); // name of a task -> "accept" or "reject"
  let act = null;

  function markButton(kind, name) {
    return element("button", { type: "button", class: "mark-button", "data-mark": kind, "data-name": name, "aria-pressed": String(marks.get(name) === kind) },
      kind === "accept" ? "Accept" : "Reject");
  }

  function mark(kind, name) {
    if (act) {
      act(kind, [name]);
      return;
    }
    if (marks.get(name) === kind) marks.delete(name);
    else marks.set(name, kind);
    showMarks();
  }

  function showMarks() {
    for (const button of document.querySelectorAll(".mark-button")) button.setAttribute("aria-pressed", String(marks.get(button.dataset.name) === button.dataset.mark));
    const of = (kind) => [...marks].filter(([, given]) => given === kind).map(([name]) => name);
    const kinds = ["accept", "reject"].filter((kind) => of(kind).length);
    byId("marked").hidden = !kinds.length;
    byId("marked-words").textContent = `${count(marks.size, "mark")}, not saved yet: this page cannot write to the ledger. Run:`;
    byId("marked-commands").replaceChildren(...kinds.map((kind) => element("p", {}, commandLine(command("review", of(kind), `--${kind}`)))));
  }

  // Copies and downloads

  let silence = 0;

  function say(words) {
    clearTimeout(silence);
    byId("said").textContent = words;
    silence = setTimeout(() => { byId("said").textContent = ""; }, 2500);
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = element("textarea", { "aria-hidden": "true" });
      field.value = text;
      (detail.open ? detail : document.body).append(field);
      const before = document.activeElement;
      field.select();
      document.execCommand("copy");
      field.remove();
      before?.focus();
    }
    say("Copied");
  }

  /** Return a cell that no spreadsheet takes for a formula. */
  function csvCell(value) {
    if (value === null || value === undefined) return "unknown";
    const text = typeof value === "number" ? String(value) : String(value).replace(/^[=+\-@\t\r\n]/, "'$&");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  const MONEY = ["name", "tasks", "spent", "reserved", "unknown", "expected", "lost", "estimate", "actual"];
  const CSV = {
    money: () => [["by", "name", "tasks", "spent", "reserved", "unknown_attempts", "unknown_expected", "lost", "estimate", "actual"],
      ...Object.entries(page.money).flatMap(([group, rows]) => rows.map((row) => [group, ...MONEY.map((field) => row[field])]))],
    tasks: () => [page.fields.filter((field) => field !== "strip"),
      ...shown.map((task) => page.fields.filter((field) => field !== "strip").map((field) => (task[field] === null && field !== "credits" ? "" : task[field])))],
  };

  function download(kind) {
    const text = CSV[kind]().map((cells) => cells.map(csvCell).join(",")).join("\r\n");
    const link = element("a", { download: `batchswap-${kind}.csv`, href: URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    say(`batchswap-${kind}.csv`);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.copy !== undefined) copy(button.dataset.copy);
    if (button.dataset.csv) download(button.dataset.csv);
    if (button.dataset.mark) mark(button.dataset.mark, button.dataset.name);
    if (button.classList.contains("open-task")) {
      const at = place.get(Number(button.dataset.task));
      if (at !== undefined) openTask(tasks[at]);
    }
    if (button.id === "more-strips") showStrips(PAGE_OF_STRIPS);
    if (button.id === "unmark") {
      marks.clear();
      showMarks();
    }
  });

  function showClocks() {
    for (const made of document.querySelectorAll("[data-expires]")) {
      const left = Number(made.dataset.expires) - Date.now() / 1000;
      made.textContent = left > 0 ? `, in ${span(left)}` : `, ${span(-left)} ago: try at once`;
    }
  }

  // Start: the tasks in the page, or its files one after the other

  let rest = 0;

  function piece(at, given) {
    take(given);
    rest = at + 1;
    const is_over = rest >= page.pieces.length;
    if (at % 10 === 0 || is_over) list_changed();
    if (is_over) showStrips();
    else load(rest);
  }

  function list_changed() {
    apply();
    if (!stripsDrawn) showStrips();
  }

  function load(at) {
    const script = element("script", { src: page.pieces[at] });
    script.addEventListener("load", () => script.remove());
    script.addEventListener("error", () => {
      byId("matches").textContent = `${page.pieces[at]} is missing: the list is not complete. Keep the folder together, or make the report again.`;
    });
    document.head.append(script);
  }

  function start() {
    prepareFilters();
    for (const made of document.querySelectorAll("script.piece")) {
      take(JSON.parse(made.textContent));
      made.remove();
    }
    const is_given = readAddress();
    showChosen();
    apply();
    if (is_given) byId("tasks").scrollIntoView();
    addEventListener("hashchange", () => {
      if (readAddress()) {
        apply();
        byId("tasks").scrollIntoView();
      }
    });
    showClocks();
    setInterval(showClocks, 60_000);
    addEventListener("DOMContentLoaded", () => {
      showStrips();
      if (page.pieces.length) load(0);
    });
  }

  // For a live page

  function update(given) {
    take(given);
    apply(true);
    showStrips();
  }

  function section(name, html) {
    const made = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
    const old = byId(name);
    if (!made || !old || !old.hasAttribute("data-section") || old.contains(document.activeElement)) return false;
    old.replaceWith(made);
    showClocks();
    showStrips();
    showMarks();
    return true;
  }

  start();
  return {
    piece, update, section,
    get tasks() { return tasks; },
    get shown() { return shown; },
    set address(given) { address = given; },
    set act(given) { act = given; },
  };
})();
