/** `rootloom build`: a template from an OCI image, or from another template with another disk size. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  buildTemplate,
  type CheckPolicy,
  type DiskRequest,
  parseByteSize,
  type TemplateSource,
} from '../../index.js';
import { phaseText, showBuild } from '../build-report.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';

interface BuildOptions extends GlobalOptions {
  fromOci?: string;
  fromTemplate?: string;
  platform?: string;
  diskSize?: number;
  diskFree?: number;
  memory?: number;
  cpus?: number;
  kernel?: string;
  package?: string[];
  hostname?: string;
  check: CheckPolicy;
  force?: boolean;
}

function parseSize(text: string): number {
  try {
    return parseByteSize(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('wanted a whole number from 1 to 999');
}

function sourceOf({ fromOci, fromTemplate, platform }: BuildOptions): TemplateSource {
  if ((fromOci === undefined) === (fromTemplate === undefined)) {
    throw new TypeError('Cannot build: exactly one of --from-oci and --from-template is needed');
  }
  return fromOci === undefined ? { template: fromTemplate as string } : { oci: fromOci, platform };
}

function diskOf({ diskSize, diskFree }: BuildOptions): DiskRequest | undefined {
  if (diskSize !== undefined) return { size: diskSize };
  return diskFree === undefined ? undefined : { free: diskFree };
}

async function runBuild(options: BuildOptions, context: CommandContext): Promise<void> {
  const json = options.json === true;
  const from = sourceOf(options);
  const result = await withStore(options, context, async (store) => {
    const build = buildTemplate({
      store,
      from,
      disk: diskOf(options),
      provisioning: {
        ...(options.package === undefined ? {} : { packages: options.package }),
        ...(options.hostname === undefined ? {} : { hostname: options.hostname }),
      },
      machine: { memoryBytes: options.memory, cpus: options.cpus, kernelBundle: options.kernel },
      check: options.check,
      force: options.force,
      signal: context.signal,
    });
    await showBuild(build, json);
    return build.result;
  });
  printResult(result, json, ({ buildId, phases }) =>
    [...phases.map(phaseText), `template ${buildId}`].join('\n'),
  );
}

export function addBuildCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('build')
    .description('build a template')
    .option(
      '--from-oci <reference>',
      'oci:PATH[:TAG], oci-archive:FILE[:TAG], docker://…, or a layout folder',
    )
    .option('--from-template <id>', 'a build of the same store')
    .option('--platform <platform>', 'of an image for several, like linux/arm64')
    .addOption(
      new Option('--disk-size <size>', 'size of the disk, exactly')
        .argParser(parseSize)
        .conflicts('diskFree'),
    )
    .addOption(
      new Option('--disk-free <size>', 'what is to be free on it after the build').argParser(parseSize),
    )
    .addOption(new Option('--memory <size>', 'memory of the guest').argParser(parseSize))
    .addOption(new Option('--cpus <count>', 'processors of the guest').argParser(parseCount))
    .option('--kernel <folder>', 'a kernel bundle (default: one of Debian, made once)')
    .option('--package <name...>', 'more packages of the distribution')
    .option('--hostname <name>', "the guest's name")
    .addOption(
      new Option('--check <policy>', 'when to check the disk of a template before it is resized')
        .choices(['auto', 'always', 'never'])
        .default('auto'),
    )
    .option('--force', 'build every layer anew');
  withGlobalOptions(command).action((options: BuildOptions) => runBuild(options, context));
}
