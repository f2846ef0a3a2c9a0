/** `rootloom run ID -- CMD…`: a command in a sandbox resumed from a template. */
import type { Command } from 'commander';
import { startSandbox } from '../../index.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';

export function addRunCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('run')
      .description('run a command in a sandbox, which is thrown away afterwards; exits with its exit code')
      .argument('<id>')
      .argument('<command...>', 'the command and its arguments, after --'),
  ).action(async (id: string, command: [string, ...string[]], options: GlobalOptions) => {
    const { signal } = context;
    const result = await withStore(options, context, async (store) => {
      await using sandbox = await startSandbox(store, id, { signal });
      return sandbox.exec(command, { signal });
    });
    if (options.json === true) {
      const { exitCode, stdout, stderr } = result;
      process.stdout.write(
        `${JSON.stringify({ exitCode, stdout: stdout.toString(), stderr: stderr.toString() })}\n`,
      );
    } else {
      process.stdout.write(result.stdout);
      process.stderr.write(result.stderr);
    }
    process.exitCode = result.exitCode;
  });
}
