// Keeps the live page fresh: fetches the page again, and puts its <main> and its origin in place of the old ones.
// The server has escaped everything; no text is ever parsed as markup here. Without this script the page
// refreshes itself by <meta http-equiv="refresh">.
"use strict";
(() => {
  const everyMilliseconds = 5000;
  const live = document.getElementById("live");
  const button = document.createElement("button");
  const when = document.createElement("span");
  let paused = false;
  let busy = false;

  const say = (text) => { when.textContent = text; };
  const clock = () => new Date().toLocaleTimeString();

  const openIds = () => {
    const states = new Map();
    for (const item of document.querySelectorAll("details[id]")) states.set(item.id, item.open);
    return states;
  };

  const isReading = () => {
    const selection = document.getSelection();
    return document.hidden || (selection !== null && !selection.isCollapsed);
  };

  const swap = (fresh) => {
    const main = document.querySelector("main");
    const next = fresh && fresh.querySelector("main");
    if (!next) throw new Error("no report in the answer");
    const states = openIds();
    const focused = document.activeElement && document.activeElement.closest("details[id]");
    const adopted = document.adoptNode(next);
    for (const item of adopted.querySelectorAll("details[id]")) {
      if (states.has(item.id)) item.open = states.get(item.id);
    }
    main.replaceWith(adopted);
    document.getElementById("origin").replaceWith(document.adoptNode(fresh.getElementById("origin")));
    document.title = fresh.title;
    const target = focused && document.getElementById(focused.id);
    if (target) target.querySelector("summary").focus({ preventScroll: true });
  };

  const refresh = () => {
    if (paused || busy || isReading()) return;
    busy = true;
    // XMLHttpRequest, because it alone hands over a parsed document without a string-to-markup sink.
    const request = new XMLHttpRequest();
    request.open("GET", "/");
    request.responseType = "document";
    request.timeout = 10000;
    request.onload = () => {
      try {
        if (request.status !== 200) throw new Error("status " + request.status);
        swap(request.response);
        say("Live · " + clock());
      } catch (error) {
        say("Not refreshed: " + error.message);
      }
    };
    request.onerror = request.ontimeout = () => say("Not refreshed: no answer since " + clock());
    request.onloadend = () => { busy = false; };
    request.send();
  };

  button.type = "button";
  button.textContent = "Pause";
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
    say(paused ? "Paused · " + clock() : "Live · " + clock());
    refresh();
  });
  live.append(when, " ", button);
  live.hidden = false;
  say("Live · " + clock());
  window.setInterval(refresh, everyMilliseconds);
})();
