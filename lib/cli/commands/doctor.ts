/** `rootloom doctor`: what this machine can do, and what each missing thing costs. */
import type { Command } from 'commander';
import { examineMachine } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions } from '../context.js';
import { EXIT_CODES, formatTable, printResult } from '../output.js';

export function addDoctorCommand(program: Command, { signal }: CommandContext): void {
  withGlobalOptions(program.command('doctor').description('say what this machine can do')).action(
    async (options: GlobalOptions) => {
      const findings = await examineMachine({ signal });
      printResult(findings, options.json === true, (rows) =>
        formatTable(
          ['what', 'state', 'found', 'without it'],
          rows.map(({ name, state, found, cost }) => [name, state, found, state === 'ok' ? '' : cost]),
        ),
      );
      if (findings.some(({ state }) => state === 'missing')) process.exitCode = EXIT_CODES.failure;
    },
  );
}
