// The steps of a test command, each with a title; the first failure ends it.
let passed = 0;

export function step(title, body) {
  console.log(`\n── ${title}`);
  const start = performance.now();
  const end = () => {
    passed++;
    console.log(`── ${title}: passed in ${((performance.now() - start) / 1000).toFixed(0)} s`);
  };
  const result = body();
  return typeof result?.then === "function" ? result.then(end) : end();
}

/** After the last step. */
export function ended() {
  console.log(`\n${passed} passed, 0 failed`);
}
