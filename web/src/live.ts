// Follows a platform's changes (server-sent events) and writes them into the page.
import { connected } from "./base";

export interface Text {
  text: string;
  symbol: string;
  share: number | null;
  suspect: boolean;
  missing: boolean;
  colour: string;
}

export type State = "good" | "watch" | "alarm" | "suspect" | "silent";

export interface Thing {
  id: string;
  type: string;
  name: string;
  state: State;
  colour: string;
  word: string;
  at: number | null;
  time: string;
  point: [number, number] | null;
  values: Record<string, number | string | null>;
  texts: Record<string, Text>;
}

export interface Change {
  at: string;
  things: Thing[];
  gone: string[];
  summary: Record<string, string>;
}

/** Listen to the stream that the page names. `on` gets each change; `reset` is called when too much was missed. */
export function follow(page: HTMLElement, on: (change: Change) => void, reset: () => void): void {
  const address = `${page.dataset["stream"]}&since=${page.dataset["since"]}`;
  const source = new EventSource(address);
  source.addEventListener("change", (event) => on(JSON.parse((event as MessageEvent<string>).data) as Change));
  source.addEventListener("reset", reset);
  source.addEventListener("open", () => connected(""));
  source.addEventListener("error", () => connected(navigator.onLine ? "lost" : "offline"));
  window.addEventListener("pagehide", () => source.close());
}

/** Write a state's icon and word as the server would: the page's legend holds a copy of each. */
export function stateOf(state: State, word: string): Node | null {
  const legend = document.querySelector(`.legend .state-${state}`)?.closest(".state");
  if (legend) return legend.cloneNode(true);
  const plain = document.createElement("span");
  plain.className = `state state-${state}`;
  plain.textContent = word;
  return plain;
}

/** Write one value into its cell. */
export function write(cell: Element, value: Text): void {
  const reading = cell.querySelector(".reading");
  if (!reading) return;
  reading.classList.toggle("suspect", value.suspect);
  reading.classList.toggle("missing", value.missing);
  const inside: Node[] = [];
  if (value.missing) {
    inside.push(span("hatched", ""));
  } else {
    if (value.colour) inside.push(swatch(value.colour));
    inside.push(span("figure", value.text));
    if (value.symbol) inside.push(span("unit", value.symbol));
  }
  reading.replaceChildren(...inside);
  cell.querySelector(".share-part")?.setAttribute("width", String(48 * (value.share ?? 0)));
}

/** A small square of a colour that a standard gives. */
function swatch(colour: string): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("class", "swatch");
  made.setAttribute("viewBox", "0 0 12 12");
  made.setAttribute("aria-hidden", "true");
  const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ x: "0.5", y: "0.5", width: "11", height: "11", rx: "2", fill: colour })) {
    square.setAttribute(name, value);
  }
  made.append(square);
  return made;
}

export function summarise(summary: Record<string, string>): void {
  for (const [name, text] of Object.entries(summary)) {
    for (const place of document.querySelectorAll(`[data-live="${CSS.escape(name)}"]`)) {
      if (place.textContent !== text) place.textContent = text;
    }
  }
}

export function span(name: string, text: string): HTMLElement {
  const made = document.createElement("span");
  made.className = name;
  made.textContent = text;
  return made;
}
