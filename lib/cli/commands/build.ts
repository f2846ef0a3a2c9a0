/** `rootloom build`: a template from an OCI image, or from another template with another disk size. */
import { type Command, Option } from 'commander';
import {
  buildTemplate,
  type CheckPolicy,
  type DiskRequest,
  type Isolation,
  parseImageReference,
  parsePlatform,
  resolveProvisioningOptions,
  type Strategy,
  type TemplateOptions,
  type TemplateSource,
  validateTemplateOptions,
} from '../../index.js';
import {
  argument,
  checkUsage,
  isolationOption,
  parseCount,
  parseId,
  parseSize,
  parseTimeout,
  UsageError,
} from '../arguments.js';
import { phaseText, showBuild } from '../build-report.js';
import { type CommandContext, type GlobalOptions, withGlobalOptions, withStore } from '../context.js';
import { printResult } from '../output.js';
import {
  addProvisioningOptions,
  type ProvisioningArguments,
  provisioningOf,
} from '../provisioning-options.js';

interface BuildOptions extends GlobalOptions, ProvisioningArguments {
  fromOci?: string;
  fromTemplate?: string;
  platform?: string;
  diskSize?: number;
  diskFree?: number;
  memory?: number;
  cpus?: number;
  kernel?: string;
  /** In milliseconds, as the next one. */
  provisionTimeout?: number;
  bootTimeout?: number;
  check: CheckPolicy;
  isolation?: Isolation;
  strategy?: Strategy;
  force?: boolean;
  events?: boolean;
}

/** Text that has been checked by a parser of the API, which will read it again. */
const checked = (parse: (text: string) => unknown) =>
  argument((text) => {
    parse(text);
    return text;
  });

function sourceOf({ fromOci, fromTemplate, platform }: BuildOptions): TemplateSource {
  if (fromOci !== undefined) return { oci: fromOci, platform };
  if (fromTemplate !== undefined) return { template: fromTemplate };
  throw new UsageError('Cannot build: one of --from-oci and --from-template is needed');
}

function diskOf({ diskSize, diskFree, fromOci }: BuildOptions): DiskRequest | undefined {
  if (diskSize !== undefined) return { size: diskSize };
  if (diskFree !== undefined) return { free: diskFree };
  if (fromOci === undefined) return undefined;
  throw new UsageError('Cannot build from an image: one of --disk-size and --disk-free is needed');
}

async function templateOptionsOf(options: BuildOptions): Promise<Omit<TemplateOptions, 'store' | 'signal'>> {
  const { memory, cpus, kernel, provisionTimeout, bootTimeout, check, strategy, isolation, force } = options;
  const provisioning = await provisioningOf(options);
  const templateOptions = {
    from: sourceOf(options),
    disk: diskOf(options),
    provisioning,
    machine: {
      ...{ memoryBytes: memory, cpus, kernelBundle: kernel },
      ...{ provisionTimeoutMs: provisionTimeout, bootTimeoutMs: bootTimeout },
    },
    check,
    isolation,
    strategy,
    force,
  };
  checkUsage(() => {
    validateTemplateOptions(templateOptions);
    resolveProvisioningOptions(provisioning);
  });
  return templateOptions;
}

async function runBuild(options: BuildOptions, context: CommandContext): Promise<void> {
  const templateOptions = await templateOptionsOf(options);
  const result = await withStore(options, context, async (store) => {
    const build = buildTemplate({ ...templateOptions, store, signal: context.signal });
    await showBuild(build, options);
    return build.result;
  });
  await printResult(result, options.json === true, ({ buildId, phases }) =>
    [...phases.map(phaseText), `template ${buildId}`].join('\n'),
  );
}

function addSourceOptions(command: Command): void {
  command
    .addOption(
      new Option(
        '--from-oci <reference>',
        'oci:PATH[:TAG], oci-archive:FILE[:TAG], docker://NAME, or a folder',
      )
        .argParser(checked(parseImageReference))
        .conflicts('fromTemplate'),
    )
    .addOption(
      new Option('--from-template <id>', 'a build of the same store')
        .argParser(parseId)
        .conflicts(['fromOci', 'platform']),
    )
    .addOption(
      new Option('--platform <platform>', 'of an image for several, like linux/arm64').argParser(
        checked(parsePlatform),
      ),
    );
}

function addDiskOptions(command: Command): void {
  command
    .addOption(
      new Option('--disk-size <size>', 'of the disk, exactly: 4G, 512M, bytes')
        .argParser(parseSize)
        .conflicts('diskFree'),
    )
    .addOption(
      new Option('--disk-free <size>', 'to be free on the disk after the build').argParser(parseSize),
    )
    .addOption(isolationOption())
    .addOption(
      new Option('--check <policy>', "when to check a template's disk before it is resized")
        .choices(['auto', 'always', 'never'])
        .default('auto'),
    )
    .addOption(
      new Option('--strategy <strategy>', "how a template's disk gets its size (default: resize)")
        .choices(['resize', 'rebuild', 'copy'])
        .conflicts('fromOci'),
    );
}

function addGuestOptions(command: Command): void {
  command
    .addOption(new Option('--memory <size>', 'of the guest (default: 512M)').argParser(parseSize))
    .addOption(new Option('--cpus <count>', 'processors of the guest (default: 2)').argParser(parseCount))
    .option('--kernel <folder>', "a kernel bundle (default: Debian's cloud kernel, made once)")
    .addOption(
      new Option(
        '--provision-timeout <seconds>',
        'for provisioning, downloads included (default: 1200)',
      ).argParser(parseTimeout),
    )
    .addOption(
      new Option('--boot-timeout <seconds>', 'for the guest to boot, and to settle (default: 300)').argParser(
        parseTimeout,
      ),
    );
}

export function addBuildCommand(program: Command, context: CommandContext): void {
  const command = program.command('build').description('build a template');
  addSourceOptions(command);
  addDiskOptions(command);
  addGuestOptions(command);
  addProvisioningOptions(command);
  command
    .option('--force', 'build every layer anew, whatever is cached')
    .option('--events', 'print each event of the build as a line of JSON on standard error');
  withGlobalOptions(command).action((options: BuildOptions) => runBuild(options, context));
}
