// Colours of the page as the canvas needs them, and those of the gradients.
import type { GradientMethod } from "symplectic-adjoint/slim";
import { GRADIENT_COLOURS } from "../../../bench/shared/gradients.mjs";

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Sets --symplectic and so on, lighter on a dark page. */
export function setGradientColours(): void {
  for (const [method, colour] of Object.entries(GRADIENT_COLOURS)) {
    const shown = dark.matches ? `color-mix(in oklab, ${colour} 68%, white)` : colour;
    document.documentElement.style.setProperty(`--${method}`, shown);
  }
}

export type ColourName = "ink" | "soft" | "faint" | "rule" | "panel" | "second" | GradientMethod;

/** A colour of the style sheet, resolved; so much of it, in percent. */
export function colour(name: ColourName, part = 100): string {
  const probe = document.createElement("i");
  probe.style.color = part === 100 ? `var(--${name})` : `color-mix(in srgb, var(--${name}) ${part}%, transparent)`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

export function onSchemeChange(listener: () => void): void {
  dark.addEventListener("change", listener);
}
