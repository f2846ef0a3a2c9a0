/** Image layouts for tests: some made by the real tools, some written by hand where no tool makes such a thing. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { makeScratch } from '../../helpers/temporary.js';

export const TYPES = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
};

export interface TestDescriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: object;
  annotations?: Record<string, string>;
}

/** Runs a tool that the tests need; it fails when the tool is missing. */
export const run = (command: string, args: readonly string[], cwd: string) => execa(command, args, { cwd });

/** An image that umoci made, tagged `latest`, with two gzip layers. Gives the layout's folder. */
export async function makeUmociLayout(): Promise<string> {
  const folder = await makeScratch();
  await mkdir(join(folder, 'tree'));
  await writeFile(join(folder, 'tree', 'file'), 'content');
  await run('umoci', ['init', '--layout', 'layout'], folder);
  await run('umoci', ['new', '--image', 'layout:latest'], folder);
  for (const target of ['/one', '/two']) {
    await run('umoci', ['insert', '--image', 'layout:latest', 'tree', target], folder);
  }
  await run(
    'umoci',
    ['config', '--image', 'layout:latest', '--config.env', 'A=b', '--config.cmd', '/bin/sh'],
    folder,
  );
  await run('umoci', ['gc', '--layout', 'layout'], folder);
  return join(folder, 'layout');
}

/** A layout written by hand. */
export class TestLayout {
  private constructor(readonly path: string) {}

  static async create(): Promise<TestLayout> {
    const layout = new TestLayout(join(await makeScratch(), 'layout'));
    for (const algorithm of ['sha256', 'sha512'])
      await mkdir(join(layout.path, 'blobs', algorithm), { recursive: true });
    await writeFile(join(layout.path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    return layout;
  }

  blobPath(digest: string): string {
    return join(this.path, 'blobs', ...digest.split(':', 2));
  }

  async add(mediaType: string, content: object | Buffer, algorithm = 'sha256'): Promise<TestDescriptor> {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
    const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
    await writeFile(this.blobPath(digest), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** An image of one layer, whose content is the platform's name. */
  async addImage(
    platform: string,
    extra: { layerType?: string; configType?: string } = {},
  ): Promise<TestDescriptor> {
    const [os, architecture, variant] = platform.split('/');
    const bytes = Buffer.from(platform);
    const layer = await this.add(extra.layerType ?? TYPES.layer, bytes);
    const rootfs = { type: 'layers', diff_ids: [layer.digest] };
    const config = await this.add(extra.configType ?? TYPES.config, { os, architecture, variant, rootfs });
    return this.add(TYPES.manifest, { schemaVersion: 2, mediaType: TYPES.manifest, config, layers: [layer] });
  }

  async addIndex(manifests: readonly TestDescriptor[]): Promise<TestDescriptor> {
    return this.add(TYPES.index, { schemaVersion: 2, mediaType: TYPES.index, manifests });
  }

  async writeIndex(manifests: readonly TestDescriptor[]): Promise<void> {
    await writeFile(join(this.path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  }
}

export const onPlatform = (descriptor: TestDescriptor, text: string): TestDescriptor => {
  const [os, architecture, variant] = text.split('/');
  return { ...descriptor, platform: { os, architecture, ...(variant && { variant }) } };
};

export const tagged = (descriptor: TestDescriptor, tag: string): TestDescriptor => ({
  ...descriptor,
  annotations: { 'org.opencontainers.image.ref.name': tag },
});

export const readJson = async (path: string) => JSON.parse(await readFile(path, 'utf8'));
