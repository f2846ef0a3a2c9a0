/** Examines what this machine can do, and what each missing thing costs. Changes nothing but the notes of a KVM trial. */
import { statfs } from 'node:fs/promises';
import path from 'node:path';
import { isRootloomError } from '../errors.js';
import type { CallOptions } from '../native/call.js';
import { ext4 } from '../native/ext4.js';
import { parseStorageUrl } from '../storage/storage-url.js';
import { formatByteSize } from '../util/byte-size.js';
import { loadExeca } from '../util/execa.js';
import { statIfThere } from '../util/lookup.js';
import { readStaticBusybox } from '../util/static-busybox.js';
import { findTool, type Tool } from '../util/tool.js';
import { chooseAcceleration } from '../vm/acceleration.js';
import { defaultBundleFolder, type KernelBundle, openKernelBundle } from '../vm/kernel-bundle.js';
import { defaultStoreUrl } from './defaults.js';
import { checkNbd } from './doctor-nbd.js';

/**
 * One thing that was looked at. `missing`: templates cannot be built or started here. `limited`: something is slower, or
 * something optional does not work.
 */
export interface MachineFinding {
  name: string;
  state: 'ok' | 'limited' | 'missing';
  /** What is there. */
  found: string;
  /** What does not work without it, or is slower; empty when all is well. */
  cost: string;
}

export interface ExamineMachineOptions extends CallOptions {
  /** The store whose free space is looked at. Default: as `defaultStoreUrl` says. */
  storeUrl?: string | undefined;
}

type Call = Pick<CallOptions, 'signal'>;
type Check = (options: Call) => Promise<MachineFinding | MachineFinding[]>;

const OLDEST_NODE = [20, 19] as const;

/** A template of a small distribution, with its snapshot, takes about a quarter of that. */
const COMFORTABLE_BYTES = 4 * 1024 ** 3;

const ok = (name: string, found: string): MachineFinding => ({ name, state: 'ok', found, cost: '' });

/** The value, or undefined when it, or a program that it needs, is not there or is not usable. */
async function ifThere<Value>(work: Promise<Value>): Promise<Value | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isRootloomError(error) && error.code !== 'CANCELLED') return undefined;
    throw error;
  }
}

