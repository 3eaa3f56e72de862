// The tokens of the style sheet, for what is drawn on a canvas.
import type { State } from "./live";

export type Token = "paper" | "surface" | "ink" | "brick" | "line" | "vermilion" | "indigo" | "jade" | "amber" |
  "violet" | "land" | "land-line";

export function token(name: Token): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--color-${name}`).trim();
}

export const STATES: readonly State[] = ["alarm", "silent", "suspect", "watch", "good"]; // most urgent first
const COLOURS: Record<State, Token> = {
  alarm: "vermilion", silent: "brick", suspect: "violet", watch: "amber", good: "jade",
};

export function colour(state: State): string {
  return token(COLOURS[state]);
}

export function font(): string {
  return getComputedStyle(document.body).fontFamily;
}

/** Call when the reader changes between light and dark. */
export function onTheme(redraw: () => void): void {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

export const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
