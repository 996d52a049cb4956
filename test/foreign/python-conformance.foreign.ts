import { playSuites } from "../../sdks/conformance/runner/play-suites.ts";
import { missing, pythonFirst } from "./foreign-tools.ts";

// Every pair with Python in it also in protobuf, which needs the library, and its callers blocking and with asyncio.
if (!missing("python3")) {
  const env = await pythonFirst();
  playSuites(() => true, { every: true, env });
}
