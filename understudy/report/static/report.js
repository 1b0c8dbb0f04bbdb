// The live page: told by server-sent events when the report has changed, it fetches the page again and changes in
// place what differs. The server has escaped everything; no text is ever parsed as markup here. Without this script
// the page refreshes itself by <meta http-equiv="refresh">, filters by its form, and samples are links.
"use strict";
(() => {
  const pollMilliseconds = 5000;
  const retryMilliseconds = 30000;
  const leastMilliseconds = 1000;
  const by = (id) => document.getElementById(id);
  const clock = () => new Date().toLocaleTimeString();
  document.documentElement.classList.add("scripted");

  // XMLHttpRequest, because it alone hands over a parsed document without a string-to-markup sink.
  const fetchDocument = (url) => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.timeout = 15000;
    request.onload = () => {
      if (request.status === 200 && request.response) resolve(request.response);
      else reject(Object.assign(new Error("the answer was " + request.status), { status: request.status }));
    };
    request.onerror = request.ontimeout = () => reject(new Error("no answer"));
    request.send();
  });

  // ---- changing in place ------------------------------------------------------------------------------------

  const isSelected = (node) => {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && selection.containsNode(node, true);
  };

  const changeAttributes = (old, next) => {
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !next.hasAttribute(name)) old.removeAttribute(name); // the reader opened it
    }
    for (const { name, value } of next.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };

  const change = (old, next) => {
    if (old.isEqualNode(next)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (!isSelected(old)) old.data = next.data;
      return;
    }
    changeAttributes(old, next);
    if (!old.hasAttribute("data-own")) changeChildren(old, next);
  };

  const isAlike = (old, next) => old.nodeName === next.nodeName && (old.id || "") === (next.id || "");

  const move = (parent, node, before) => {
    if (parent.moveBefore) parent.moveBefore(node, before); // keeps focus and scroll position
    else parent.insertBefore(node, before);
  };

  const changeChildren = (parent, next) => {
    const named = new Map();
    for (const child of parent.children) if (child.id) named.set(child.id, child);
    let here = parent.firstChild;
    for (const child of [...next.childNodes]) {
      const same = child.id ? named.get(child.id) : here;
      if (same && isAlike(same, child)) {
        if (same === here) here = here.nextSibling;
        else move(parent, same, here);
        change(same, child);
      } else {
        parent.insertBefore(document.adoptNode(child), here);
      }
    }
    while (here) {
      const gone = here;
      here = here.nextSibling;
      gone.remove();
    }
  };

  const keepFocus = (swap) => {
    const focused = document.activeElement;
    const place = focused && focused.closest("main [id]");
    swap();
    if (!focused || focused === document.body || focused === document.activeElement) return;
    const again = place && by(place.id);
    const target = focused.isConnected ? focused : (again && again.querySelector("summary")) || by("verdict");
    target.focus({ preventScroll: true });
  };

  const show = (fresh) => {
    const next = fresh.getElementById("main");
    if (!next) throw new Error("the answer holds no report");
    const before = by("verdict").className;
    keepFocus(() => change(by("main"), next));
    change(by("origin"), fresh.getElementById("origin"));
    document.title = fresh.title;
    if (by("verdict").className !== before) {
      by("announce").textContent = by("verdict").querySelector("h1").textContent;
    }
  };

  // ---- staying fresh ----------------------------------------------------------------------------------------

  const live = by("live");
  const when = document.createElement("span");
  let listening = null; // the stream of events that was asked for
  let source = null; // the same, once it has spoken
  let paused = false;
  let busy = false;
  let wanted = false;
  let urgent = false;
  let lostAt = "";
  let waiting = 0;
  let earliest = 0;

  const say = () => {
    live.classList.toggle("lost", lostAt !== "");
    if (lostAt) when.textContent = "Connection lost at " + lostAt + ", trying again";
    else if (paused) when.textContent = "Paused · " + clock();
    else when.textContent = (source ? "Live · " : "Every 5 seconds · ") + clock();
  };

  const lose = () => {
    if (!lostAt) by("announce").textContent = "Connection lost; the report may be old.";
    lostAt = lostAt || clock();
    say();
  };

  const find = () => {
    if (lostAt) by("announce").textContent = "Connected again.";
    lostAt = "";
    say();
  };

  const refresh = async () => {
    waiting = 0;
    wanted = urgent = false;
    busy = true;
    const started = performance.now();
    const url = "/" + location.search;
    try {
      const fresh = await fetchDocument(url);
      if (url === "/" + location.search) show(fresh);
      else wanted = urgent = true;
      find();
    } catch (error) {
      if (error.status) when.textContent = "Not refreshed: " + error.message;
      else lose();
    }
    busy = false;
    earliest = performance.now() + Math.max(leastMilliseconds, 4 * (performance.now() - started));
    if (wanted) ask(urgent);
  };

  // The report has changed: fetch it as soon as that is no burden, for the reader's machine or the server.
  const ask = (now = false) => {
    wanted = true;
    urgent = urgent || now;
    if (busy || (!now && (paused || document.hidden))) return;
    if (waiting && !now) return;
    window.clearTimeout(waiting);
    waiting = window.setTimeout(refresh, now ? 0 : Math.max(0, earliest - performance.now()));
  };

  const listen = () => {
    if (listening || document.hidden) return;
    const events = new EventSource("/api/v1/report/events");
    events.addEventListener("report", (event) => {
      source = events;
      if (String(JSON.parse(event.data).revision) !== by("main").dataset.revision) ask();
      else find();
    });
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED) {
        listening = null;
        window.setTimeout(listen, retryMilliseconds); // refused: too many listen already
      }
      source = null;
      ask();
    };
    listening = events;
  };
  const pause = (event) => {
    paused = !paused;
    event.currentTarget.textContent = paused ? "Resume" : "Pause";
    say();
    if (!paused) ask();
  };

  const hush = () => {
    if (listening) listening.close();
    source = listening = null;
  };

  const onVisibility = () => {
    if (document.hidden) {
      hush(); // a browser has six connections to us in all
    } else {
      listen();
      if (wanted) ask();
    }
  };

  const startLive = () => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Pause";
    button.addEventListener("click", pause);
    live.append(when, " ", button);
    live.hidden = false;
    source = null;
    when.textContent = "Live · " + clock();
    document.addEventListener("visibilitychange", onVisibility);
    window.addEventListener("pagehide", hush);
    window.addEventListener("pageshow", listen);
    window.setInterval(() => { if (!source) ask(); }, pollMilliseconds);
    listen();
  };

  // ---- filter -----------------------------------------------------------------------------------------------

  let typing = 0;

  const filter = () => {
    const query = new URLSearchParams();
    if (by("filter").value.trim()) query.set("q", by("filter").value.trim());
    if (by("which").value) query.set("verdict", by("which").value);
    history.replaceState(null, "", query.size ? "/?" + query : "/");
    ask(true);
  };

  const onInput = (event) => {
    if (event.target.id !== "filter" && event.target.id !== "which") return;
    window.clearTimeout(typing);
    typing = window.setTimeout(filter, 200);
  };

  const onSubmit = (event) => {
    event.preventDefault();
    window.clearTimeout(typing);
    filter();
  };

  const onKey = (event) => {
    const isTyping = event.target.closest("input, select, textarea, dialog");
    if (event.key !== "/" || event.ctrlKey || event.altKey || event.metaKey || isTyping || !by("filter")) return;
    event.preventDefault();
    by("filter").focus();
  };

  // ---- whole answers, and curl ------------------------------------------------------------------------------

  const onToggle = async (event) => {
    const details = event.target;
    if (!details.open || !details.matches("details[data-whole]") || details.dataset.loaded) return;
    const own = details.querySelector("[data-own]");
    own.textContent = "Fetching…";
    try {
      const sample = (await fetchDocument(details.dataset.whole)).getElementById("sample");
      sample.removeAttribute("id");
      own.replaceChildren(document.adoptNode(sample));
      details.dataset.loaded = "yes";
    } catch (error) {
      own.textContent = error.status === 404
        ? "This sample is not kept any more. A newer one comes with the next refresh, if there is one."
        : "Not fetched: " + error.message + ". Close and open to try again.";
    }
  };

  const copy = async (button) => {
    const command = button.closest(".again").querySelector(".command");
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      document.getSelection().selectAllChildren(command); // no clipboard without https, except on loopback
      button.textContent = "Selected, now press Ctrl+C";
    }
    window.setTimeout(() => { button.textContent = "Copy"; }, 3000);
  };

  // ---- compare rules ----------------------------------------------------------------------------------------

  let proposed = null;

  const send = async (change, isDry, tag) => {
    const { endpoint, action, path } = change;
    const query = new URLSearchParams(isDry ? { dry_run: "true" } : {});
    const options = { method: "POST", headers: {}, signal: AbortSignal.timeout(15000) };
    if (tag) options.headers["If-Match"] = tag;
    if (change.isUndo) {
      options.method = "DELETE";
      for (const [name, value] of Object.entries({ endpoint, action, path })) query.set(name, value);
    } else {
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify({ endpoint, action, path });
    }
    try {
      const answer = await fetch("/api/v1/compare?" + query, options);
      return { status: answer.status, tag: answer.headers.get("ETag"), body: await answer.json() };
    } catch {
      return { status: 0, tag: null, body: { detail: "no answer; the rule may or may not have been written" } };
    }
  };

  const sentence = (parts) => parts.map((part) => {
    if (typeof part === "string") return part;
    const code = document.createElement("code");
    code.dir = "ltr";
    code.textContent = part.code;
    return code;
  });

  const words = (change, rule) => {
    const [path, endpoint] = [{ code: change.path }, { code: change.endpoint }];
    if (change.isUndo && !rule) return ["The rule of ", endpoint, " goes. ", path, " counts again."];
    if (change.isUndo) return [path, " goes from this rule and counts again:"];
    if (change.action === "unordered") return ["The order in ", path, " no longer counts at ", endpoint, ":"];
    return ["What differs at ", path, " no longer counts at ", endpoint, ":"];
  };

  const trouble = (text) => {
    by("rule-trouble").textContent = text;
    by("rule-trouble").hidden = !text;
  };

  // Shows what would be written; nothing is stored before the reader says so.
  const propose = async (change, note = "") => {
    const answer = await send(change, true, "");
    const isFine = answer.status === 200;
    proposed = isFine ? { change, tag: answer.tag } : null;
    by("rule-title").textContent = change.isUndo ? "Take back a compare rule" : "Write a compare rule";
    by("rule-text").replaceChildren(...sentence(isFine ? words(change, answer.body.rule) : [{ code: change.path }]));
    by("rule-yaml").textContent = isFine ? answer.body.yaml : "";
    by("rule-yaml").hidden = !by("rule-yaml").textContent;
    by("rule-write").hidden = !isFine;
    by("rule-write").textContent = change.isUndo ? "Take it back" : "Write this rule";
    by("rule-cancel").textContent = isFine ? "Cancel" : "Close";
    trouble(isFine ? note : "Not possible: " + answer.body.detail);
    if (!by("rule").open) by("rule").showModal();
    by(isFine ? "rule-write" : "rule-cancel").focus();
  };

  const finish = (change, version) => {
    const undo = document.createElement("button");
    const text = document.createElement("p");
    undo.type = "button";
    undo.textContent = "Undo";
    undo.addEventListener("click", () => {
      by("done").hidden = true;
      propose({ ...change, isUndo: !change.isUndo });
    });
    const what = change.isUndo ? " counts again" : " is written";
    text.replaceChildren(...sentence([
      change.isUndo ? "" : change.action + " ", { code: change.path }, what + ", in rules version " + version + ". ",
    ]));
    by("done").replaceChildren(text, undo);
    by("done").hidden = false;
    ask(true);
  };

  const write = async () => {
    if (!proposed) return;
    const { change, tag } = proposed;
    by("rule-write").disabled = true;
    const answer = await send(change, false, tag);
    by("rule-write").disabled = false;
    if (answer.status === 200) {
      by("rule").close();
      finish(change, answer.body.version);
    } else if (answer.status === 412 || answer.status === 409) {
      await propose(change, "Somebody else changed the rules meanwhile. This is the rule on top of theirs.");
      ask(true);
    } else {
      trouble("Not written: " + answer.body.detail);
      by("rule-write").focus();
    }
  };

  // ---- kill switches ----------------------------------------------------------------------------------------

  const settleMilliseconds = 250; // the second half of a double click confirms nothing
  let aimed = null;

  const switchTrouble = (text) => {
    by("switch-trouble").textContent = text;
    by("switch-trouble").hidden = !text;
  };

  // One click aims, one throws; Enter and Enter do the same.
  const aim = (verb, flag, safe) => {
    const isKill = verb === "kill";
    const throwing = by("switch-throw");
    aimed = { verb, flag };
    by("switch-title").textContent = isKill ? "Kill a flag" : "Revive a flag";
    by("switch-text").replaceChildren(...sentence(isKill
      ? [{ code: flag }, " gives everyone ", safe ? { code: safe } : "its default", ", everywhere and at once, whatever its rules say."]
      : [{ code: flag }, " follows its rules again, everywhere and at once."]));
    by("switch-reason").value = "";
    throwing.textContent = isKill ? "Kill it now" : "Revive it now";
    throwing.classList.toggle("kill", isKill);
    throwing.disabled = true;
    switchTrouble("");
    by("switch").showModal();
    window.setTimeout(() => {
      throwing.disabled = false;
      if (document.activeElement !== by("switch-reason") || !by("switch-reason").value) throwing.focus();
    }, settleMilliseconds);
  };

  const thrown = ({ verb, flag }, body) => {
    const isKill = verb === "kill";
    const undo = document.createElement("button");
    const text = document.createElement("p");
    undo.type = "button";
    undo.textContent = isKill ? "Revive" : "Kill again";
    undo.addEventListener("click", () => {
      by("done").hidden = true;
      aim(isKill ? "revive" : "kill", flag, "");
    });
    text.replaceChildren(...sentence([
      { code: flag }, (isKill ? " is killed" : " is revived") + " in rules version " + body.version + "; "
        + body.applied + " of " + body.workers + " workers here have it. ",
    ]));
    by("done").replaceChildren(text, undo);
    by("done").hidden = false;
    ask(true);
  };

  const throwSwitch = async () => {
    if (!aimed || by("switch-throw").disabled) return;
    const now = aimed;
    const reason = by("switch-reason").value.trim();
    by("switch-throw").disabled = true;
    let trouble = "no answer; it may or may not have been done. Try again, it does no harm";
    let body = null;
    try {
      const answer = await fetch("/api/v1/flags/" + encodeURIComponent(now.flag) + "/" + now.verb, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(reason ? { reason } : {}),
        signal: AbortSignal.timeout(15000),
      });
      const told = await answer.json();
      if (answer.status === 200) body = told;
      else trouble = told.detail;
    } catch {
      // what trouble says
    }
    by("switch-throw").disabled = false;
    if (body) {
      by("switch").close();
      thrown(now, body);
    } else {
      switchTrouble("Not done: " + trouble);
      by("switch-throw").focus();
    }
  };

  const onReasonKey = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    throwSwitch();
  };

  const onClick = (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("copy" in button.dataset) copy(button);
    else if (button.id === "rule-write") write();
    else if (button.id === "rule-cancel") by("rule").close();
    else if (button.id === "switch-throw") throwSwitch();
    else if (button.id === "switch-cancel") by("switch").close();
    else if (button.dataset.switch) aim(button.dataset.switch, button.dataset.flag, button.dataset.safe);
    else if (button.dataset.action) {
      const { endpoint, action, path } = button.dataset;
      propose({ endpoint, action, path, isUndo: "undo" in button.dataset });
    }
  };

  document.addEventListener("click", onClick);
  document.addEventListener("toggle", onToggle, true);
  if (live) {
    document.addEventListener("input", onInput);
    document.addEventListener("submit", onSubmit);
    document.addEventListener("keydown", onKey);
    by("switch-reason").addEventListener("keydown", onReasonKey);
    startLive();
  }
})();
