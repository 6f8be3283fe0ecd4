// Messages on the page: one of a kind at a time, each with what can be done about it.
import { byId, element } from "./dom.js";

export interface Action {
  readonly text: string;
  run(): void;
}

const region = byId("notices");

export function notice(kind: string, text: string, actions: readonly Action[] = [], urgent = true): void {
  // One that stands there already is not announced again.
  if (region.querySelector(`[data-kind="${kind}"] p`)?.textContent === text) return;
  dismiss(kind);
  const buttons = actions.map(({ text, run }) => {
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", () => {
      dismiss(kind);
      run();
    });
    return button;
  });
  const close = element("button", { type: "button", class: "close", "aria-label": "Dismiss this message" }, "×");
  close.addEventListener("click", () => dismiss(kind));
  const role = urgent ? { role: "alert" } : {};
  region.append(
    element("div", { class: "notice", "data-kind": kind, ...role }, element("p", {}, text), ...buttons, close),
  );
}

export function dismiss(kind: string): void {
  for (const old of region.querySelectorAll(`[data-kind="${kind}"]`)) old.remove();
}
