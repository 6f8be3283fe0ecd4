// The models of ../models.json as users write them for this package: programs, without a derivative.
import { equations, roll, vectorField } from "../../dist/index.js";

/** By name, functions of the dtype and the initial parameters by name. */
export const programs = {
  "lotka-volterra": (dtype, parameters) =>
    equations(
      `
      hare' = hare * (birth - hunt * lynx)
      lynx' = lynx * (feed * hare - death)
      `,
      { dtype, parameters },
    ),

  pharmacokinetics: (dtype, parameters) =>
    equations(
      `
      size = weight / 70
      scale = size^0.75
      blood = central / (volume * size)
      tissue = peripheral / (reservoir * size)
      in = absorption * gut
      out = scale * (clearance * blood + capacity * blood / (half + blood))
      over = scale * exchange * (blood - tissue)
      gut' = -in
      central' = in - out - over
      peripheral' = over
      `,
      { dtype, parameters, arguments: ["weight"] },
    ),

  /** @type {(dtype: "float32" | "float64", parameters: { forcing: number }) => any} */
  "lorenz-96": (dtype, parameters) =>
    vectorField({
      state: 40,
      dtype,
      parameters,
      slope: ({ state: x, parameters: { forcing } }) => roll(x, -1).sub(roll(x, 2)).mul(roll(x, 1)).sub(x).add(forcing),
    }),
};
