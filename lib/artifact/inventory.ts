/** What builds a store has, in short and in full. */
import { isRootloomError } from '../errors.js';
import type { Store } from '../storage/store.js';
import { type Build, type BuildCallOptions, openBuild } from './build.js';

/** One line about a build. Fields that its metadata does not tell are absent. */
export interface BuildSummary {
  buildId: string;
  /** Absent for builds that rootloom did not make. */
  phase?: 'base' | 'provision' | 'template';
  /** ISO 8601. */
  createdAt?: string;
  /** Of the disk, in bytes. */
  diskSize?: number;
  /** What the build takes of the store, in bytes. */
  storedBytes: number;
  /** The image or the build that it was made from. */
  source?: string;
  /** Why the build cannot be read, when it cannot. */
  problem?: string;
}

/** What a build takes of the store, in bytes. */
export async function storedBytesOf(store: Store, buildId: string): Promise<number> {
  const objects = await store.listObjects(buildId);
  return [...objects.values()].reduce((sum, { storedBytes }) => sum + storedBytes, 0);
}

/** Only the first layer of a template says what it was made from; those above it name their parent. */
async function findSource(build: Build, options: BuildCallOptions): Promise<string | undefined> {
  const seen = new Set<string>(); // Metadata that somebody else wrote may lead in a circle.
  for (let current = build; !seen.has(current.id); ) {
    seen.add(current.id);
    const { rootloom, from_image, from_template } = current.metadata;
    const own =
      rootloom?.image?.reference ?? rootloom?.sourceBuildId ?? from_image ?? from_template?.build_id;
    if (own !== undefined || rootloom?.parentBuildId === undefined) return own;
    try {
      current = await openBuild(build.store, rootloom.parentBuildId, options);
    } catch (error) {
      // A parent whose data nobody needs any more may have been removed; a damaged one is a line of its own.
      if (isRootloomError(error, 'NOT_FOUND') || isRootloomError(error, 'CORRUPT')) return undefined;
      throw error;
    }
  }
  return undefined;
}

async function summarize(store: Store, buildId: string, options: BuildCallOptions): Promise<BuildSummary> {
  const summary: BuildSummary = { buildId, storedBytes: await storedBytesOf(store, buildId) };
  try {
    const build = await openBuild(store, buildId, options);
    const { rootloom } = build.metadata;
    summary.diskSize = rootloom?.disk.size ?? (await build.header('rootfs')).size;
    if (rootloom !== undefined) {
      summary.phase = rootloom.phase;
      summary.createdAt = rootloom.createdAt;
    }
    const source = await findSource(build, options);
    if (source !== undefined) summary.source = source;
  } catch (error) {
    // A damaged build is listed, so that it can be seen and removed.
    if (!isRootloomError(error, 'CORRUPT') && !isRootloomError(error, 'UNSUPPORTED')) throw error;
    summary.problem = error.message;
  }
  return summary;
}

/** Every build of the store, oldest first. Rejects with IO or the signal's reason; a build removed meanwhile is left out. */
export async function listBuilds(store: Store, options: BuildCallOptions = {}): Promise<BuildSummary[]> {
  const summaries: BuildSummary[] = [];
  for (const id of await store.listBuilds(options)) {
    options.signal?.throwIfAborted();
    try {
      summaries.push(await summarize(store, id, options));
    } catch (error) {
      if (!isRootloomError(error, 'NOT_FOUND')) throw error;
    }
  }
  return summaries.sort((a, b) => (a.createdAt ?? '').localeCompare(b.createdAt ?? ''));
}

/** How many bytes of a disk lie in each build of its chain, nearest first as the header names them. */
export async function measureChain(build: Build): Promise<{ buildId: string; bytes: number }[]> {
  const { summary } = await build.header('rootfs');
  return summary.sources.map(({ buildId, mappedBytes }) => ({ buildId, bytes: mappedBytes }));
}
