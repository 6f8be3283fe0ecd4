// What is learned: an energy, and beside it plain networks of as many parameters.

/** Parameters of an mlp. */
const count = (widths) => widths.slice(1).reduce((sum, width, i) => sum + width * (widths[i] + 1), 0);

/** The hidden width with which a network inputs-w-w-outputs has about so many parameters. */
function hiddenFor(parameters, inputs, outputs) {
  let width = 1;
  while (count([inputs, width + 1, width + 1, outputs]) <= parameters) width++;
  return width;
}

/**
 * Networks of the state with as many parameters as an energy of it.
 *
 * @param {any} api
 * @param {{ inputs: number, outputs?: number, parameters: number, activation?: string, dtype: string, seed: number }} shape
 */
export function plain(api, { inputs, outputs = inputs, parameters, activation, dtype, seed }) {
  const hidden = hiddenFor(parameters, inputs, outputs);
  return api.mlp({ widths: [inputs, hidden, hidden, outputs], activation, dtype, seed });
}

/**
 * The same network at every point of a periodic grid: du_i/dt = network(u_{i−r}, …, u_{i+r}). It knows what the energy model
 * knows of the equation, that it is local and the same everywhere, but for the energy.
 */
export function local(api, { points, inputs, parameters, activation, dtype, seed }) {
  const network = plain(api, { inputs, outputs: 1, parameters, activation, dtype, seed });
  const radius = (inputs - 1) / 2;
  const place = (start, i, j) => start + ((i + j - radius + points) % points);
  const gather = (u) => {
    const rows = new u.constructor(u.length * inputs);
    for (let start = 0, at = 0; start < u.length; start += points) {
      for (let i = 0; i < points; i++) for (let j = 0; j < inputs; j++) rows[at++] = u[place(start, i, j)];
    }
    return rows;
  };
  const field = api.custom({
    stateSize: points,
    dtype,
    parameters: network.parameters,
    evaluate: (t, u, theta) => network.evaluate(t, gather(u), theta),
    vjp(t, u, w, theta) {
      const pulled = network.vjp(t, gather(u), w, theta);
      const y = u.fill(0);
      for (let start = 0, at = 0; start < y.length; start += points) {
        for (let i = 0; i < points; i++) for (let j = 0; j < inputs; j++) y[place(start, i, j)] += pulled.y[at++];
      }
      return { y, parameters: pulled.parameters };
    },
  });
  return { field, network };
}
