// Fetches the nats-server before the tests, which run side by side.
import { findServer } from "./server.mjs";

export default function setup() {
  findServer();
}
