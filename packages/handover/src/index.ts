export type { ListenAddress } from "./handover-message.ts";
export { listenProblem } from "./listen-problem.ts";
export { ListenerKeeper } from "./listener-keeper.ts";
export { ListenerSet } from "./listener-set.ts";
export { type PortHolder, portHolder } from "./port-holder.ts";
