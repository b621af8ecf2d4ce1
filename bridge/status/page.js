"use strict";
const INTERVAL = 2000;
const before = new Map();

function rate(span) {
  const { rate: list, count, at } = span.dataset;
  const last = before.get(list);
  before.set(list, { count: +count, at: +at });
  if (last && +at > last.at && +count >= last.count) {
    span.textContent = `${told((+count - last.count) / (+at - last.at))} now`;
  }
}

function told(rate) {
  if (!rate) return "none";
  if (rate >= 1) return `${rate.toFixed(1)} a second`;
  return rate * 60 >= 1 ? `${(rate * 60).toFixed(1)} a minute` : `${(rate * 3600).toFixed(1)} an hour`;
}

// What somebody marks to copy it must not be replaced under the hand.
function marked(part) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(part, true);
}

function take(fresh) {
  fresh.querySelectorAll("[data-rate]").forEach(rate);
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const shown = document.getElementById(part.id);
    if (!shown.isEqualNode(part) && !marked(shown)) shown.replaceWith(document.adoptNode(part));
  }
  say(fresh.getElementById("state"), fresh.title);
  document.body.classList.remove("old");
}

function say(state, title) {
  const shown = document.getElementById("state");
  if (shown.textContent !== state.textContent) shown.replaceChildren(...state.cloneNode(true).childNodes);
  shown.className = state.className;
  document.title = title;
}

function lost() {
  const state = document.createElement("p");
  state.className = "bad";
  state.textContent = "✗ The daemon does not answer; what is below is old";
  say(state, "✗ no answer – swf-bridge");
  document.body.classList.add("old");
}

async function refresh() {
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.statusText);
    take(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    lost();
  }
  setTimeout(refresh, INTERVAL);
}

document.querySelectorAll("[data-rate]").forEach(rate);
setTimeout(refresh, INTERVAL);
