// Keeps a page's values fresh: fetches the page again and takes over what changed. When the hub does
// not answer, the page says so and dims its values, so that no old number passes for a new one.

const FETCH_TIMEOUT_MS = 15000;
const area = document.querySelector("[data-live-list]");
const banner = document.getElementById("connection");
const periodMs = Number(area.dataset.refreshS) * 1000;
let freshAt = new Date();

function byKey(root) {
  return new Map([...root.querySelectorAll("[data-live]")].map((element) => [element.dataset.live, element]));
}

function sameKeys(a, b) {
  return a.size === b.size && [...a.keys()].every((key) => b.has(key));
}

function takeOver(fresh) {
  const freshArea = fresh.querySelector("[data-live-list]");
  if (!freshArea) return;
  if (!sameKeys(byKey(area), byKey(freshArea))) {
    area.innerHTML = freshArea.innerHTML;
  }
  const present = byKey(document);
  for (const [key, element] of byKey(fresh)) {
    const old = present.get(key);
    if (old && old.outerHTML !== element.outerHTML) old.replaceWith(element);
  }
}

function showConnection(problem) {
  document.body.classList.toggle("old-page", Boolean(problem));
  banner.hidden = !problem;
  banner.textContent = problem ? `${problem} Values below are as of ${freshAt.toLocaleTimeString()}.` : "";
}

async function refresh() {
  let response;
  try {
    response = await fetch(location.href, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
  } catch {
    showConnection("The hub cannot be reached.");
    return;
  }
  if (response.redirected) {
    location.reload();
    return;
  }
  if (!response.ok) {
    showConnection("The hub cannot answer just now.");
    return;
  }
  takeOver(new DOMParser().parseFromString(await response.text(), "text/html"));
  freshAt = new Date();
  showConnection("");
}

async function keepFresh() {
  if (!document.hidden) await refresh().catch(() => showConnection("The hub cannot be reached."));
  setTimeout(keepFresh, periodMs);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && new Date() - freshAt > periodMs) refresh();
});
setTimeout(keepFresh, periodMs);
