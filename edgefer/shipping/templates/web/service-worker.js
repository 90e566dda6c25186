/**
 * Keeps the page for times without a network: whatever edgefer-bundle.json names, but for the
 * golden files and the builds of LiteRT.js that this browser does not use.
 *
 * With a network everything comes from there, so that a newer bundle is seen at once.
 */

const CACHE = "edgefer";
const BUILD = new URL(self.location).searchParams.get("build");

self.addEventListener("install", (event) => {
  event.waitUntil(keepAll().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const isOwn = event.request.url.startsWith(self.registration.scope);
  if (event.request.method === "GET" && isOwn) event.respondWith(answered(event.request));
});

async function keepAll() {
  const manifest = await (await fetch("edgefer-bundle.json", { cache: "no-cache" })).json();
  const names = Object.keys(manifest.files).filter(isKept);
  const cache = await caches.open(CACHE);
  await cache.addAll(["./", ...names].map((name) => new Request(name, { cache: "no-cache" })));
}

function isKept(name) {
  const isOtherBuild = name.startsWith("litert/") && !name.includes(`/${BUILD}.`);
  return !name.startsWith("golden/") && !isOtherBuild;
}

/** Answers from the network, or from what was kept where there is none. */
async function answered(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  try {
    const response = await fetch(request);
    if (kept && response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}
