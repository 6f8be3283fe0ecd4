// The same models for `custom`: JavaScript with loops over the batch and derivatives by hand, in float32. A `custom` field has no
// arguments, so they are parameters behind the others.

/** By name, the two functions of `custom`. */
export const handwritten = {
  "lotka-volterra": {
    evaluate(_, y, [birth, hunt, feed, death]) {
      const slope = new Float32Array(y.length);
      for (let i = 0; i < y.length; i += 2) {
        const [hare, lynx] = [y[i], y[i + 1]];
        slope[i] = hare * (birth - hunt * lynx);
        slope[i + 1] = lynx * (feed * hare - death);
      }
      return slope;
    },
    vjp(_, y, w, [birth, hunt, feed, death]) {
      const pulled = new Float32Array(y.length);
      let [births, hunts, feeds, deaths] = [0, 0, 0, 0];
      for (let i = 0; i < y.length; i += 2) {
        const [hare, lynx, u, v] = [y[i], y[i + 1], w[i], w[i + 1]];
        pulled[i] = u * (birth - hunt * lynx) + v * feed * lynx;
        pulled[i + 1] = v * (feed * hare - death) - u * hunt * hare;
        births += u * hare;
        hunts -= u * hare * lynx;
        feeds += v * hare * lynx;
        deaths -= v * lynx;
      }
      return { y: pulled, parameters: Float32Array.of(births, hunts, feeds, deaths) };
    },
  },

  pharmacokinetics: {
    evaluate(_, y, theta) {
      const [absorption, volume, reservoir, capacity, half, clearance, exchange] = theta;
      const slope = new Float32Array(y.length);
      for (let row = 0, i = 0; i < y.length; row++, i += 3) {
        const size = theta[7 + row] / 70;
        const scale = size ** 0.75;
        const blood = y[i + 1] / (volume * size);
        const tissue = y[i + 2] / (reservoir * size);
        const inward = absorption * y[i];
        const out = scale * (clearance * blood + (capacity * blood) / (half + blood));
        const over = scale * exchange * (blood - tissue);
        slope[i] = -inward;
        slope[i + 1] = inward - out - over;
        slope[i + 2] = over;
      }
      return slope;
    },
    vjp(_, y, w, theta) {
      const [absorption, volume, reservoir, capacity, half, clearance, exchange] = theta;
      const pulled = new Float32Array(y.length);
      const parameters = new Float32Array(theta.length);
      let [absorptions, volumes, reservoirs, capacities, halves, clearances, exchanges] = [0, 0, 0, 0, 0, 0, 0];
      for (let row = 0, i = 0; i < y.length; row++, i += 3) {
        const size = theta[7 + row] / 70;
        const scale = size ** 0.75;
        const blood = y[i + 1] / (volume * size);
        const tissue = y[i + 2] / (reservoir * size);
        const share = 1 / (half + blood);
        const [into, outs, overs] = [w[i + 1] - w[i], -w[i + 1], w[i + 2] - w[i + 1]];
        const bloods = scale * (outs * (clearance + capacity * half * share * share) + overs * exchange);
        const tissues = -scale * exchange * overs;
        pulled[i] = absorption * into;
        pulled[i + 1] = bloods / (volume * size);
        pulled[i + 2] = tissues / (reservoir * size);
        absorptions += y[i] * into;
        volumes -= (bloods * blood) / volume;
        reservoirs -= (tissues * tissue) / reservoir;
        capacities += outs * scale * blood * share;
        halves -= outs * scale * capacity * blood * share * share;
        clearances += outs * scale * blood;
        exchanges += overs * scale * (blood - tissue);
        const scales = outs * blood * (clearance + capacity * share) + overs * exchange * (blood - tissue);
        parameters[7 + row] = (0.75 * scales * scale - bloods * blood - tissues * tissue) / (70 * size);
      }
      parameters.set([absorptions, volumes, reservoirs, capacities, halves, clearances, exchanges]);
      return { y: pulled, parameters };
    },
  },

  "lorenz-96": {
    evaluate(_, y, [forcing]) {
      const slope = new Float32Array(y.length);
      for (let row = 0; row < y.length; row += 40) {
        let [beforeThat, before, here] = [y[row + 38], y[row + 39], y[row]];
        for (let i = 0; i < 40; i++) {
          const next = y[i < 39 ? row + i + 1 : row];
          slope[row + i] = (next - beforeThat) * before - here + forcing;
          beforeThat = before;
          before = here;
          here = next;
        }
      }
      return slope;
    },
    vjp(_, y, w) {
      const pulled = new Float32Array(y.length);
      let sum = 0;
      for (let row = 0; row < y.length; row += 40) {
        // The slope at i is of the states at i - 2, i - 1, i and i + 1.
        let [beforeThat, before, here] = [row + 38, row + 39, row];
        for (let i = 0; i < 40; i++) {
          const next = i < 39 ? row + i + 1 : row;
          const v = w[here];
          pulled[next] += v * y[before];
          pulled[beforeThat] -= v * y[before];
          pulled[before] += v * (y[next] - y[beforeThat]);
          pulled[here] -= v;
          sum += v;
          beforeThat = before;
          before = here;
          here = next;
        }
      }
      return { y: pulled, parameters: Float32Array.of(sum) };
    },
  },
};
