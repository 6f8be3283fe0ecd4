// Addresses of servers: what is sent to whom, before anybody is trusted.
import { createServer, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readAddresses } from "../../ts/cluster/addresses.js";
import { connectClient } from "../../ts/cluster/client.js";
import { cleanups, freshPrefix } from "./processes.js";
import { freePort, type Server, startServers } from "./server.mjs";

let guarded: Server;
beforeAll(async () => {
  [guarded] = (await startServers({ config: 'authorization { user: me, password: "p@ss:w/rd", timeout: 5 }' })) as [
    Server,
  ];
});
afterAll(() => guarded.remove());

const connected = (servers: string | string[], client = {}) =>
  connectClient({ servers, client, prefix: freshPrefix(), name: "test" });

/** A server that speaks NATS and does not ask for TLS, and what it is told. */
async function listener(): Promise<{ port: number; heard: () => string }> {
  let heard = "";
  const sockets = new Set<Socket>();
  const port = await freePort();
  const info = {
    server_id: "X",
    version: "2.15.1",
    proto: 1,
    headers: true,
    max_payload: 2 ** 20,
    auth_required: true,
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      heard += bytes;
      // It has heard enough.
      if (heard.includes("CONNECT")) socket.write("-ERR 'Authorization Violation'\r\n");
    });
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port, heard: () => heard };
}

test("to a tls: address nothing is sent without encryption, whatever its server says of itself", async () => {
  for (const tls of [{}, { tls: undefined }, { tls: null }]) {
    const { port, heard } = await listener();
    const client = { user: "me", pass: "hunter2", ...tls };
    await expect(connected(`tls://127.0.0.1:${port}`, client)).rejects.toMatchObject({
      ...{ code: "CONNECTION", message: expect.stringContaining("the server does not offer TLS") },
    });
    expect(heard()).toBe("");
  }
  // The same server is told where the address does not ask for TLS: it would have heard.
  const { port, heard } = await listener();
  await expect(connected(`nats://me:hunter2@127.0.0.1:${port}`)).rejects.toMatchObject({ code: "CONNECTION" });
  expect(heard()).toContain("hunter2");
});

test("addresses have a user and a password, which no message repeats", async () => {
  const there = guarded.url.replace("//", "//me:p@ss:w/rd@");
  const client = await connected([there, there]);
  await client.connection.close();
  const wrong = connected(guarded.url.replace("//", "//me:hunter2@"));
  await expect(wrong).rejects.toThrow(/no connection to nats:.*authori[sz]ation.*check the user/i);
  await expect(wrong).rejects.not.toThrow(/hunter2/);
  const { servers, login } = readAddresses(["nats://me:p%40ss%2f@h:4222"]);
  expect([servers, login]).toEqual([["nats://h:4222"], { user: "me", pass: "p@ss/" }]);
  expect(readAddresses(["s3cret%@h"])).toMatchObject({ servers: ["h"], scheme: "nats", login: { token: "s3cret%" } });
  expect(readAddresses(["WSS://[::1]:8443/"])).toMatchObject({ scheme: "wss", login: {} });
});

test("addresses of other kinds, and of several, are refused", async () => {
  const wrong: [string | string[], RegExp][] = [
    [
      "http://me:hunter2@localhost:4222",
      /begin with nats:\/\/, tls:\/\/, ws:\/\/ or wss:\/\/, given http:\/\/localhost:4222/,
    ],
    [["tls://a", "nats://b"], /of one kind/],
    [["tls://a", "b"], /of one kind/],
    [["ws://a", "wss://b"], /of one kind/],
    [["nats://a", "ftp://b"], /begin with nats/],
    [["nats://me:hunter2@a", "nats://me:hunter3@b"], /the same user and password/],
    ["nats://", /such as nats:\/\/localhost:4222/],
    ["nats://a b", /such as/],
    ["nats://a/b", /such as/],
  ];
  for (const [servers, message] of wrong) {
    const error = await connected(servers).then(
      () => undefined,
      (error) => error,
    );
    expect(error, String(servers)).toMatchObject({
      code: "OPTION",
      argument: "servers",
      message: expect.stringMatching(message),
    });
    expect(String(error.message)).not.toContain("hunter");
  }
});

test.runIf(typeof WebSocket === "undefined")(
  "without WebSocket, an address that needs it is refused at once",
  async () => {
    for (const servers of ["ws://localhost:8080", "wss://localhost:8080"]) {
      await expect(connected(servers)).rejects.toMatchObject({ code: "UNSUPPORTED", argument: "servers" });
    }
  },
);
