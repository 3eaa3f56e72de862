// A platform's page: map and list that say the same, kept live.
import { ask } from "./base";
import { type Change, type Thing, follow, span, stateOf, summarise, write } from "./live";
import type { LiveMap } from "./map";

const page = document.querySelector<HTMLElement>("[data-live-page]");
const frame = document.querySelector<HTMLElement>("[data-map]");
const card = document.querySelector<HTMLElement>("[data-map-card]");
const lang = document.body.dataset["lang"] === "en" ? "en" : "zh";
let map: LiveMap | null = null;
let alerts = document.querySelector("[data-live=firing]")?.textContent;

function row(id: string): HTMLElement | null {
  return document.querySelector(`[data-thing="${CSS.escape(id)}"]`);
}

function change(news: Change): void {
  map?.change(news);
  summarise(news.summary);
  const at = document.querySelector("[data-live-at]");
  if (at) at.textContent = news.at;
  for (const thing of news.things) {
    const line = row(thing.id);
    if (line) rewrite(line, thing);
    if (thing.id === shown) fill(thing);
  }
  for (const id of news.gone) row(id)?.remove();
  if (alerts !== news.summary["firing"]) {
    alerts = news.summary["firing"];
    void renewAlerts();
  }
}

function rewrite(line: HTMLElement, thing: Thing): void {
  if (line.dataset["state"] !== thing.state) {
    line.dataset["state"] = thing.state;
    const state = stateOf(thing.state, thing.word);
    if (state) line.querySelector(".state-cell")?.replaceChildren(state);
  }
  for (const [name, text] of Object.entries(thing.texts)) {
    const cell = line.querySelector(`[data-cell="${CSS.escape(name)}"]`);
    if (cell) write(cell, text);
  }
  for (const time of line.querySelectorAll("[data-time]")) time.textContent = thing.time;
  line.classList.remove("fresh");
  requestAnimationFrame(() => line.classList.add("fresh"));
}

async function renewAlerts(): Promise<void> {
  const panel = document.querySelector<HTMLElement>("[data-alerts]");
  if (!panel) return;
  const answer = await ask(panel.dataset["alerts"] ?? "");
  if (!answer || panel.contains(document.activeElement)) return; // never take away what is being read or used
  const part = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-alerts]");
  if (part) panel.replaceWith(part);
}

let shown = "";

/** Show a card of the thing that was picked on the map or in the list; none for "". */
async function show(id: string): Promise<void> {
  document.querySelectorAll("tr.chosen").forEach((line) => line.classList.remove("chosen"));
  row(id)?.classList.add("chosen");
  shown = id;
  if (card) card.hidden = true;
  if (!id) return;
  const answer = await ask(`${frame?.dataset["card"]}?thing=${encodeURIComponent(id)}`);
  if (answer && shown === id) fill((await answer.json()) as Thing);
}

function fill(thing: Thing): void {
  if (!card) return;
  const heading = document.createElement("h3");
  const link = document.createElement("a");
  link.href = (frame?.dataset["path"] ?? "") + encodeURIComponent(thing.id).replaceAll("%3A", ":");
  link.textContent = thing.name;
  heading.append(link);
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "×";
  close.ariaLabel = lang === "en" ? "Close" : "关闭";
  close.addEventListener("click", () => select("", false));
  const values = document.createElement("dl");
  for (const [name, value] of Object.entries(thing.texts)) {
    const term = document.createElement("dt");
    term.textContent = document.querySelector(`[data-column="${CSS.escape(name)}"]`)?.textContent ?? name;
    const told = document.createElement("dd");
    told.append(value.missing ? span("hatched", "") : span("figure", value.text + value.symbol));
    values.append(term, told);
  }
  const state = stateOf(thing.state, thing.word);
  card.replaceChildren(heading, close, ...(state ? [state] : []), document.createTextNode(` ${thing.time}`), values);
  card.hidden = false;
}

/** Through the map where it is there and ready, which calls back; at once where it is not. */
function select(id: string, fly: boolean): void {
  if (map) map.choose(id, fly);
  else void show(id);
}

function link(list: HTMLElement): void {
  const of = (event: Event): string | undefined =>
    (event.target as Element).closest<HTMLElement>("[data-thing]")?.dataset["thing"];
  list.addEventListener("focusin", (event) => {
    const id = of(event);
    if (id) select(id, false);
  });
  list.addEventListener("click", (event) => {
    const id = of(event);
    if (id && !(event.target as Element).closest("a")) select(id, true);
  });
}

if (page) follow(page, change, () => location.reload());
const list = document.querySelector<HTMLElement>("#list");
if (list) link(list);
if (frame && webGl()) {
  const { liveMap } = await import("./map");
  map = await liveMap(frame, (id) => void show(id));
}

/** Without it the drawn map stays: it tells the same. */
function webGl(): boolean {
  return document.createElement("canvas").getContext("webgl2") !== null;
}
