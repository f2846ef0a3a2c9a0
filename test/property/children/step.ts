/** Performs one step in a process of its own, whose writes fail. Reads it as JSON, and prints what became of it as JSON. */
import { readFileSync } from 'node:fs';
import { RootloomError } from '../../../lib/errors.js';
import { type Chain, type Places, performStep, type Step } from '../step.js';

const { chain, header, step, places } = JSON.parse(readFileSync(0, 'utf8')) as {
  chain: Omit<Chain, 'header'>;
  header: string;
  step: Step;
  places: Places;
};
const outcome = await performStep({ ...chain, header: Buffer.from(header, 'base64') }, step, places).then(
  ({ size, diffs }) => ({ done: { size, diffs } }),
  (error) => {
    if (!(error instanceof RootloomError)) return { broken: `${error.stack}` };
    const { code, message, context } = error;
    return { failed: { code, message, context } };
  },
);
process.stdout.write(JSON.stringify(outcome));
