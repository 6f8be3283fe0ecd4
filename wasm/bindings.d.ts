/* tslint:disable */
/* eslint-disable */

/**
 * An ensemble: trajectories that each take their own steps.
 */
export class Ensemble {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Where the times, the states and the polynomials of a trajectory's steps are, and how many numbers each; empty if they were not asked
     * for.
     */
    path(trajectory: number): Float64Array;
    /**
     * The gradient for ∂L/∂y and, if not empty, ∂L/∂(event times), a Float64Array, and ∂L/∂(event states).
     */
    pullback(cotangent: any, times: any, states: any): Gradient;
    stats(numbers: Float64Array): void;
    readonly eventStates: number;
    readonly eventsLength: number;
    /**
     * For each event: trajectory, event, time.
     */
    readonly events: number;
    /**
     * The trajectories that failed and why, as JSON: V8 before 12 crashes where an object of each is returned in a loop.
     */
    readonly failures: string;
    /**
     * For each trajectory: steps accepted and rejected, evaluations, the first and the last step, outputs reached.
     */
    readonly trajectories: number;
    readonly yLength: number;
    readonly y: number;
}

/**
 * A vector field with its parameters.
 */
export class Field {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * A flow with a copy of a network; `noise` is `rademacher` or `gaussian`, heeded where `trace` is `hutchinson`.
     */
    static cnf(network: Field, trace: string, noise: string, kinetic: boolean, jacobian: boolean, seed: number): Field;
    static custom(dtype: string, state_size: number, parameters: any, callbacks: any): Field;
    /**
     * H of each sample at the given parameters, else the field's own.
     */
    energy(t: number, y: any, batch: number, parameters: any): Numbers;
    /**
     * An ensemble with its tangents along directions, as `jvp` takes them, in place of a state [x, ẋ_1, …]; kept for
     * second derivatives where `keep` is set.
     */
    ensembleAlong(y0: any, batch: number, times: any, plan: string, numbers: any, directions: number, along: any, options: any, _arguments: any, keep: boolean): Ensemble;
    /**
     * Solves trajectories that each take their own steps. `plan` is JSON, which `EnsemblePlan::read` in `bindings/handles/ensembles.rs` documents, and
     * `numbers` a Float64Array. Where `keep` is set, what their gradients need is kept.
     */
    ensemble(y0: any, batch: number, times: any, plan: string, numbers: any, options: any, _arguments: any, keep: boolean): Ensemble;
    /**
     * f(t, y) at the given parameters, else the field's own.
     */
    evaluate(t: number, y: any, batch: number, parameters: any, _arguments: any): Numbers;
    /**
     * A system with a copy of a network as its energy: of the whole state, or where `points` is positive a density on a grid.
     * `structure` is a name, or empty where `matrix` (a Float64Array) is given.
     */
    static hamiltonian(network: Field, structure: string, matrix: any, points: number, spacing: number): Field;
    /**
     * Trajectories that are taken on from call to call, by a plan as those of `ensemble`, without jumps.
     */
    integrator(y0: any, batch: number, t: any, plan: string, options: any, _arguments: any): Integrator;
    /**
     * The solution with its tangents along directions: `along` is an object of flat arrays `y0`, `parameters`, `arguments` and
     * `times` (a Float64Array), each of all directions, or undefined.
     */
    jvp(y0: any, batch: number, times: any, directions: number, along: any, options: any, _arguments: any): Jvp;
    static mlp(dtype: string, widths: Uint32Array | number[], activation: string, time: string, bias: boolean, seed: number): Field;
    /**
     * The solution at the times (a Float64Array), and the error if the solve failed on the way. `options` is an object by the
     * names of the public API, `arguments` is `[batch, arguments]` or undefined; the norms of its steps may be shared with other
     * parts of a batch.
     */
    odeint(y0: any, batch: number, times: any, options: any, _arguments: any, all_reduce?: any | null): Solution;
    /**
     * A field that a program, as JSON, describes.
     */
    static program(dtype: string, program: string, parameters: any): Field;
    /**
     * A solve with its derivative along one direction, without `times`, that keeps what second derivatives need.
     */
    recordTangent(y0: any, batch: number, times: any, along: any, options: any, _arguments: any): JvpVjp;
    /**
     * A solve that keeps what the gradient method needs; otherwise as `odeint`.
     */
    record(y0: any, batch: number, times: any, options: any, _arguments: any, all_reduce?: any | null): Vjp;
    /**
     * What noise a flow draws: of which seed, and for samples from which on.
     */
    seedNoise(seed: number, first_sample: number): void;
    /**
     * Sets noise that the caller drew, `[batch, features]`.
     */
    setNoise(noise: any): void;
    /**
     * For the field of a program, the field of its value and directional derivative: parameters [θ, θ̇], arguments [a, ẋ, ȧ, ṫ].
     */
    tangent(): Field;
    /**
     * The transpose of f at (t, y).
     */
    vjp(t: number, y: any, w: any, batch: number, parameters: any, _arguments: any): FieldVjp;
    /**
     * Arguments of each trajectory.
     */
    readonly argumentSize: number;
    /**
     * `[{ weight: { offset, shape }, … }]`, empty for a custom field.
     */
    readonly layers: Array<any>;
    /**
     * Trajectories of a leaf of an ensemble.
     */
    readonly leaf: number;
    /**
     * Features of f(t, y).
     */
    readonly outputSize: number;
    readonly parametersLength: number;
    readonly parametersPointer: number;
    readonly stateSize: number;
}

