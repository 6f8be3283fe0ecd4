// Colours of the page as the canvas needs them, and those of the methods.
import type { GradientMethod } from "symplectic-adjoint/slim";
import { METHOD_COLOURS } from "../../../bench/shared/gradients.mjs";

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Sets --symplectic and so on, lighter on a dark page. */
export function setMethodColours(): void {
  for (const [method, colour] of Object.entries(METHOD_COLOURS)) {
    const shown = dark.matches ? `color-mix(in oklab, ${colour} 68%, white)` : colour;
    document.documentElement.style.setProperty(`--${method}`, shown);
  }
}

/** A colour of the style sheet, resolved. */
export function colour(name: "ink" | "soft" | "faint" | "rule" | "panel" | "second" | GradientMethod): string {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

export function onSchemeChange(listener: () => void): void {
  dark.addEventListener("change", listener);
}
