// Keeps an open page up to date: ages tick, and what changed is fetched anew when the node says so.
"use strict";

const UNITS = [[60, 1, "s"], [3600, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, "d"]];

function age(since) {
  const seconds = Math.max(0, (Date.now() - since) / 1000);
  const [, unit, word] = UNITS.find(([below]) => seconds < below);
  return `${Math.floor(seconds / unit)} ${word}`;
}

function tellTime(root = document) {
  for (const element of root.querySelectorAll("time[data-show]")) {
    const told = age(new Date(element.dateTime));
    if (element.textContent !== told) element.textContent = told;
  }
}

let source = null;
let seen = document.body.dataset.mark;

function listen() {
  if (source || document.hidden || seen === undefined) return;
  source = new EventSource(`/live?seen=${encodeURIComponent(seen)}`);
  source.addEventListener("changed", (event) => {
    seen = event.data;
    htmx.trigger(document.body, "changed");
  });
  source.onopen = () => { document.getElementById("link").hidden = true; };
  source.onerror = () => {
    document.getElementById("link").hidden = false;
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(listen, 5000);
    }
  };
}

// A browser grants a node six connections: a page nobody looks at gives its own back.
function rest() {
  if (source) source.close();
  source = null;
}

// What somebody has unfolded stays so when the rest of the page is fetched anew.
if (window.Idiomorph) Idiomorph.defaults.callbacks.beforeAttributeUpdated = (attribute) => attribute !== "open";

// An update that was asked for before a search, and comes after its answer, would show what is no longer looked for.
document.body.addEventListener("htmx:beforeSwap", (event) => {
  const { elt, path } = event.detail.requestConfig;
  if (elt.id !== "board" || elt.getAttribute("hx-get") === path) return;
  event.preventDefault();
  htmx.trigger(document.body, "changed");
});

document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", listen);
document.body.addEventListener("htmx:afterSwap", () => tellTime());
setInterval(tellTime, 1000);
tellTime();
listen();
