"use strict";
/* The live part of the page: take over what has changed, and send the user's decisions. */
(() => {
  const given = JSON.parse(document.getElementById("live-data").textContent);
  const said = document.getElementById("said");
  const since = [given.mark.run, given.mark.task, given.mark.readings, given.mark.event].join("-");
  const waiting = new Map(); // sections that could not be replaced while they had the focus
  let token = "", silence = 0, lost = false;

  function say(words, seconds = 8) {
    clearTimeout(silence);
    said.textContent = words;
    if (seconds) silence = setTimeout(() => { said.textContent = ""; }, seconds * 1000);
  }

  // Changes

  const source = new EventSource(`events?since=${since}`);
  const on = (name, handler) => source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
  on("hello", (hello) => {
    token = hello.token;
    document.documentElement.dataset.connected = "";
    if (lost) say("Connected again");
    lost = false;
  });
  on("update", (tasks) => { batchswap.update(tasks); showReviews(); });
  on("sections", (sections) => {
    for (const [name, html] of Object.entries(sections)) waiting.set(name, html);
    showSections();
  });
  on("reload", () => { source.close(); location.reload(); });
  on("trouble", (trouble) => say(trouble.words, 0));
  source.addEventListener("error", () => {
    delete document.documentElement.dataset.connected;
    if (source.readyState === EventSource.CLOSED) say("batchswap refuses this page: open the address that `batchswap watch` prints now", 0);
    else if (!lost) say("The connection to batchswap is lost: what you see may be old. Trying again …", 0);
    lost = true;
  });
  addEventListener("pagehide", () => source.close());

  function showSections() {
    for (const [name, html] of waiting) if (batchswap.section(name, html)) waiting.delete(name);
    showReviews();
  }
  setInterval(() => { if (waiting.size) showSections(); }, 2000);

  /** Show the reviews of the ledger on the buttons. */
  function showReviews() {
    const buttons = document.querySelectorAll(".mark-button");
    if (!buttons.length) return;
    const reviews = new Map(batchswap.tasks.map((task) => [`${task.batch}/${task.key}`, task.review]));
    for (const button of buttons) button.setAttribute("aria-pressed", String(reviews.get(button.dataset.name) === `${button.dataset.mark}ed`));
  }

  // Decisions

  async function send(order) {
    let answer;
    try {
      answer = await fetch("order", { method: "POST", headers: { "Content-Type": "application/json", "X-Batchswap-Page": token }, body: JSON.stringify(order) });
    } catch {
      say("batchswap does not answer: nothing was changed, as far as this page knows", 0);
      return null;
    }
    const { words } = await answer.json().catch(() => ({ words: "" }));
    say(words || `HTTP status ${answer.status}`, answer.ok ? 8 : 0);
    return answer.ok ? words : null;
  }

  async function decide(order) {
    if (order.action === "redo") {
      const price = await send({ action: "price", names: order.names });
      if (price === null || !confirm(`${price}. Queue it?`)) return;
    } else if (order.command && !confirm(`${order.command}\n\nDo this now?`)) return;
    const { command, ...rest } = order;
    await send(rest);
  }

  batchswap.address = (task, which) => (task[which] ? `${which === "file" ? "result" : "original"}/${task.id}` : "");
  batchswap.act = (kind, names) => {
    const of = new Map(batchswap.tasks.map((task) => [`${task.batch}/${task.key}`, task.review]));
    const isBack = names.every((name) => of.get(name) === `${kind}ed`);
    decide({ action: isBack ? "reset" : kind, names });
  };

  // Commands on the page get a button that does the same.

  /** Split a command as a shell does. Return null for one that is not closed. */
  function wordsOf(text) {
    const found = [];
    const pattern = /\s*((?:'[^']*'|"[^"]*"|[^\s'"])+)/gy;
    let match, end = 0;
    while ((match = pattern.exec(text))) {
      found.push(match[1].replace(/'([^']*)'|"([^"]*)"/g, (_, a, b) => a ?? b));
      end = pattern.lastIndex;
    }
    return text.slice(end).trim() ? null : found;
  }

  /** Return the order that a command is, null for one that only a terminal can do. */
  function orderOf(text) {
    const [program, verb, ...rest] = wordsOf(text) ?? [];
    if (program !== "batchswap" || !["review", "retry", "resolve", "cancel"].includes(verb)) return null;
    const options = {}, names = [];
    for (let at = 0, isOver = false; at < rest.length; at += 1) {
      if (!isOver && rest[at] === "--") isOver = true;
      else if (isOver || !rest[at].startsWith("-")) names.push(rest[at]);
      else if (["--db", "--out", "--code", "--batch", "--state", "--task-id", "--note"].includes(rest[at])) options[rest[at]] = rest[at += 1];
      else options[rest[at]] = true;
    }
    const action = { review: ["--accept", "--reject", "--reset", "--redo"], resolve: ["--not-accepted", "--give-up"] }[verb]?.find((name) => options[name])?.slice(2);
    if ("--task-id" in options || "--state" in options) return null;
    if (verb === "retry") return { action: "retry", names, code: options["--code"] ?? null, batch: options["--batch"] ?? null, command: text };
    if (verb === "cancel") return names.length ? { action: "cancel", names, command: text } : null;
    if (!action || !names.length) return null;
    return { action, names, command: ["accept", "reject", "reset", "redo"].includes(action) ? "" : text };
  }

  function addButtons(root) {
    for (const line of root.querySelectorAll(".command")) {
      if (line.querySelector(".do")) continue;
      const text = line.querySelector("code").textContent;
      const order = orderOf(text);
      if (!order) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy do";
      button.textContent = "Do it";
      button.setAttribute("aria-label", `Do it: ${text}`);
      button.addEventListener("click", () => decide(order));
      line.append(button);
    }
  }

  new MutationObserver((changes) => {
    for (const change of changes) for (const node of change.addedNodes) if (node instanceof Element) { addButtons(node.parentElement ?? node); showReviews(); }
  }).observe(document.body, { childList: true, subtree: true });
  addButtons(document.body);
  showReviews();
})();
