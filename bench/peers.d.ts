// What the benchmark installs into bench/.peers when it is asked for peers.
declare module "@tensorflow/tfjs";
declare module "@tensorflow/tfjs-backend-wasm";
