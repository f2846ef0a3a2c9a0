/** Makes a build of sealed files. */
import { readFile, stat } from 'node:fs/promises';
import { RootloomError } from '../errors.js';
import { parseBuildId } from '../storage/keys.js';
import type { NewBuild, Store } from '../storage/store.js';
import { digestBytes, digestFile } from '../util/digest.js';
import { statIfThere } from '../util/lookup.js';
import type { ProgressListener } from '../util/progress.js';
import { withSystemErrors } from '../util/system-error.js';
import { Build } from './build.js';
import { ARTIFACT_OBJECTS, type ArtifactName, HeaderView } from './header-view.js';
import {
  type ArtifactRecord,
  type BuildDescription,
  describeBuild,
  type SnapfileRecord,
} from './metadata.js';

/** What a seal left: local files. */
export interface ArtifactFiles {
  /** The diff, uncompressed; empty when nothing changed. */
  dataPath: string;
  headerPath: string;
  /** The SHA-256 of the diff in hexadecimal, where its maker knows it: then it need not be read again. */
  diffSha256?: string | undefined;
}

export interface NewBuildParts {
  buildId: string;
  disk: ArtifactFiles;
  /** A snapshot has both, a build of a disk alone neither. */
  memory?: ArtifactFiles | undefined;
  snapfilePath?: string | undefined;
  description: BuildDescription;
}

export interface PublishBuildOptions {
  /** Records the SHA-256 of the diffs and the VM state, which `verify({ deep: true })` then compares. Reads all data once. Default false. */
  digestData?: boolean | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ProgressListener | undefined;
}

interface CheckedArtifact {
  view: HeaderView;
  record: ArtifactRecord;
}

/**
 * Publishes a build whose files are durable under their local names, and opens it. The files are moved: see `Store.publish`.
 *
 * Rejects with TypeError for a wrong description; CORRUPT when headers and data do not belong together; NOT_FOUND when a build
 * that a header refers to is not there (no removal can come in between); and as `Store.publish` does. Nothing is published then.
 */
export async function publishBuild(
  store: Store,
  parts: NewBuildParts,
  options: PublishBuildOptions = {},
): Promise<Build> {
  const buildId = parseBuildId(parts.buildId);
  if ((parts.memory === undefined) !== (parts.snapfilePath === undefined)) {
    throw new TypeError(
      `Cannot publish build ${buildId}: memory and VM state belong together, wanted both or neither`,
    );
  }
  const disk = await checkArtifact(buildId, 'rootfs', parts.disk, options);
  const memory = parts.memory && (await checkArtifact(buildId, 'memfile', parts.memory, options));
  const { snapfilePath } = parts;
  const snapfile = snapfilePath === undefined ? undefined : await describeSnapfile(snapfilePath, options);
  const artifacts = { disk: disk.record, memory: memory?.record, snapfile };
  const metadata = describeBuild(buildId, parts.description, artifacts);
  const needed = [disk, memory].flatMap((artifact) => [...(artifact?.view.sources.keys() ?? [])]);
  const precondition = async () => {
    for (const id of new Set(needed)) {
      if (id === buildId || (await store.hasBuild(id))) continue;
      const message = `Cannot publish build ${buildId}: build ${id}, which its data continues, is not in the store`;
      throw new RootloomError('NOT_FOUND', message, { buildId: id });
    }
  };
  const { signal, onProgress } = options;
  await store.publish({ buildId, files: filesOf(parts), metadata }, { precondition, signal, onProgress });
  return new Build(store, buildId, metadata);
}

async function checkArtifact(
  buildId: string,
  artifact: ArtifactName,
  { dataPath, headerPath, diffSha256: known }: ArtifactFiles,
  { digestData = false, signal }: PublishBuildOptions,
): Promise<CheckedArtifact> {
  const view = await HeaderView.read(await withSystemErrors('read', headerPath, () => readFile(headerPath)));
  const fail = (is: string) => {
    const message = `Cannot publish the ${artifact} of build ${buildId}: ${is}`;
    return new RootloomError('CORRUPT', message, { buildId, path: headerPath });
  };
  if (view.buildId !== buildId) throw fail(`its header is that of build ${view.buildId}`);
  const diffBytes = (await statIfThere(dataPath))?.size;
  const neededBytes = view.sources.get(buildId)?.neededBytes ?? 0;
  if (diffBytes === undefined) throw fail(`its data ${dataPath} is missing`);
  if (diffBytes < neededBytes) throw fail(`its data has ${diffBytes} bytes, its header needs ${neededBytes}`);
  const diffSha256 = digestData ? (known ?? (await digestFile(dataPath, { signal })).hex) : undefined;
  const record = { size: view.size, diffBytes, headerSha256: digestBytes(view.bytes), diffSha256 };
  return { view, record };
}

async function describeSnapfile(
  path: string,
  { digestData = false, signal }: PublishBuildOptions,
): Promise<SnapfileRecord> {
  if (!digestData) return { size: (await withSystemErrors('read', path, () => stat(path))).size };
  const { hex, size } = await digestFile(path, { signal });
  return { size, sha256: hex };
}

function filesOf({ disk, memory, snapfilePath }: NewBuildParts): NewBuild['files'] {
  const files = new Map<Parameters<NewBuild['files']['get']>[0], string>();
  files.set(ARTIFACT_OBJECTS.rootfs.data, disk.dataPath).set(ARTIFACT_OBJECTS.rootfs.header, disk.headerPath);
  if (memory !== undefined) {
    files
      .set(ARTIFACT_OBJECTS.memfile.data, memory.dataPath)
      .set(ARTIFACT_OBJECTS.memfile.header, memory.headerPath);
  }
  if (snapfilePath !== undefined) files.set('snapfile', snapfilePath);
  return files;
}
