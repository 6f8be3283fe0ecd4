// A coordinator of a sweep that can be killed: tells how far it is.
import { sweep } from "../../ts/cluster/sweep.js";

await sweep({
  ...JSON.parse(process.argv[2] ?? "{}"),
  onEvent(event) {
    if ("status" in event) console.log(`ended ${event.status.ended}`);
  },
});
console.log("over");
