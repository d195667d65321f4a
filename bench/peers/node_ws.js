// The peer of Node: a server with the package `ws`, as its own documentation has it, without compression.
"use strict";

const http = require("http");
const { WebSocketServer } = require("ws");

const lamps = new Set();
const server = http.createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 4096 });

sockets.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url === "/change") {
    socket.on("message", (data) => {
      for (const lamp of lamps) lamp.send(data, { binary: false });
    });
    return;
  }
  lamps.add(socket);
  socket.on("close", () => lamps.delete(socket));
  socket.on("message", (data) => {
    if (JSON.parse(data).type === "keepalive") socket.heard = performance.now();
  });
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => console.log(server.address().port));
