/** `node --import` of this file lets test programs, which import from lib/, have what is compiled in dist/ instead. */
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';

const SOURCE = new URL('../../lib/', import.meta.url).href;
/** Compiled into one file, of which no part can be had. */
const COMMAND = new URL('../../lib/cli/', import.meta.url).href;
const COMPILED = new URL('../../dist/', import.meta.url).href;

if (isMainThread) register(import.meta.url); // Hooks run in a thread of their own, which loads this file again.

export async function resolve(specifier, context, nextResolve) {
  const target = specifier.startsWith('.') ? new URL(specifier, context.parentURL).href : specifier;
  const isCompiled = target.startsWith(SOURCE) && !target.startsWith(COMMAND);
  return nextResolve(isCompiled ? COMPILED + target.slice(SOURCE.length) : target, context);
}
