/** Puts the files of a new build together in a folder that no reader looks into. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { moveFile, syncPath, writeJsonAtomically } from '../util/atomic-file.js';
import { ProgressMeter } from '../util/progress.js';
import { withSystemErrors } from '../util/system-error.js';
import { COMMIT_MARK, OBJECT_NAMES, type ObjectName } from './keys.js';
import type { NewBuild, PublishOptions } from './store.js';

/** Makes `folder` and moves everything in: data, then headers, then metadata.json, each durable before the next. */
export async function assembleBuild(build: NewBuild, folder: string, options: PublishOptions): Promise<void> {
  await withSystemErrors('create', folder, () => mkdir(folder));
  await moveIn('data', build, folder, (name) => !isHeader(name), options);
  await moveIn('headers', build, folder, isHeader, options);
  options.onProgress?.({ step: 'metadata', done: 0, total: 0 });
  await writeJsonAtomically(join(folder, COMMIT_MARK), build.metadata);
}

const isHeader = (name: ObjectName) => name.endsWith('.header');

async function moveIn(
  step: string,
  build: NewBuild,
  folder: string,
  isOfStep: (name: ObjectName) => boolean,
  { signal, onProgress }: PublishOptions,
): Promise<void> {
  const meter = new ProgressMeter(step, 0, onProgress);
  for (const name of OBJECT_NAMES) {
    const source = name === COMMIT_MARK || !isOfStep(name) ? undefined : build.files.get(name);
    if (source === undefined) continue;
    await moveFile(source, join(folder, name), { signal, onBytes: (bytes) => meter.add(bytes) });
  }
  await syncPath(folder, signal);
}
