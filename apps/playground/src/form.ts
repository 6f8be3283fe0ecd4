// The settings as controls: each change is checked by the rule of its name.
import { type Config, changed, conflict, isFixed, RULES, TASKS, type TaskName } from "./config.js";
import { byId, element } from "./dom.js";

type Control = HTMLInputElement | HTMLSelectElement;

const form = byId<HTMLFormElement>("settings");
const tasks = byId("tasks");
const controls = [...form.elements].filter((control): control is Control => "name" in control && control.name !== "");

/** Fills in the choices, and calls back with a changed record, or with what is wrong. */
export function setUp(
  present: () => Config,
  onChange: (config: Config) => void,
  onRefused: (why: string) => void,
): void {
  for (const [name, { title }] of Object.entries(TASKS)) {
    const radio = element("input", { type: "radio", name: "task", value: name });
    radio.addEventListener("change", () => change("task", name));
    tasks.append(element("label", {}, radio, element("span", {}, title)));
  }
  for (const control of controls) {
    const name = control.name as keyof Config;
    const { choices } = RULES[name];
    if (control instanceof HTMLSelectElement && control.options.length === 0) {
      control.append(...(choices ?? []).map((choice) => element("option", { value: String(choice) }, String(choice))));
    }
    control.addEventListener("change", () => change(name, control.value));
    control.addEventListener("input", () => showOutput(control, control.value));
  }
  form.addEventListener("submit", (event) => event.preventDefault());

  function change(name: keyof Config, text: string): void {
    const result = changed(present(), name, text);
    if (typeof result !== "string") {
      onChange(result);
      return;
    }
    const label = form.querySelector(`label:has([name=${name}])`)?.firstChild?.textContent?.trim();
    onRefused(label ? result.replace(name, label) : result);
    show(present());
  }
}

/** Shows a record. */
export function show(config: Config): void {
  for (const radio of tasks.querySelectorAll("input")) radio.checked = (radio.value as TaskName) === config.task;
  byId("data-settings").hidden = config.task !== "equations";
  byId("throw-settings").hidden = config.task !== "bounce";
  for (const control of controls) {
    control.value = String(config[control.name as keyof Config]);
    control.disabled = isIdle(config, control.name as keyof Config);
    control.closest("label")?.classList.toggle("idle", control.disabled);
    // The value in use: a slider may have none so fine.
    showOutput(control, String(config[control.name as keyof Config]));
  }
  for (const option of form.querySelectorAll<HTMLOptionElement>("[name=method] option, [name=gradient] option")) {
    const name = option.closest("select")?.name as keyof Config;
    const why = conflict(config, name, option.value as Config[keyof Config]);
    option.disabled = why !== undefined;
    option.textContent = why ? `${option.value} (${why})` : option.value;
  }
}

/** Whether a setting changes nothing as the others are. */
function isIdle({ task, data, gradient, method, stepping }: Config, name: keyof Config): boolean {
  const network = task !== "equations" && task !== "bounce";
  if (!network && ["layers", "width", "activation"].includes(name)) return true;
  if (name === "duration" || name === "noise") return data !== "samples";
  if (name === "budget") return gradient !== "auto";
  if (name === "stepping") return isFixed(method);
  if (name === "steps") return stepping !== "fixed";
  return name === "tolerance" && stepping !== "tolerance";
}

function showOutput(control: Control, value: string): void {
  const output = control.closest("label")?.querySelector("output");
  if (output) output.value = value;
}
