// A thing's page: values and chart kept live.
import type { LiveChart } from "./chart";
import { type Change, follow, stateOf, write } from "./live";

const page = document.querySelector<HTMLElement>("[data-live-page]");
let chart: LiveChart | null = null;
let figure: HTMLElement | null = null;

function change(news: Change): void {
  const thing = news.things.find(({ id }) => id === page?.dataset["thing"]);
  if (!thing) return;
  for (const [name, text] of Object.entries(thing.texts)) {
    const cell = document.querySelector(`.values [data-cell="${CSS.escape(name)}"]`);
    if (!cell || text.missing) continue;
    write(cell, text);
    const time = cell.parentElement?.querySelector("[data-time]");
    if (time) time.textContent = thing.time;
  }
  const place = document.querySelector("[data-live-state]");
  const state = stateOf(thing.state, thing.word);
  if (place && state && !place.querySelector(`.state-${thing.state}`)) place.replaceChildren(state);
  const shown = figure?.dataset["property"] ?? "";
  const value = thing.values[shown];
  if (thing.at !== null && typeof value === "number") chart?.add(thing.at, value, thing.texts[shown]?.suspect ?? false);
}

/** The chart is exchanged with its part of the page when another range or property is chosen. */
async function draw(): Promise<void> {
  const found = document.querySelector<HTMLElement>("[data-chart]");
  if (found === figure) return;
  chart?.close();
  chart = null;
  figure = found;
  if (!found) return;
  const { liveChart } = await import("./chart");
  const made = await liveChart(found);
  if (figure === found) chart = made;
  else made?.close();
}

if (page) follow(page, change, () => location.reload());
const panel = document.querySelector(".history-panel");
if (panel) new MutationObserver(() => void draw()).observe(panel, { childList: true });
await draw();