/**
 * The result of a field's pullback.
 */
export class FieldVjp {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    readonly arguments: number;
    readonly parameters: number;
    readonly t: number | undefined;
    readonly y: number;
}

/**
 * A gradient.
 */
export class Gradient {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    stats(numbers: Float64Array): void;
    readonly arguments: number;
    /**
     * ∂L/∂(times and amounts) of jumps.
     */
    readonly changes: number;
    readonly parameters: number;
    /**
     * A pointer to the gradient of the times, zero where it is not known.
     */
    readonly times: number;
    readonly y0: number;
}

/**
 * Trajectories that are advanced call by call.
 */
export class Integrator {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * To a time, or by one step of each trajectory towards it.
     */
    advance(to: number, step: boolean): void;
    copy(): Integrator;
    restore(saved: any): void;
    save(): Float64Array;
    setArguments(_arguments: any): void;
    setY(y: any): void;
    readonly eventStates: number;
    readonly eventsLength: number;
    /**
     * For each event of the last call: trajectory, event, time.
     */
    readonly events: number;
    /**
     * The present time of each trajectory.
     */
    readonly t: number;
    /**
     * For each trajectory: steps accepted and rejected, evaluations, the first and the last step, 1 where an event has ended it.
     */
    readonly trajectories: number;
    readonly y: number;
}

/**
 * A solution with its tangents along directions.
 */
export class Jvp {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * The statistics of the solve, with the peak memory of the solve and its derivatives.
     */
    stats(numbers: Float64Array): void;
    /**
     * `[directions, times, batch, state]`.
     */
    readonly tangents: number;
    readonly y: number;
}

/**
 * A solve with its derivative along a direction.
 */
export class JvpVjp {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * The product of a loss's second derivatives with the direction, from ∂L/∂y and (∂²L/∂y²) ẏ, `[times, batch, state]`.
     */
    pullback(cotangent: any, curvature: any): Gradient;
    stats(numbers: Float64Array): void;
    /**
     * `[times, batch, state]`.
     */
    readonly tangent: number;
    readonly y: number;
}

/**
 * An array that stays in WASM memory until freed.
 */
export class Numbers {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    readonly length: number;
    readonly pointer: number;
}

/**
 * An optimizer of a field's parameters, or of an array.
 */
export class Optimizer {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    static adam(dtype: string, groups: any, beta1: number, beta2: number, epsilon: number): Optimizer;
    setGroups(groups: any): void;
    static sgd(dtype: string, groups: any, momentum: number): Optimizer;
    /**
     * What a step makes of an array.
     */
    stepFrom(parameters: any, gradient: any): Numbers;
    step(field: Field, gradient: any): void;
    steps: number;
    readonly stateLength: number;
    readonly statePointer: number;
}

/**
 * A solution, and why it ends early if it does.
 */
export class Solution {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    stats(numbers: Float64Array): void;
    readonly error: any;
    /**
     * A pointer to the last good state of a solve that failed; zero if there is none.
     */
    readonly lastState: number;
    /**
     * How many of the times were reached.
     */
    readonly reached: number;
    readonly y: number;
}

/**
 * Named arrays, to and from the safetensors format.
 */
export class TensorFile {
    free(): void;
    [Symbol.dispose](): void;
    add(name: string, dtype: string, shape: Uint32Array | number[], numbers: any): void;
    describe(key: string, text: string): void;
    double(name: string): Float64Array;
    dtype(name: string): string;
    keys(): string[];
    metadata(key: string): string | undefined;
    /**
     * The names of the arrays, which the functions below take.
     */
    names(): string[];
    constructor();
    static parse(bytes: Uint8Array): TensorFile;
    serialize(): Uint8Array;
    shape(name: string): Uint32Array;
    single(name: string): Float32Array;
}

/**
 * A solve with what its gradients need.
 */
export class Vjp {
    private constructor();
    free(): void;
    [Symbol.dispose](): void;
    /**
     * The gradient for ∂L/∂y, `[times, batch, state]`.
     */
    pullback(cotangent: any): Gradient;
    stats(numbers: Float64Array): void;
    readonly y: number;
}

/**
 * Names, defaults and widths, as a JSON object.
 */
export function constants(): string;

/**
 * Fills the reserve for the unchecked allocations of one call; false if memory has run out.
 */
export function ensureReserve(): boolean;

/**
 * Whether this number of bytes can be allocated now without the reserve. It is asked before texts and lists cross, whose allocations
 * are not checked.
 */
export function hasRoom(bytes: number): boolean;

/**
 * Floating-point operations that the micro-kernel has done on operands in the first-level cache; the caller takes the time.
 */
export function kernelPeak(dtype: string, repeats: number): number;

/**
 * Bytes in all buffers of all solves and fields that are alive.
 */
export function liveBytes(): number;

/**
 * Sets the function that solves call with their progress, from 0 to 1; undefined removes it. A solve ends if it returns false.
 */
export function watch(callback?: Function | null): void;
