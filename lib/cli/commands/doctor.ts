/** `rootloom doctor`: what this machine can do, and what each missing thing costs. */
import type { Command } from 'commander';
import { examineMachine, type MachineFinding } from '../../index.js';
import { type CommandContext, type GlobalOptions, storeUrl, withGlobalOptions } from '../context.js';
import { EXIT_CODES } from '../failure.js';
import { formatTable, printResult } from '../output.js';
import { withProgress } from '../progress.js';

/** What is not ok is followed by what that costs, on a line of its own. */
function formatFindings(findings: readonly MachineFinding[]): string {
  return formatTable(
    ['state', 'what', 'found'],
    findings.flatMap(({ name, state, found, cost }) =>
      cost === ''
        ? [[state, name, found]]
        : [
            [state, name, found],
            ['', '', `(${cost})`],
          ],
    ),
  );
}

export function addDoctorCommand(program: Command, { signal }: CommandContext): void {
  withGlobalOptions(
    program
      .command('doctor')
      .description('say what this machine can do; ends with 1 when something that builds need is missing'),
  ).action(async (options: GlobalOptions) => {
    const json = options.json === true;
    const storeLocation = storeUrl(options);
    const findings = await withProgress('examine this machine', json, (onProgress) =>
      examineMachine({ storeUrl: storeLocation, signal, onProgress }),
    );
    await printResult(findings, json, formatFindings);
    if (findings.some(({ state }) => state === 'missing')) process.exitCode = EXIT_CODES.failure;
  });
}
