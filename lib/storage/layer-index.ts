/** Which build was stored for a layer: `{scope}/index/{hash}`, the reference's own notation. */
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { isRootloomError } from '../errors.js';
import { makeFolder, moveFile, readJsonFile, syncPath, writeJsonAtomically } from '../util/atomic-file.js';
import { OwnedFolder } from '../util/owned-folder.js';
import { withSystemErrors } from '../util/system-error.js';
import { type LayerKey, parseBuildId, validateLayerKey } from './keys.js';

const entrySchema = z.object({ template: z.object({ build_id: z.uuid() }) });

export class LayerIndex {
  /**
   * @param root The folder of the scopes.
   * @param temporaryArea On the same filesystem; see OwnedFolder.
   */
  constructor(
    private readonly root: string,
    private readonly temporaryArea: string,
  ) {}

  async read(layer: LayerKey): Promise<string | undefined> {
    try {
      const entry = await readJsonFile(this.#path(layer), entrySchema, `the cache entry ${layer.hash}`);
      return parseBuildId(entry.template.build_id);
    } catch (error) {
      if (isRootloomError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  async write(layer: LayerKey, buildId: string): Promise<void> {
    const entry = { template: { build_id: parseBuildId(buildId) } };
    const target = this.#path(layer);
    await makeFolder(dirname(target));
    await using temporary = await OwnedFolder.create(this.temporaryArea);
    const source = join(temporary.path, layer.hash);
    await writeJsonAtomically(source, entry);
    await moveFile(source, target);
    await syncPath(dirname(target));
  }

  async remove(layer: LayerKey): Promise<void> {
    const path = this.#path(layer);
    await withSystemErrors('remove', path, () => rm(path, { force: true }));
  }

  #path(layer: LayerKey): string {
    validateLayerKey(layer);
    return join(this.root, layer.scope, 'index', layer.hash);
  }
}
