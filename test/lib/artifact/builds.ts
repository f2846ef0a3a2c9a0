/** Small builds with real headers, published into a store. */
import { randomBytes, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Build } from '../../../lib/artifact/build.js';
import type { BuildDescription } from '../../../lib/artifact/metadata.js';
import { type ArtifactFiles, type PublishBuildOptions, publishBuild } from '../../../lib/artifact/publish.js';
import { type DiskHeader, encodeHeader, type HeaderMapping } from '../../../lib/native/header.js';
import { openStore } from '../../../lib/storage/open-store.js';
import type { Store } from '../../../lib/storage/store.js';
import { makeScratch } from '../../helpers/temporary.js';

export const PAGE = 4096;

export async function makeStore(): Promise<Store & { root: string }> {
  const root = join(await makeScratch(), 'store');
  return Object.assign(await openStore(root), { root });
}

/** Where the store keeps an object. */
export const objectPath = (store: { root: string }, buildId: string, name: string) =>
  join(store.root, 'templates', buildId, name);

/** A header of `pages` pages: each is the build and the page of its diff, or null for zeros. */
export function makeHeader(
  buildId: string,
  pages: readonly ([buildId: string, page: number] | null)[],
  extra: Partial<DiskHeader> = {},
): Buffer {
  const mappings = pages.map(
    (page, index): HeaderMapping => ({
      offset: index * PAGE,
      length: PAGE,
      buildId: page?.[0] ?? null,
      storageOffset: (page?.[1] ?? 0) * PAGE,
    }),
  );
  return encodeHeader({
    version: 3,
    blockSize: PAGE,
    size: pages.length * PAGE,
    generation: 0,
    buildId,
    baseBuildId: buildId,
    incomplete: false,
    mappings,
    builds: [],
    ...extra,
  });
}

/** Puts a diff and its header where a seal would. */
export async function writeArtifact(folder: string, header: Buffer, data: Buffer): Promise<ArtifactFiles> {
  const name = join(folder, randomUUID());
  const files = { dataPath: `${name}.data`, headerPath: `${name}.header` };
  await writeFile(files.dataPath, data);
  await writeFile(files.headerPath, header);
  return files;
}

export interface TestBuild {
  build: Build;
  /** What the build's own diff holds. */
  data: Buffer;
}

/** Publishes a disk of four pages: own page 0, zeros, own page 1, and the first page of `parent` or zeros. */
export async function publishTestBuild(
  store: Store,
  {
    parent,
    buildId = randomUUID(),
    description = { phase: 'base' },
    memory = false,
    ...options
  }: {
    parent?: string | undefined;
    buildId?: string;
    description?: BuildDescription;
    memory?: boolean;
  } & PublishBuildOptions = {},
): Promise<TestBuild> {
  await using staging = await store.createStaging();
  const data = randomBytes(2 * PAGE);
  const header = makeHeader(buildId, [[buildId, 0], null, [buildId, 1], parent ? [parent, 0] : null]);
  const disk = await writeArtifact(staging.path, header, data);
  const parts = { buildId, disk, description };
  if (!memory) return { build: await publishBuild(store, parts, options), data };
  const snapfilePath = join(staging.path, 'snapfile');
  await writeFile(snapfilePath, 'state');
  const files = await writeArtifact(
    staging.path,
    makeHeader(buildId, [null, [buildId, 0]]),
    data.subarray(0, PAGE),
  );
  return { build: await publishBuild(store, { ...parts, memory: files, snapfilePath }, options), data };
}
