/** Checks of a build that is stored. */
import { isRootloomError, RootloomError } from '../errors.js';
import type { Store } from '../storage/store.js';
import { digestBytes, digestFile } from '../util/digest.js';
import { type ProgressListener, ProgressMeter } from '../util/progress.js';
import type { Build } from './build.js';
import { type LocatedDiff, locateDiff } from './diffs.js';
import type { ArtifactName, HeaderView, Source } from './header-view.js';
import { type ArtifactRecord, type BuildMetadata, parseMetadata } from './metadata.js';

export interface VerifyOptions {
  /** Reads all data too. */
  deep?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Step `verify`, in bytes of data; only when deep. */
  onProgress?: ProgressListener | undefined;
}

/** A diff to be read, with the digest it should have when that is known. */
interface DeepCheck extends LocatedDiff {
  name: string;
  sha256: string | undefined;
}

/** See `Build.verify`. */
export async function verifyBuild(
  build: Build,
  { deep = false, signal, onProgress }: VerifyOptions,
): Promise<void> {
  const { disk, memory } = build.metadata.rootloom ?? {};
  const checks = await verifyArtifact(build, 'rootfs', disk, signal);
  await (await build.openDisk({ signal })).close();
  if (memory !== undefined || (await hasMemory(build))) {
    checks.push(...(await verifyArtifact(build, 'memfile', memory, signal)));
    await (await build.openMemory({ signal })).close();
    await requireThere(build, 'snapfile', build.snapfilePath());
  }
  if (!deep) return;
  const meter = new ProgressMeter(
    'verify',
    checks.reduce((sum, { storedSize }) => sum + storedSize, 0),
    onProgress,
  );
  for (const { path, name, sha256 } of checks) {
    const { hex } = await digestFile(path, { signal, onBytes: (bytes) => meter.add(bytes) });
    if (sha256 === undefined || sha256 === hex) continue;
    const message = `Cannot trust ${name}: its content has the digest ${hex}, wanted ${sha256}`;
    throw new RootloomError('CORRUPT', message, { buildId: build.id, path });
  }
}

async function hasMemory(build: Build): Promise<boolean> {
  return (await build.store.listObjects(build.id)).has('memfile.header');
}

async function verifyArtifact(
  build: Build,
  artifact: ArtifactName,
  record: ArtifactRecord | undefined,
  signal: AbortSignal | undefined,
): Promise<DeepCheck[]> {
  const view = await requireThere(build, `the ${artifact} header`, build.header(artifact));
  if (record !== undefined) compareWithRecord(build, artifact, view, record);
  const checks: DeepCheck[] = [];
  for (const source of view.sources.values()) {
    signal?.throwIfAborted();
    const known = source.buildId === build.id ? record : await findRecord(build.store, artifact, source);
    const size = source.size ?? known?.diffBytes;
    const diff = await locateDiff(build.store, build.id, artifact, { ...source, size });
    const name = `the ${artifact} data of build ${source.buildId}`;
    checks.push({ ...diff, name, sha256: source.sha256 ?? known?.diffSha256 });
  }
  return checks;
}

function compareWithRecord(
  build: Build,
  artifact: ArtifactName,
  view: HeaderView,
  record: ArtifactRecord,
): void {
  const fail = (is: string) => {
    const message = `Cannot trust the ${artifact} header of build ${build.id}: ${is}`;
    return new RootloomError('CORRUPT', message, { buildId: build.id });
  };
  const digest = digestBytes(view.bytes);
  if (digest !== record.headerSha256) throw fail(`its digest is ${digest}, wanted ${record.headerSha256}`);
  if (view.size !== record.size) throw fail(`it is for ${view.size} bytes, wanted ${record.size}`);
}

/** What an ancestor's own metadata says about its data; undefined for builds of others, and for missing ones: looking for the data tells. */
async function findRecord(
  store: Store,
  artifact: ArtifactName,
  { buildId }: Source,
): Promise<ArtifactRecord | undefined> {
  let metadata: BuildMetadata;
  try {
    metadata = parseMetadata(await store.readObject({ buildId, name: 'metadata.json' }), buildId);
  } catch (error) {
    if (isRootloomError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
  return artifact === 'rootfs' ? metadata.rootloom?.disk : metadata.rootloom?.memory;
}

/** Makes a missing part of a build CORRUPT, for every build has it, unless the build itself is gone: that stays NOT_FOUND. */
export async function requireThere<Value>(
  { store, id }: Pick<Build, 'store' | 'id'>,
  what: string,
  part: Promise<Value>,
): Promise<Value> {
  try {
    return await part;
  } catch (error) {
    if (!isRootloomError(error, 'NOT_FOUND') || !(await store.hasBuild(id))) throw error;
    const message = `Cannot use build ${id}: ${what} is missing, the build is not whole`;
    throw new RootloomError('CORRUPT', message, { buildId: id }, { cause: error });
  }
}
