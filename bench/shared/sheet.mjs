// How plots stand together on a sheet: one SVG with a title, a legend and panels.

export const FONT = "system-ui, sans-serif";

/**
 * Plots in columns, with a title and a legend above.
 *
 * @param {{ title?: string, svg: { outerHTML: string } }[]} panels
 * @param {{ text: string, colour: string, filled?: boolean }[]} legend
 */
export function sheet(title, panels, columns, { width, height }, legend) {
  const [gap, head, caption] = [20, 74, 26];
  const [across, down] = [Math.min(columns, panels.length), Math.ceil(panels.length / columns)];
  const whole = { width: across * (width + gap) + gap, height: head + down * (height + caption + gap) };
  const text = (x, y, words, more = "") => `<text x="${x}" y="${y}" ${more}>${escaped(words)}</text>`;
  let right = gap;
  const keys = legend.map(({ text: words, colour, filled }) => {
    const x = right;
    right += 34 + 7.2 * words.length;
    const circle = `<circle cx="${x + 6}" cy="48" r="5" fill="${filled ? colour : "white"}" stroke="${colour}" stroke-width="1.6"/>`;
    return circle + text(x + 17, 52, words);
  });
  const body = panels.map(({ title: name, svg }, i) => {
    const [x, y] = [gap + (i % columns) * (width + gap), head + Math.floor(i / columns) * (height + caption + gap)];
    const drawn = svg.outerHTML.replace("<svg ", `<svg x="${x}" y="${y + caption}" `);
    return (name ? text(x + 4, y + 14, name, 'font-weight="600"') : "") + drawn;
  });
  const size = `width="${whole.width}" height="${whole.height}" viewBox="0 0 ${whole.width} ${whole.height}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="${FONT}" font-size="12.5" fill="#222">`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(gap, 26, title, 'font-size="16" font-weight="600"'),
    ...keys,
    ...body,
    "</svg>\n",
  ].join("\n");
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
