import { playSuites } from "./play-suites.ts";

playSuites((kind) => kind === "platform");
