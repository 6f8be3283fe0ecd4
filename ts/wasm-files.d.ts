// The bundler turns a module into the text of its bytes in base64.
declare module "*.wasm" {
  const base64: string;
  export default base64;
}
