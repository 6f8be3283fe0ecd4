/** A block as FFJORD has it, untrained. */
export function blockOf(api, widths, seed = 1) {
  const network = { widths, activation: "softplus", time: "concatsquash", seed };
  return api.cnf({ network, trace: "hutchinson", noiseSeed: seed });
}
