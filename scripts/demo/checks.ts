/** What the demo checks with other people's tools, and from inside. */
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import {
  compareTrees,
  copyDeviceToFile,
  openRootfs,
  provisioningFiles,
  type Store,
  startSandbox,
  type TemplateResult,
  type TreeDifference,
} from '../../lib/index.js';

export interface Inside {
  df: string;
  osRelease: string;
  systemState: string;
  /** Size of the root filesystem as the guest sees it, in bytes. */
  filesystemBytes: number;
}

/** Resumes a sandbox from a template's snapshot, and asks it about itself. */
export async function lookInside(store: Store, buildId: string, signal: AbortSignal): Promise<Inside> {
  await using sandbox = await startSandbox(store, buildId, { signal });
  const ask = async (...command: [string, ...string[]]) => {
    const { stdout } = await sandbox.exec(command, { signal });
    return stdout.toString().trim();
  };
  const bytes = await ask('df', '--block-size=1', '--output=size', '/');
  return {
    df: await ask('df', '-h', '/'),
    osRelease: await ask('cat', '/etc/os-release'),
    systemState: await ask('systemctl', 'is-system-running'),
    filesystemBytes: Number(bytes.split('\n').at(-1)),
  };
}

export interface StockVerdict {
  exitCode: number | undefined;
  lastLine: string;
}

/** Runs the distribution's e2fsck over a raw export of a build's disk. */
export async function checkWithStockTool(
  store: Store,
  buildId: string,
  signal: AbortSignal,
): Promise<StockVerdict> {
  const raw = `.cache/demo/${buildId}.img`;
  try {
    await using rootfs = await openRootfs(store, buildId, { signal });
    await copyDeviceToFile(rootfs.device, raw, { signal });
    const { exitCode, stdout } = await execa('e2fsck', ['-fn', raw], { reject: false, cancelSignal: signal });
    return { exitCode, lastLine: stdout.trim().split('\n').at(-1) ?? '' };
  } finally {
    await rm(raw, { force: true });
  }
}

export interface Comparison {
  /** Between the first template and the resized disk of the second, before anything booted from it. */
  byResize: TreeDifference[];
  /** What the base phase writes into every disk: the provisioning files, and the folders around them. */
  provisioning: ReadonlySet<string>;
  /** Between the two finished templates: what provisioning again and booting again wrote. */
  byBooting: TreeDifference[];
}

async function compareBuilds(
  store: Store,
  a: string,
  b: string,
  signal: AbortSignal,
): Promise<TreeDifference[]> {
  await using first = await openRootfs(store, a, { signal });
  await using second = await openRootfs(store, b, { signal });
  await using firstTree = await first.openTree({ signal });
  await using secondTree = await second.openTree({ signal });
  const found: TreeDifference[] = [];
  for await (const difference of compareTrees(firstTree, secondTree, { signal })) found.push(difference);
  return found;
}

async function provisioningPaths(): Promise<Set<string>> {
  const paths = new Set<string>();
  for (const file of await provisioningFiles()) {
    for (let path = `/${file.path}`; !paths.has(path); path = dirname(path)) paths.add(path);
  }
  return paths;
}

export async function compareDisks(
  store: Store,
  first: TemplateResult,
  second: TemplateResult,
  signal: AbortSignal,
): Promise<Comparison> {
  const resized = second.phases.find(({ phase }) => phase === 'base')?.buildId as string;
  return {
    provisioning: await provisioningPaths(),
    byResize: await compareBuilds(store, first.buildId, resized, signal),
    byBooting: await compareBuilds(store, first.buildId, second.buildId, signal),
  };
}
