/** Finds the data of a build that a header needs, and checks that it can be what the header means. */
import { isRootloomError, RootloomError } from '../errors.js';
import type { CompressedName } from '../storage/keys.js';
import type { Store } from '../storage/store.js';
import { ARTIFACT_OBJECTS, type ArtifactName, type Source } from './header-view.js';

/** A diff that is there. */
export interface LocatedDiff {
  path: string;
  /** Of the stored object, in bytes. */
  storedSize: number;
}

/**
 * Locates the data that `source` stands for in the header of build `buildId`.
 *
 * Rejects with CORRUPT when the build or its data is missing or too short: what refers to it cannot be read. IO.
 */
export async function locateDiff(
  store: Store,
  buildId: string,
  artifact: ArtifactName,
  source: Source,
): Promise<LocatedDiff> {
  const name: (typeof ARTIFACT_OBJECTS)[ArtifactName]['data'] | CompressedName =
    source.compression === 'none'
      ? ARTIFACT_OBJECTS[artifact].data
      : `${ARTIFACT_OBJECTS[artifact].data}.${source.compression}`;
  const key = { buildId: source.buildId, name };
  const fail = (is: string, wanted: string) => {
    const message = `Cannot read the ${artifact} of build ${buildId}: ${name} of build ${source.buildId} ${is}, ${wanted}`;
    return new RootloomError('CORRUPT', message, { buildId });
  };
  try {
    const objects = await store.listObjects(source.buildId);
    const stat = objects.get(name);
    if (stat === undefined) throw fail('is missing', 'its data is needed');
    const isExact = source.size !== undefined;
    const wanted = source.size ?? source.neededBytes;
    if (stat.size < wanted || (isExact && stat.size !== wanted)) {
      throw fail(`has ${stat.size} bytes`, `${wanted}${isExact ? '' : ' or more'} are needed`);
    }
    return { path: await store.localPath(key), storedSize: stat.size };
  } catch (error) {
    if (isRootloomError(error, 'NOT_FOUND')) throw fail('is missing', 'that build is needed');
    throw error;
  }
}
