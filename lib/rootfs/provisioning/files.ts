/**
 * The provisioning files: the one set that makes an image able to provision itself, as data.
 *
 * Two writers put it into an image: layer.ts as the last layer of an OCI image, tree.ts straight into an open ext4.
 * What depends on the distribution is only staged, in one folder which the script deletes when it is done, so neither
 * writer needs to know the distribution, and nothing of an image is replaced by files that it cannot use.
 */
import { readFile } from 'node:fs/promises';
import { digestBytes, digestJson } from '../../util/digest.js';
import { readStaticBusybox } from '../../util/static-busybox.js';
import { withSystemErrors } from '../../util/system-error.js';
import { readAssets } from './assets.js';
import { PAYLOAD_FOLDER } from './config.js';
import { generateFiles } from './generated.js';
import { type ExtraFile, type ProvisioningOptions, parseExtraPath, resolveOptions } from './options.js';

export type { ExtraFile, GuestNetwork, InjectedAgent, ProvisioningOptions } from './options.js';

interface FileBase {
  /** Path from the image's root, without a leading slash. */
  readonly path: string;
  /** Permission bits. Those of a link mean nothing and are 0777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** What it is for, in a few words. */
  readonly purpose: string;
}

export type ProvisioningFile = FileBase &
  (
    | { readonly content: Buffer; readonly linkTarget?: never }
    | { readonly linkTarget: string; readonly content?: never }
  );

/** Time stamp of every provisioning file, in seconds of the epoch: the set has no time of its own. */
export const PROVISIONING_TIME = 0;

async function readExtraFile(extra: ExtraFile): Promise<ProvisioningFile> {
  const { mode = 0o644, uid = 0, gid = 0 } = extra;
  const base = { path: parseExtraPath(extra.path), uid, gid, purpose: 'extra file' };
  if ('linkTarget' in extra) return { ...base, mode: 0o777, linkTarget: extra.linkTarget };
  if ('content' in extra) return { ...base, mode, content: Buffer.from(extra.content) };
  const content = await withSystemErrors('read the extra file', extra.source, () => readFile(extra.source));
  return { ...base, mode, content };
}

/**
 * The set for these options, ordered by path. The same options and host files give the same set. An extra file takes the
 * place of one of the set's own, but not of the payload's.
 *
 * Reads the static busybox, the injected agent and the extra files' sources from the host; holds them in memory.
 *
 * @throws RangeError for an option that cannot be used; RootloomError TOOL_MISSING without a static busybox, NOT_FOUND or
 *   IO for a file of the host that cannot be read.
 */
export async function provisioningFiles(options: ProvisioningOptions = {}): Promise<ProvisioningFile[]> {
  const resolved = resolveOptions(options);
  const root = { uid: 0, gid: 0 };
  const [assets, busybox, extras] = await Promise.all([
    readAssets(),
    readStaticBusybox('prepare provisioning', resolved.busybox),
    Promise.all(resolved.files.map(readExtraFile)),
  ]);
  const files: ProvisioningFile[] = [
    {
      path: `${PAYLOAD_FOLDER}/busybox`,
      mode: 0o755,
      ...root,
      content: busybox,
      purpose: 'tools of the boot',
    },
    ...assets.map((asset) => ({ ...asset, ...root })),
    ...generateFiles(resolved).map((file) => ({ ...file, ...root, content: Buffer.from(file.content) })),
  ];
  const { agent } = resolved;
  if (agent !== undefined) {
    const content = await withSystemErrors('read the agent', agent.binary, () => readFile(agent.binary));
    files.push(
      { path: `usr/local/bin/${agent.name}`, mode: 0o755, ...root, content, purpose: 'the injected agent' },
      {
        path: `${PAYLOAD_FOLDER}/systemd/etc/systemd/system/multi-user.target.wants/${agent.name}.service`,
        mode: 0o777,
        ...root,
        linkTarget: `/etc/systemd/system/${agent.name}.service`,
        purpose: 'starts the injected agent, whatever its unit says',
      },
    );
  }
  const byPath = new Map([...files, ...extras].map((file) => [file.path, file]));
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** SHA-256, in lower-case hexadecimal, over everything that a set writes; part of the layer hash. */
export function provisioningDigest(files: readonly ProvisioningFile[]): string {
  return digestJson(
    files.map(({ path, mode, uid, gid, content, linkTarget }) => ({
      ...{ path, mode, uid, gid },
      ...(content === undefined ? { linkTarget } : { content: digestBytes(content) }),
    })),
  );
}
