// The page's side of the worker: one that does not answer, or has died, is replaced.
import type { Config } from "./config.js";
import type { PageMessage, WorkerMessage } from "./messages.js";

/** Milliseconds that a new model may take, a long gradient before it included. */
const PATIENCE = 4000;

type StartRequest = Extract<PageMessage, { kind: "start" }>;

export class Session {
  #worker: Worker | undefined;
  #run = 0;
  #answered = 0;
  /** The latest model that was asked for, as it is to be set by now. */
  #wanted: StartRequest | undefined;
  /** A model that was made when another had already been asked for. */
  #passed: WorkerMessage | undefined;
  #waiting: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly onReport: (report: WorkerMessage) => void,
    readonly onDeath: (message: string) => void,
  ) {}

  /** A new model; training begins if `running`. Gives the number of the run. */
  start(config: Config, running: boolean): number {
    const wanted: StartRequest = { kind: "start", run: ++this.#run, config, running };
    this.#wanted = wanted;
    // The first answer may have to wait for the module to come over a slow line.
    const replaceable = this.#answered > 0;
    this.send(wanted);
    clearTimeout(this.#waiting);
    if (!replaceable) return wanted.run;
    this.#waiting = setTimeout(() => {
      this.#end();
      this.send(wanted);
    }, PATIENCE);
    return wanted.run;
  }

  /** Estimates the parameters of the latest model. */
  estimate(): void {
    this.send({ kind: "estimate", run: this.#run });
  }

  load(file: Uint8Array): void {
    this.send({ kind: "load", run: ++this.#run, file });
  }

  send(request: PageMessage): void {
    if (this.#wanted && request.kind === "configure") this.#wanted.config = request.config;
    if (this.#wanted && ["run", "pause", "step"].includes(request.kind)) this.#wanted.running = request.kind === "run";
    this.#worker ??= this.#make();
    this.#worker.postMessage(request);
  }

  #make(): Worker {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker.addEventListener("message", ({ data }: MessageEvent<WorkerMessage>) => {
      if (data.run === this.#run) clearTimeout(this.#waiting);
      if (data.kind === "started") {
        this.#answered = data.run;
        this.#passed = data.run === this.#run ? undefined : data;
      }
      // A file or a text that was refused leaves the model before it in place.
      if (data.kind === "failed" && data.run === this.#run && data.run > this.#answered) {
        this.#run = this.#answered;
        if (this.#passed) this.onReport(this.#passed);
        this.#passed = undefined;
      }
      if (data.run === this.#run || data.kind === "failed") this.onReport(data);
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#end();
      this.onDeath(event.message || "it could not be loaded");
    });
    return worker;
  }

  #end(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}
