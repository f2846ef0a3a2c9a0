/** What a list of builds says. */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { listBuilds } from '../../../lib/artifact/inventory.js';
import { openStore } from '../../../lib/storage/open-store.js';
import { makeScratch } from '../../helpers/temporary.js';
import { publishTestBuild } from './builds.js';

const image = { reference: 'oci:images/debian:12', digest: `sha256:${'0'.repeat(64)}` };

describe('listBuilds', () => {
  it('finds what a template was made from through its layers', async () => {
    const root = await makeScratch();
    await using store = await openStore(root);
    const base = await publishTestBuild(store, { description: { phase: 'base', image } });
    const provision = await publishTestBuild(store, {
      description: { phase: 'provision', parentBuildId: base.build.id },
    });
    const template = await publishTestBuild(store, {
      description: { phase: 'template', parentBuildId: provision.build.id },
    });
    const sourceOf = async (id: string) =>
      (await listBuilds(store)).find(({ buildId }) => buildId === id)?.source;
    expect(await sourceOf(template.build.id)).toBe(image.reference);
    await rm(join(root, 'templates', provision.build.id), { recursive: true });
    expect(await sourceOf(template.build.id)).toBeUndefined();
  });

  it('ends when parents lead in a circle', async () => {
    await using store = await openStore(await makeScratch());
    const [a, b] = [randomUUID(), randomUUID()];
    await publishTestBuild(store, { buildId: a, description: { phase: 'base', parentBuildId: b } });
    await publishTestBuild(store, { buildId: b, description: { phase: 'base', parentBuildId: a } });
    expect((await listBuilds(store)).map(({ source }) => source)).toEqual([undefined, undefined]);
  });
});
