// Files that Vite gives the text or the address of.
declare module "*.csv?raw" {
  const text: string;
  export default text;
}
