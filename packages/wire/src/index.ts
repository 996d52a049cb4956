export { listenOnFile, type SocketFile } from "./socket-file.ts";
export { type ServeSocketOptions, type SocketServer, serveSocket } from "./socket-server.ts";
export { type ConnectSocketOptions, connectSocket, type SocketTransport } from "./socket-transport.ts";
