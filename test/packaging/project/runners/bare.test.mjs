// As jsdom comes in Jest, without what the package needs: an error that says so.
import { init, mlp } from "symplectic-adjoint";

test("what is missing is named, with what to do about it", async () => {
  const advice = /no TextDecoder; .* set globalThis.TextDecoder to the one from node:util/;
  expect(() => mlp({ widths: [2, 2] })).toThrow(advice);
  await expect(init()).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringMatching(advice) });
});
