/** `rootloom run ID -- CMD…`: a command in a sandbox resumed from a template. */
import { addAbortSignal } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { type ExecResult, startSandbox } from '../../index.js';
import { parseId, parseTimeout } from '../arguments.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { toJson, writeOutput } from '../output.js';

interface RunOptions extends GlobalOptions {
  stdin?: boolean;
  /** In milliseconds. */
  timeout: number;
}

async function readInput(signal: AbortSignal): Promise<Buffer> {
  try {
    return await buffer(addAbortSignal(signal, process.stdin));
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

/** As text, for that is what commands print; bytes that are not UTF-8 become U+FFFD. */
function printAsJson({ stdout, stderr, ...result }: ExecResult): Promise<void> {
  return writeOutput(`${toJson({ ...result, stdout: stdout.toString(), stderr: stderr.toString() })}\n`);
}

async function passOn({ stdout, stderr, truncated }: ExecResult): Promise<void> {
  await writeOutput(stdout);
  process.stderr.write(stderr);
  if (truncated) process.stderr.write('rootloom: the command printed more than 16 MiB, the rest is lost\n');
}

export function addRunCommand(program: Command, context: CommandContext): void {
  withGlobalOptions(
    program
      .command('run')
      .description('run a command in a sandbox, which is thrown away afterwards; ends with its exit code')
      .argument('<id>', 'of a template', parseId)
      .argument('<command...>', 'the command and its arguments, after --')
      .option('--stdin', 'read standard input to its end and give it to the command')
      .addOption(
        new Option('--timeout <seconds>', 'how long the command may take')
          .argParser(parseTimeout)
          .default(300_000, '300'),
      ),
  ).action(async (id: string, command: [string, ...string[]], options: RunOptions) => {
    const { signal } = context;
    const input = options.stdin === true ? await readInput(signal) : undefined;
    const result = await withStore(options, context, async (store) => {
      await using sandbox = await startSandbox(store, id, { signal });
      return await sandbox.exec(command, { input, signal, timeoutMs: options.timeout });
    });
    if (options.json === true) await printAsJson(result);
    else await passOn(result);
    process.exitCode = result.exitCode;
  });
}
