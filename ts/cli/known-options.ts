// Hints for users who try the names that options have in other tools.

/** Names from other tools, in lower case and without dashes, with the options that are meant, in order of preference. */
const OPTION_ALIASES: Readonly<Record<string, readonly string[]>> = {
  lr: ["--learning-rate"],
  rate: ["--learning-rate"],
  epochs: ["--steps", "--max-iterations"],
  iterations: ["--steps", "--max-iterations"],
  iters: ["--steps", "--max-iterations"],
  maxiter: ["--max-iterations", "--steps"],
  maxsteps: ["--steps"],
  wd: ["--weight-decay"],
  l2: ["--weight-decay"],
  decay: ["--weight-decay"],
  batchsize: ["--batch"],
  bs: ["--batch"],
  layers: ["--hidden", "--depth"],
  units: ["--hidden", "--width"],
  hiddensize: ["--hidden", "--width"],
  nhidden: ["--hidden", "--width"],
  earlystopping: ["--patience"],
  valsplit: ["--validation"],
  validationsplit: ["--validation"],
  testsize: ["--validation"],
  randomstate: ["--seed"],
  output: ["--out"],
  o: ["--out"],
  save: ["--out"],
  columns: ["--state", "--observe"],
  features: ["--state"],
  group: ["--id"],
  subject: ["--id"],
  trajectory: ["--id"],
  t: ["--time"],
  sep: ["--delimiter"],
  separator: ["--delimiter"],
  dec: ["--decimal"],
  na: ["--missing"],
  navalues: ["--missing"],
  nastrings: ["--missing"],
  solver: ["--method"],
  tol: ["--rtol"],
  tolerance: ["--rtol"],
  reltol: ["--rtol"],
  abstol: ["--atol"],
  model: ["--equations"],
  ode: ["--equations"],
  y0: ["--initial", "--at"],
  x0: ["--initial", "--at"],
  init: ["--start", "--initial"],
  p0: ["--start"],
  guess: ["--start"],
  params: ["--parameters", "--start"],
  parameters: ["--start"],
  start: ["--parameters"],
  fix: ["--parameters"],
  arguments: ["--parameters"],
  at: ["--initial"],
  param: ["--parameters", "--start"],
  p: ["--parameters", "--start"],
  fixed: ["--fix"],
  lower: ["--bounds"],
  upper: ["--bounds"],
  sigma: ["--sd"],
  priors: ["--prior"],
  map: ["--prior"],
  penalty: ["--prior"],
  multistart: ["--starts"],
  nstarts: ["--starts"],
  restarts: ["--starts"],
  confidence: ["--level"],
  alpha: ["--level"],
  ci: ["--level"],
  covariates: ["--arguments"],
  args: ["--arguments"],
  plot: ["--report"],
  html: ["--report"],
  grid: ["--times"],
  tspan: ["--times"],
  teval: ["--times"],
  saveat: ["--times"],
  dt: ["--step-size"],
  initialvalues: ["--initial"],
};

/** The option that is probably meant by an unknown one, if the command has it. */
export function resolveOption(given: string, known: readonly string[]): string | undefined {
  const name = given.replace(/=.*$/s, "").replace(/[-_]/g, "").toLowerCase();
  const alike = known.find((option) => option.replaceAll("-", "") === name);
  const elsewhere = Object.hasOwn(OPTION_ALIASES, name) ? (OPTION_ALIASES[name] as readonly string[]) : [];
  return alike ?? elsewhere.find((option) => known.includes(option));
}

/** What to do instead of using an unknown option. */
export function alternativeTo(given: string, known: readonly string[]): string | undefined {
  const name = given.replace(/=.*$/s, "").replace(/[-_]/g, "").toLowerCase();
  if (name === "equations" && known.includes("--parameters")) {
    return "the file of equations has no option before it: symplectic-adjoint simulate prey.txt";
  }
  if (!["doselag", "lag", "lagtime", "tlag", "alag", "alag1"].includes(name) || !known.includes("--dose-amount"))
    return undefined;
  return "a lag of doses is estimated by leastSquares, with doses as events: see A lag before doses in docs/pharmacokinetics.md";
}