/** The first line of what a program says of its version; undefined without the program. */
async function versionOf(program: string, { signal }: Call): Promise<string | undefined> {
  const execa = await loadExeca();
  const result = await execa(program, ['--version'], {
    ...{ stdin: 'ignore', reject: false, lines: true },
    ...(signal && { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  return result.failed ? undefined : result.stdout[0];
}

async function checkNode(): Promise<MachineFinding> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isNew = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
  if (isNew) return ok('Node.js', process.version);
  const cost = `rootloom needs Node.js ${OLDEST_NODE.join('.')} or later`;
  return { name: 'Node.js', state: 'missing', found: process.version, cost };
}

/** That this code runs means that the addon was found and loaded. */
async function checkAddon(): Promise<MachineFinding> {
  return ok('addon', `loaded, with e2fsprogs ${ext4.engineVersion}`);
}

function checkSpace(storeUrl: string): Check {
  return async () => {
    const name = 'free space for the store';
    const store = parseStorageUrl(storeUrl).path;
    let folder = store;
    while ((await statIfThere(folder)) === undefined) folder = path.dirname(folder);
    const { bavail, bsize } = await statfs(folder);
    const found = `${formatByteSize(bavail * bsize)} at ${store}`;
    if (bavail * bsize >= COMFORTABLE_BYTES) return ok(name, found);
    return { name, state: 'limited', found, cost: 'builds may end with NO_SPACE' };
  };
}

async function checkQemu(options: Call): Promise<MachineFinding> {
  const version = await versionOf('qemu-system-x86_64', options);
  if (version !== undefined) return ok('QEMU', version);
  const cost = 'no template can be built or started; disks can be resized, served and looked at';
  return { name: 'QEMU', state: 'missing', found: 'not installed (qemu-system-x86)', cost };
}

async function checkBusybox(): Promise<MachineFinding> {
  if ((await ifThere(readStaticBusybox('find busybox'))) !== undefined)
    return ok('static busybox', 'on PATH');
  const cost = 'no template can be built: provisioning and the initramfs run on it';
  return { name: 'static busybox', state: 'missing', found: 'not on PATH (busybox-static)', cost };
}

/** The kernel, and what it takes to make a bundle of it. */
async function checkKernel({ signal }: Call): Promise<MachineFinding[]> {
  const bundle = await ifThere(openKernelBundle(defaultBundleFolder(), { signal }));
  const tools: Tool[] = ['apt-get', 'apt-cache', 'dpkg-deb', 'depmod'];
  const places = await Promise.all(tools.map((tool) => ifThere(findTool(tool, 'find it'))));
  const missing = tools.filter((_, index) => places[index] === undefined);
  const toolsFinding: MachineFinding =
    missing.length === 0
      ? ok('kernel tools', tools.join(', '))
      : {
          name: 'kernel tools',
          state: bundle === undefined ? 'missing' : 'limited',
          found: `not installed: ${missing.join(', ')}`,
          cost: 'no kernel bundle can be made from a Debian package; one made elsewhere can be named (--kernel)',
        };
  if (bundle !== undefined) return [ok('kernel bundle', bundle.description.version), toolsFinding];
  const cost = 'the first build makes one, from a package that apt downloads';
  return [{ name: 'kernel bundle', state: 'limited', found: 'none made yet', cost }, toolsFinding];
}

/** Whether guests really boot under KVM, which is tried when there is a kernel to try it with. */
async function checkKvm({ signal }: Call): Promise<MachineFinding> {
  const name = 'KVM';
  const cost = 'guests are emulated (TCG): builds and sandboxes are some ten times slower';
  const program = await ifThere(findTool('qemu-system-x86_64', 'try KVM'));
  const kernel: KernelBundle | undefined = await ifThere(openKernelBundle(defaultBundleFolder(), { signal }));
  if (program === undefined || kernel === undefined) {
    const isThere = (await statIfThere('/dev/kvm')) !== undefined;
    const wanted = program === undefined ? 'QEMU' : 'a kernel bundle';
    const found = isThere ? `/dev/kvm is there; trying it needs ${wanted}` : '/dev/kvm is not there';
    return { name, state: 'limited', found, cost };
  }
  const { accelerator, reason } = await chooseAcceleration(program, { kernel, signal });
  if (accelerator === 'kvm') return ok(name, reason);
  return { name, state: 'limited', found: reason, cost };
}

async function checkSkopeo(options: Call): Promise<MachineFinding> {
  const version = await versionOf('skopeo', options);
  if (version !== undefined) return ok('skopeo', version);
  const cost = 'no docker:// references; image layouts and archives work';
  return { name: 'skopeo', state: 'limited', found: 'not installed', cost };
}

/**
 * Looks at everything that builds and sandboxes use. Where KVM was never tried on this host it boots a guest, which takes up
 * to 15 seconds; progress is in checks. What is missing is a finding, never an error: rejects only with `signal.reason`, or
 * TypeError and UNSUPPORTED for a bad `storeUrl`.
 */
export async function examineMachine({
  storeUrl = defaultStoreUrl(),
  signal,
  onProgress,
}: ExamineMachineOptions = {}): Promise<MachineFinding[]> {
  signal?.throwIfAborted();
  const checks: Check[] = [
    ...[checkNode, checkAddon, checkSpace(storeUrl), checkQemu, checkKvm, checkKernel],
    ...[checkBusybox, checkSkopeo, checkNbd],
  ];
  const findings: MachineFinding[] = [];
  for (const [index, check] of checks.entries()) {
    onProgress?.({ step: 'check', done: index, total: checks.length });
    findings.push(...[await check({ signal })].flat());
  }
  return findings;
}
