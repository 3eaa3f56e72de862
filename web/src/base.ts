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

/** Ask the server; nothing where it cannot be reached: the page keeps what it shows, and says that it is out of date. */
export async function ask(address: string): Promise<Response | undefined> {
  try {
    const answer = await fetch(address);
    return answer.ok ? answer : undefined;
  } catch {
    return undefined;
  }
}

window.addEventListener("offline", () => connected("offline"));
window.addEventListener("online", () => connected(""));
if (!navigator.onLine) connected("offline");

if ("serviceWorker" in navigator) {
  void navigator.serviceWorker.register("/sw.js");
}
