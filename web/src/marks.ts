// Points and rings of the map, drawn once each: a form for each state, a ring that shows what a cluster is made of.
import type { State } from "./live";
import { STATES, colour, font, token } from "./theme";

const RATIO = 2;
const POINT = 22;

export interface Mark {
  image: ImageData;
  ratio: number;
}

function canvas(size: number): [CanvasRenderingContext2D, () => Mark] {
  const made = document.createElement("canvas");
  made.width = made.height = size * RATIO;
  const pen = made.getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error("no canvas to draw on");
  pen.scale(RATIO, RATIO);
  return [pen, () => ({ image: pen.getImageData(0, 0, size * RATIO, size * RATIO), ratio: RATIO })];
}

/** Circle good, diamond watch, triangle alarm, dotted square suspect, dashed ring silent; `own` colour where given. */
export function point(state: State, chosen: boolean, own = ""): Mark {
  const [pen, done] = canvas(POINT);
  const middle = POINT / 2;
  pen.translate(middle, middle);
  if (chosen) {
    pen.beginPath();
    pen.arc(0, 0, 9.5, 0, 2 * Math.PI);
    pen.fillStyle = token("surface");
    pen.fill();
    pen.strokeStyle = token("indigo");
    pen.lineWidth = 2.5;
    pen.stroke();
  }
  pen.beginPath();
  const size = state === "good" && !own ? 4.5 : 6;
  if (state === "alarm") {
    pen.moveTo(0, -size - 0.5);
    pen.lineTo(size + 0.5, size * 0.8);
    pen.lineTo(-size - 0.5, size * 0.8);
    pen.closePath();
  } else if (state === "watch") {
    pen.moveTo(0, -size);
    pen.lineTo(size, 0);
    pen.lineTo(0, size);
    pen.lineTo(-size, 0);
    pen.closePath();
  } else if (state === "suspect") {
    pen.rect(-4.5, -4.5, 9, 9);
  } else {
    pen.arc(0, 0, size - (state === "silent" ? 1 : 0), 0, 2 * Math.PI);
  }
  const hollow = state === "silent" || state === "suspect";
  pen.fillStyle = hollow ? token("surface") : own || colour(state);
  pen.strokeStyle = hollow ? colour(state) : token(own ? "ink" : "surface");
  pen.lineWidth = hollow ? 2 : 1.2;
  pen.setLineDash(state === "silent" ? [3, 2] : state === "suspect" ? [2, 1.6] : []);
  pen.fill();
  pen.stroke();
  return done();
}

/** A cluster of things: a ring whose parts are the shares of the states, with their number inside. */
export function ring(counts: readonly number[]): Mark {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const radius = 13 + Math.min(11, Math.log10(total) * 7);
  const size = Math.ceil(radius * 2 + 8);
  const [pen, done] = canvas(size);
  pen.translate(size / 2, size / 2);
  pen.beginPath();
  pen.arc(0, 0, radius + 3, 0, 2 * Math.PI);
  pen.fillStyle = token("surface");
  pen.fill();
  let at = -Math.PI / 2;
  STATES.forEach((state, n) => {
    const count = counts[n] ?? 0;
    if (!count) return;
    const to = at + (2 * Math.PI * count) / total;
    pen.beginPath();
    pen.arc(0, 0, radius, at, to);
    pen.strokeStyle = colour(state);
    pen.lineWidth = 5;
    pen.setLineDash(state === "silent" ? [3, 2] : state === "suspect" ? [1.5, 1.5] : []);
    pen.stroke();
    at = to;
  });
  pen.fillStyle = token("ink");
  pen.font = `600 13px ${font()}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(total >= 1000 ? `${Math.round(total / 100) / 10}k` : String(total), 0, 1);
  return done();
}
