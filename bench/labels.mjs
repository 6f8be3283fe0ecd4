// Where labels of points go, so that they hide neither each other nor a point.

const [HEIGHT, LETTER, AWAY] = [12, 6.3, 8];

/** Points `{ x, y, name }` in pixels, each with `dx`, `dy` and `anchor` of its label, inside of bounds. */
export function placeLabels(points, bounds) {
  const taken = points.map(({ x, y }) => ({ x0: x - 5, x1: x + 5, y0: y - 5, y1: y + 5 }));
  // From above, so that a crowd's labels go down one by one.
  return points
    .toSorted((a, b) => a.y - b.y)
    .map((point) => {
      const tried = candidates(point).map((candidate) => ({ ...candidate, cost: costOf(candidate, taken, bounds) }));
      const { dx, dy, anchor, box } = tried.reduce((best, next) => (next.cost < best.cost ? next : best));
      taken.push(box);
      return { ...point, dx, dy, anchor };
    });
}

/** Right and left of the point and a little up and down there; nearest first. */
function candidates({ x, y, name }) {
  const width = LETTER * name.length;
  return [0, -7, 7, -14, 14, -21, 21, -28, 28, -35, 35].flatMap((dy) =>
    ["start", "end", "middle"].flatMap((anchor) => {
      if (anchor === "middle" && Math.abs(dy) < 14) return [];
      const dx = { start: AWAY, end: -AWAY, middle: 0 }[anchor];
      const x0 = x + dx - { start: 0, end: width, middle: width / 2 }[anchor];
      const box = { x0, x1: x0 + width, y0: y + dy - HEIGHT / 2, y1: y + dy + HEIGHT / 2 };
      return [{ dx, dy, anchor, box }];
    }),
  );
}

/** The area that a label would share with others or have outside, and how far it is from its point. */
function costOf({ dy, box }, taken, bounds) {
  const overlap = (other) =>
    Math.max(0, Math.min(box.x1, other.x1) - Math.max(box.x0, other.x0)) *
    Math.max(0, Math.min(box.y1, other.y1) - Math.max(box.y0, other.y0));
  const outside =
    Math.max(0, bounds.left - box.x0) +
    Math.max(0, box.x1 - bounds.right) +
    Math.max(0, bounds.top - box.y0) +
    Math.max(0, box.y1 - bounds.bottom);
  return taken.reduce((sum, other) => sum + overlap(other), 0) + 40 * outside + Math.abs(dy);
}
