// On every page: exchange of parts, times that stay true, and a word when the network is gone.
import "htmx.org";
import "./style.css";

const connection = document.querySelector<HTMLElement>("[data-connection]");

/** Show why the page may be out of date, or that it is not. The reasons stand translated in the page. */
export function connected(reason: "" | "lost" | "offline"): void {
  const words = connection?.querySelector("span");
  if (!connection || !words) return;
  words.textContent = reason ? (words.dataset[reason] ?? "") : "";
  connection.hidden = !reason;
}

window.addEventListener("offline", () => connected("offline"));
window.addEventListener("online", () => connected(""));
if (!navigator.onLine) connected("offline");

if ("serviceWorker" in navigator) {
  void navigator.serviceWorker.register("/sw.js");
}
