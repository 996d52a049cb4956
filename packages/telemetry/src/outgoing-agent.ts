import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { Socket } from "node:net";
import { outgoingTo } from "@hms/kernel";

/** Connects to a collector, by "http:" or "https:", where the operator's list of hosts allows it. */
export function outgoingAgent(protocol: string): HttpAgent {
  const agent = new (protocol === "https:" ? HttpsAgent : HttpAgent)({ keepAlive: true });
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, done) => {
    try {
      return connect({ ...options, ...outgoingTo(options.host ?? "localhost", { by: "operator" }) }, done);
    } catch (error) {
      return new Socket().destroy(error as Error);
    }
  };
  return agent;
}
