/** Options that say what goes into the guest besides what every sandbox needs. */
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { type Command, Option } from 'commander';
import type { ProvisioningOptions } from '../index.js';
import { argument, UsageError } from './arguments.js';

type ExtraFile = NonNullable<ProvisioningOptions['files']>[number];
type InjectedAgent = NonNullable<ProvisioningOptions['agent']>;

/** A file of this host and its place in the image. */
interface FileArgument {
  source: string;
  path: string;
}

export interface ProvisioningArguments {
  package?: string[];
  hostname?: string;
  file?: FileArgument[];
  agent?: string;
  agentUnit?: string;
  agentOpenrc?: string;
}

/** Reads `HOST:IMAGE`. The last colon counts: images have fewer odd names than hosts. */
const parseFile = argument((text): FileArgument => {
  const colon = text.lastIndexOf(':');
  if (colon > 0 && text[colon + 1] === '/')
    return { source: text.slice(0, colon), path: text.slice(colon + 1) };
  throw new TypeError(`"${text}" is no HOST:IMAGE with an absolute path of the image`);
});

function parseFiles(text: string, previous: readonly FileArgument[] = []): FileArgument[] {
  return [...previous, parseFile(text)];
}

/** Runs on a path that the user gave: one that cannot be read is a mistake in the command line. */
async function readArgument<Value>(option: string, read: () => Promise<Value>): Promise<Value> {
  try {
    return await read();
  } catch (error) {
    throw new UsageError(`Cannot use ${option}: ${(error as Error).message}`, { cause: error });
  }
}

async function extraFileOf({ source, path: target }: FileArgument): Promise<ExtraFile> {
  const { mode } = await readArgument(`--file ${source}`, () => stat(source));
  return { source, path: target, mode: mode & 0o111 ? 0o755 : 0o644 };
}

async function agentOf(args: ProvisioningArguments): Promise<InjectedAgent | undefined> {
  const { agent: binary, agentUnit, agentOpenrc } = args;
  if (binary === undefined || agentUnit === undefined) {
    if (binary === undefined && agentUnit === undefined && agentOpenrc === undefined) return undefined;
    throw new UsageError('Cannot use the agent: --agent and --agent-unit are needed, one of them is missing');
  }
  const readText = (option: string, file: string) => readArgument(option, () => readFile(file, 'utf8'));
  return {
    name: path.basename(binary),
    binary,
    unit: await readText('--agent-unit', agentUnit),
    openrc: agentOpenrc === undefined ? undefined : await readText('--agent-openrc', agentOpenrc),
  };
}

/** What the arguments mean. Throws UsageError for files of this host that cannot be read. */
export async function provisioningOf(args: ProvisioningArguments): Promise<ProvisioningOptions> {
  return {
    packages: args.package,
    hostname: args.hostname,
    files: await Promise.all((args.file ?? []).map(extraFileOf)),
    agent: await agentOf(args),
  };
}

export function addProvisioningOptions(command: Command): void {
  command
    .option('--package <name...>', 'more packages of the distribution')
    .option('--hostname <name>', "the guest's name (default: rootloom)")
    .addOption(
      new Option('--file <host:image>', 'a file of this host put into the image; may be repeated').argParser(
        parseFiles,
      ),
    )
    .option('--agent <file>', "a guest agent to inject, instead of the distribution's")
    .option('--agent-unit <file>', "the agent's systemd unit")
    .option('--agent-openrc <file>', "the agent's OpenRC script, for Alpine");
}
