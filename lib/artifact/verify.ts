/** Checks of a build that is stored. */
import { isRootloomError, RootloomError } from '../errors.js';
import type { CallOptions } from '../native/call.js';
import type { Store } from '../storage/store.js';
import { digestBytes, digestFile } from '../util/digest.js';
import { ProgressMeter } from '../util/progress.js';
import type { Build } from './build.js';
import { type LocatedDiff, locateDiff } from './diffs.js';
import type { ArtifactName, HeaderView, Source } from './header-view.js';
import { type ArtifactRecord, type BuildMetadata, parseMetadata } from './metadata.js';

/** Progress is that of the step `verify`, in bytes of data; only when deep. The logger gets what was compared. */
export interface VerifyOptions extends CallOptions {
  /** Reads all data too. */
  deep?: boolean | undefined;
}

/** What was found of the data that a build needs; what has a digest and differs from it is CORRUPT. */
export interface VerifyReport {
  /** Read, and as the digest says that was recorded with it. */
  comparedBytes: number;
  /** Nothing is known of it but that it is there, long enough: its digest was never recorded, or the check was not deep. */
  uncomparedBytes: number;
}

/** Stored data, with the digest it should have when that is known. */
interface DataCheck extends LocatedDiff {
  name: string;
  sha256: string | undefined;
}

/** See `Build.verify`. */
export async function verifyBuild(
  build: Build,
  { deep = false, signal, onProgress, logger }: VerifyOptions,
): Promise<VerifyReport> {
  const { disk, memory } = build.metadata.rootloom ?? {};
  const checks = await verifyArtifact(build, 'rootfs', disk, signal);
  await (await build.openDisk({ signal })).close();
  if (memory !== undefined || (await hasMemory(build))) {
    checks.push(...(await verifyArtifact(build, 'memfile', memory, signal)));
    await (await build.openMemory({ signal })).close();
    checks.push(await locateSnapfile(build));
  }
  const total = checks.reduce((sum, { storedSize }) => sum + storedSize, 0);
  if (!deep) return { comparedBytes: 0, uncomparedBytes: total };
  const meter = new ProgressMeter('verify', total, onProgress);
  const report = { comparedBytes: 0, uncomparedBytes: 0 };
  for (const check of checks) {
    const isCompared = await compareData(build, check, { signal, onBytes: (bytes) => meter.add(bytes) });
    report[isCompared ? 'comparedBytes' : 'uncomparedBytes'] += check.storedSize;
    logger?.debug({ buildId: build.id, path: check.path, isCompared }, `read ${check.name}`);
  }
  return report;
}

/** Reads data to its end. False when there is nothing to compare it with. */
async function compareData(
  build: Build,
  { path, name, sha256 }: DataCheck,
  options: Parameters<typeof digestFile>[1],
): Promise<boolean> {
  const { hex } = await digestFile(path, options);
  if (sha256 === undefined || sha256 === hex) return sha256 !== undefined;
  const message = `Cannot trust ${name}: its content has the digest ${hex}, wanted ${sha256}`;
  throw new RootloomError('CORRUPT', message, { buildId: build.id, path });
}

async function locateSnapfile(build: Build): Promise<DataCheck> {
  const path = await requireThere(build, 'snapfile', build.snapfilePath());
  const storedSize = (await build.store.listObjects(build.id)).get('snapfile')?.size ?? 0;
  const record = build.metadata.rootloom?.snapfile;
  const name = `the VM state of build ${build.id}`;
  if (record === undefined || record.size === storedSize)
    return { path, storedSize, name, sha256: record?.sha256 };
  const message = `Cannot trust ${name}: it has ${storedSize} bytes, wanted ${record.size}`;
  throw new RootloomError('CORRUPT', message, { buildId: build.id, path });
}

async function hasMemory(build: Build): Promise<boolean> {
  return (await build.store.listObjects(build.id)).has('memfile.header');
}

async function verifyArtifact(
  build: Build,
  artifact: ArtifactName,
  record: ArtifactRecord | undefined,
  signal: AbortSignal | undefined,
): Promise<DataCheck[]> {
  const view = await requireThere(build, `the ${artifact} header`, build.header(artifact));
  if (record !== undefined) compareWithRecord(build, artifact, view, record);
  const checks: DataCheck[] = [];
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
