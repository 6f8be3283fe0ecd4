/**
 * What options are called in other libraries, in small letters without underscores, and what they are called here: the first of
 * the names that a function takes is the one that is meant. Names that differ in spelling alone, such as `max_step`, need none.
 */
export const ALIASES: Readonly<Record<string, readonly string[]>> = {
  // torchdiffeq
  solver: ["method"],
  eventfn: ["events"],
  interp: ["output"],
  maxnumsteps: ["maxSteps"],
  ifactor: ["maxFactor"],
  dfactor: ["minFactor"],
  adjointoptions: ["adjoint"],
  adjointmethod: ["adjoint"],
  adjointrtol: ["adjoint"],
  adjointatol: ["adjoint"],
  jumpt: ["jumps"],
  stept: ["jumps"],
  gridpoints: ["jumps"],
  // diffrax
  dt0: ["firstStep"],
  dtmin: ["minStep"],
  dtmax: ["maxStep"],
  factormin: ["minFactor"],
  factormax: ["maxFactor"],
  stepsizecontroller: ["controller"],
  pcoeff: ["controller"],
  icoeff: ["controller"],
  dcoeff: ["controller"],
  throw: ["onFailure"],
  jumpts: ["jumps"],
  stepts: ["jumps"],
  event: ["events"],
  condfn: ["when"],
  // SciPy's solve_ivp
  args: ["arguments"],
  fun: ["slope"],
  f: ["slope"],
  fn: ["slope"],
  func: ["slope"],
  rhs: ["slope"],
  dynamics: ["slope"],
  forward: ["slope"],
  denseoutput: ["dense"],
  // LSODA, MATLAB, Octave
  h0: ["firstStep"],
  hmin: ["minStep"],
  hmax: ["maxStep"],
  mxstep: ["maxSteps"],
  initialstep: ["firstStep"],
  outputfcn: ["onStep"],
  // SciML
  alg: ["method"],
  dtinit: ["firstStep"],
  internalnorm: ["norm"],
  condition: ["when"],
  affect: ["set"],
  tstops: ["jumps"],
  saveeverystep: ["saveSteps"],
  ensemblealg: ["batching"],
  reltol: ["rtol"],
  abstol: ["atol"],
  dt: ["stepSize"],
  h: ["stepSize"],
  tol: ["rtol"],
  tolerance: ["rtol"],
  maxiters: ["maxSteps", "maxIterations"],
  qmin: ["minFactor"],
  qmax: ["maxFactor"],
  sensealg: ["gradient"],
  progressmeter: ["progress"],
  verbose: ["progress"],
  numthreads: ["threads", "workers"],
  nthreads: ["threads", "workers"],
  njobs: ["workers", "threads"],
  // PyTorch and optax
  lr: ["learningRate"],
  eps: ["epsilon"],
  b1: ["beta1"],
  b2: ["beta2"],
  betas: ["beta1"],
  maxnorm: ["clipNorm"],
  clipgradnorm: ["clipNorm"],
  scheduler: ["schedule"],
  lrscheduler: ["schedule"],
  batchsize: ["batch"],
  lossfn: ["loss"],
  clip: ["clipNorm"],
  maxgradnorm: ["clipNorm"],
  gradientclipval: ["clipNorm"],
  earlystopping: ["patience"],
  numsteps: ["steps"],
  maxiter: ["maxIterations", "steps"],
  tolerancegrad: ["gradientTolerance"],
  decayrate: ["factor"],
  // That of SciML is the safety factor of steps.
  gamma: ["factor", "safety"],
  transitionsteps: ["steps"],
  decaysteps: ["steps"],
  tmax: ["steps"],
  endvalue: ["least"],
  alpha: ["least"],
  etamin: ["least"],
  mindelta: ["leastGain"],
  layersizes: ["widths"],
  layers: ["widths"],
  hidden: ["widths"],
  insize: ["widths"],
  outsize: ["widths"],
  depth: ["widths"],
  widthsize: ["widths"],
  hiddensize: ["widths"],
  act: ["activation"],
  nonlinearity: ["activation"],
  usebias: ["bias"],
  key: ["seed"],
  randomstate: ["seed"],
  // SciPy's least_squares and curve_fit, R's nls, lmfit
  p0: ["parameters"],
  x0: ["parameters"],
  params: ["parameters"],
  start: ["parameters"],
  bounds: ["parameters"],
  min: ["lower"],
  max: ["upper"],
  lower: ["parameters"],
  upper: ["parameters"],
  ftol: ["costTolerance"],
  xtol: ["stepTolerance"],
  gtol: ["gradientTolerance"],
  fscale: ["lossScale"],
  maxnfev: ["maxIterations"],
  callback: ["onIteration", "events"],
  itercb: ["onIteration"],
  nstarts: ["starts"],
  confidence: ["level"],
  absolutesigma: ["noise"],
  scalecovar: ["noise"],
  // Priors in Stan, PyMC and pyPESTO
  prior: ["parameters"],
  priors: ["prior", "parameters"],
  mu: ["mean", "median"],
  sigma: ["sd", "logSd"],
  std: ["sd", "logSd"],
  regularization: ["prior", "parameters"],
  y0: ["data"],
  times: ["data"],
  // Measurements elsewhere here, and in general
  values: ["y"],
  observations: ["y"],
  mask: ["weights"],
  weight: ["weights"],
  id: ["name"],
};

