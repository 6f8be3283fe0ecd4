/** What the programs of the tests find on their pages, by selectors and as globals: they know what is there. */
interface ParentNode {
  // biome-ignore lint/suspicious/noExplicitAny: whatever element the selector names
  querySelector(selectors: string): any;
}
interface Window {
  // biome-ignore lint/suspicious/noExplicitAny: what a page says to the test
  result: any;
  said: string;
  settling: string;
}
