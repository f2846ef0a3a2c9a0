/** Builds a template, and prints how that failed: failing-build.ts STORE REFERENCE. */
import { buildTemplate, isRootloomError, openStore } from '../../../../lib/index.js';

const [url, reference] = process.argv.slice(2) as [string, string];
await using store = await openStore(url);
const build = buildTemplate({ store, from: { oci: reference }, disk: { size: 64 * 1024 * 1024 } });
const error = await build.result.catch((reason: unknown) => reason);
const { code, context, message } = isRootloomError(error)
  ? error
  : { code: String(error), context: {}, message: '' };
console.log(JSON.stringify({ code, path: context.path, message }));
