/** The version of this package, from its own package.json. */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** Two folders up from lib/util, as from dist/util. */
export const { version: packageVersion } = require('../../package.json') as { version: string };
