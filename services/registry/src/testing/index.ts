export { type StockServer, type StockServerOptions, startStockServer } from "./stock-grpc-server.ts";
