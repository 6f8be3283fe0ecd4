// symplectic-adjoint sweeps: lists, shows and removes the sweeps on the servers.
import type { SweepSummary } from "../cluster.js";
import { SymplecticAdjointError } from "../index.js";
import { Failure } from "./failure.js";
import { counted } from "./number.js";
import { type ServerRequest, serverOptions } from "./servers.js";

/** Rows of sweeps, with a header. */
export function rowsOfSweeps(sweeps: readonly SweepSummary[]): string[][] {
  const now = Date.now();
  return [
    ["name", "trials", "runs", "failed", "waiting", "begun", "last result"],
    ...sweeps.map(({ name, trials, ended, total, failed, waiting, begun, last }) => [
      ...[name, String(trials), `${ended} of ${total}`, String(failed), String(waiting), dateOf(begun)],
      last === undefined ? "none" : `${ageOf(now - last.getTime())} ago`,
    ]),
  ];
}

function dateOf(date: Date): string {
  const two = (number: number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** How long ago a time was; the clocks of the servers may differ from this one. */
function ageOf(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

/** The error for a sweep that does not exist. */
export const noSweep = (name: string, names: readonly string[]): Failure =>
  new Failure(
    `no sweep named ${name} on these servers; there ${names.length === 0 ? "are none" : `${names.length === 1 ? "is" : "are"} ${names.join(", ")}`}`,
    2,
  );

/** The sweeps on the servers; errors are in terms of the command. */
export async function sweepsOn(request: ServerRequest) {
  const { listSweeps, readSweep, removeSweep } = await import("../cluster.js");
  const servers = await serverOptions(request);
  const list = () => listSweeps(servers).catch((error) => Promise.reject(inWords(error)));
  /** Rewrites errors about one sweep. */
  const about = async (name: string, error: unknown): Promise<never> => {
    const { argument } = error as SymplecticAdjointError;
    if (!(error instanceof SymplecticAdjointError) || !["name", "force"].includes(argument ?? "")) throw inWords(error);
    const sweeps = await list();
    const found = sweeps.find((sweep) => sweep.name === name);
    const names = sweeps.map((sweep) => sweep.name);
    if (!found) throw noSweep(name, names);
    const waiting = counted(found.waiting, "trial");
    throw new Failure(`${name} has ${waiting} that wait or run: --force removes it all the same`, 2);
  };
  return {
    list,
    read: (name: string) => readSweep(name, servers).catch((error) => about(name, error)),
    remove: (name: string, force: boolean) =>
      removeSweep(name, { ...servers, force }).catch((error) => about(name, error)),
  };
}

const inWords = (error: unknown): unknown =>
  error instanceof SymplecticAdjointError && error.code === "OPTION" ? new Failure(`--${error.message}`, 2) : error;