/** The same for the entries of batches and trajectories. */
export const DATA_ALIASES: Readonly<Record<string, readonly string[]>> = {
  t: ["times"],
  ts: ["times"],
  y: ["values", "target"],
  ys: ["values", "target"],
  x: ["values"],
  labels: ["target"],
  target: ["values"],
  mask: ["weights"],
  masks: ["mask", "weights"],
  weight: ["mask", "weights"],
  weights: ["mask"],
  x0: ["y0"],
  args: ["arguments"],
};

/** The same for what is no option here: what does it instead. */
export const INSTEAD: Readonly<Record<string, string>> = {
  // torchdiffeq
  options: "they go next to the other options, not in a separate object",
  adjointparams: "gradients are with respect to all parameters of the field",
  // diffrax
  saveat: "outputs are at the argument times; the options dense and saveSteps keep more of a solution",
  t0: "the argument times begins with it",
  t1: "the argument times ends with it",
  // SciPy's solve_ivp
  tspan: "the argument times begins and ends with them",
  teval: "outputs are at the argument times",
  args: "the field has its parameters, in field.parameters",
  p: "the field has its parameters, in field.parameters",
  parameters:
    "the field has its parameters, in field.parameters; numbers that differ between trajectories are arguments",
  params: "the field has its parameters, in field.parameters; numbers that differ between trajectories are arguments",
  jac: "derivatives are exact, and you need not write them",
  // SciML
  adaptive: "steps follow the tolerances, unless steps or stepSize fixes them",
  saveidxs: "outputs have all features of the state",
  isoutofdomain: "an event can end the trajectory, and maxStep bounds steps",
  // joblib and its like
  workers: "parallel({ workers }) makes a pool, which has odeint, vjp and valueAndGrad",
  pool: "a pool has methods of its own, odeint, vjp and valueAndGrad; leastSquares runs on one thread: for more starts at once, run it in workers of your own with a seed each, and keep the result with the least cost",
  // SciPy's curve_fit, R's nls
  sigma: "weights of the measurements, 1 / sigma^2, belong to data: { times, y, y0, weights }",
  weights: "they belong to data: { times, y, y0, weights }",
  // What stands at another place
  terminal: "it is an option of an event: events: [{ when, terminal: true }]",
  direction: "it is an option of an event: events: [{ when, direction }]",
  jumps: "they go next to data, with a list of times for each trajectory",
  learningrate: "it is an option of the optimizer, adam(field, { learningRate }); schedule changes it",
  // PyTorch and optax
  initvalue: "the first argument is the initial rate of a schedule",
  warmupsteps: "the function warmUp(steps, then) makes such a schedule",
  patience: "it belongs to validation: { data, patience }",
  signal: "a solve ends where progress throws",
  epochs: "for 3 epochs of minibatches write steps: 3 * data.length",
};

/** The same for the entries of batches. */
export const BATCH_INSTEAD: Readonly<Record<string, string>> = {
  values: "minibatches({ trajectories }) makes batches of { times, values }",
};

/** The same for the entries of trajectories. */
export const TRAJECTORY_INSTEAD: Readonly<Record<string, string>> = {
  jumps: "they go next to trajectories, with a list of times for each of them",
};

/** What values of options are called elsewhere, in small letters without signs, and what they are called here. */
export const VALUES: Readonly<Record<string, readonly string[]>> = {
  // Methods: of SciPy, MATLAB, R and SciML.
  rk45: ["dopri5"],
  ode45: ["dopri5"],
  dp5: ["dopri5"],
  rk23: ["bosh3"],
  ode23: ["bosh3"],
  bs3: ["bosh3"],
  dop853: ["dopri8"],
  dp8: ["dopri8"],
  rkf45: ["dopri5"],
  vern7: ["dopri8"],
  vern9: ["dopri8"],
  // Multistep methods with the orders of their step.
  ode113: ["dopri8"],
  vcabm: ["dopri8"],
  explicitadams: ["rk4"],
  verlet: ["leapfrog"],
  velocityverlet: ["leapfrog"],
  verletleapfrog: ["leapfrog"],
  // Gradients: of diffrax and SciML.
  recursivecheckpointadjoint: ["auto"],
  directadjoint: ["backprop"],
  backsolveadjoint: ["adjoint"],
  interpolatingadjoint: ["adjoint"],
  quadratureadjoint: ["adjoint"],
  // Controllers, number types and activations.
  picontroller: ["pi"],
  pidcontroller: ["standard"],
  double: ["float64"],
  f64: ["float64"],
  float: ["float32"],
  single: ["float32"],
  f32: ["float32"],
  swish: ["silu"],
  logistic: ["sigmoid"],
  linear: ["identity"],
  none: ["identity"],
};

/** How the names of implicit methods begin in SciPy, MATLAB, R, diffrax, SciML and torchdiffeq, written as the values above. */
export const IMPLICIT: readonly string[] =
  "bdf radau lsod vode cvode dasp ode15s ode23s ode23t implicit backwardeuler trapezoid cranknicolson kvaerno kencarp trbdf qndf fbdf ros rodas auto".split(
    " ",
  );
