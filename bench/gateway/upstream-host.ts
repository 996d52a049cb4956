import { createServer } from "node:net";

/** The upstream where nginx is missing: answers every packet with 36 bytes, `node upstream-host.ts PORT`. */
const body = "hello world, this is a small answer\n";
const answer = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
createServer((socket) => {
  socket.setNoDelay(true);
  socket.on("data", () => socket.write(answer));
  socket.on("error", () => socket.destroy());
}).listen(Number(process.argv[2]), "127.0.0.1");
