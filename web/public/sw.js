// Shows a page of its own when the city cannot be reached. Nothing else is kept: figures must never be stale unseen.
const KEPT = "offline-1";
const PAGES = ["/zh/offline", "/en/offline"];

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(KEPT).then(async (cache) => {
      for (const page of PAGES) {
        const answer = await fetch(page);
        const text = await answer.clone().text();
        await cache.put(page, answer);
        const styles = [...text.matchAll(/href="(\/static\/[^"]+\.css)"/g)].map((found) => found[1]);
        await cache.addAll(styles);
      }
    }).then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode === "navigate") {
    const lang = new URL(request.url).pathname.startsWith("/en") ? "en" : "zh";
    event.respondWith(fetch(request).catch(() => caches.match(`/${lang}/offline`)));
  } else if (request.destination === "style") {
    event.respondWith(fetch(request).catch(() => caches.match(request)));
  }
});
