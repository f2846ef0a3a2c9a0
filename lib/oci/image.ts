/** From a reference to an image whose every byte has been checked. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { RootloomError } from '../errors.js';
import { Cleaner } from '../util/cleaner.js';
import { type ProgressListener, ProgressMeter } from '../util/progress.js';
import { withSystemErrors } from '../util/system-error.js';
import { unpackLayout } from './archive.js';
import type { BlobFolder } from './blobs.js';
import { ImageLayout } from './layout.js';
import { isConfigType, type LayerCompression, layerCompression } from './media-types.js';
import { hostPlatform, type Platform, parsePlatform } from './platform.js';
import { type ImageReference, type ImageSelector, parseImageReference } from './reference.js';
import { configSchema, type Descriptor, type ImageConfig, type Manifest, manifestSchema } from './schemas.js';
import { PULLED_TAG, pullWithSkopeo } from './skopeo.js';

export interface ImageOptions {
  /** Which platform of an image for several, like "linux/arm64". Default: Linux on this machine's architecture. */
  platform?: string | undefined;
  /**
   * An existing folder in which archives are unpacked and pulled images are put, in a folder of their own that the image removes when it
   * is closed. Needed for those; a layout folder is read where it is.
   */
  stagingDir?: string | undefined;
  /** How much an archive may hold, in bytes. Default: 100 times the size of its file, and 1 GiB at least. */
  maxUnpackedBytes?: number | undefined;
  /**
   * `now` (default): all layers are verified before `openImage` resolves. `later`: only that each is there in its right size; call
   * `verifyLayers` before reading one. The manifest and the configuration are always verified.
   */
  layers?: 'now' | 'later' | undefined;
  signal?: AbortSignal | undefined;
  /** Steps `unpack` and `verify`, in bytes. */
  onProgress?: ProgressListener | undefined;
  logger?: Logger | undefined;
}

export interface ImageLayer {
  /** The blob's file, valid until the image is closed. */
  path: string;
  mediaType: string;
  compression: LayerCompression;
  /** Of the blob as stored. */
  digest: string;
  /** Of the blob as stored, in bytes. */
  size: number;
  /** Digest of the unpacked tar. */
  diffId: string;
}

/** An opened image. Close it when its layers are no longer needed. */
export class Image implements AsyncDisposable {
  constructor(
    /** As it was given to `openImage`. */
    readonly reference: string,
    /** Names the image's content: the same digest is the same image, which a tag does not promise. */
    readonly manifestDigest: string,
    readonly platform: Platform,
    readonly config: ImageConfig,
    /** From the lowest up. */
    readonly layers: readonly ImageLayer[],
    private readonly blobs: BlobFolder,
    private readonly cleaner: Cleaner,
  ) {}

  /** Reads every layer to its end. Rejects with CORRUPT naming the blob, its expected and its actual digest; IO; `signal.reason`. */
  async verifyLayers(options: Pick<ImageOptions, 'signal' | 'onProgress'> = {}): Promise<void> {
    const distinct = new Map(this.layers.map((layer) => [layer.digest, layer]));
    const total = [...distinct.values()].reduce((sum, { size }) => sum + size, 0);
    const meter = new ProgressMeter('verify', total, options.onProgress);
    for (const layer of distinct.values()) {
      await this.blobs.verify(layer, { signal: options.signal, onBytes: (bytes) => meter.add(bytes) });
    }
  }

  /** Removes what was unpacked or pulled for this image. Idempotent. */
  close(): Promise<void> {
    return this.cleaner.run();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Opens the image that a reference names (see `parseImageReference`), for one platform.
 *
 * Rejects with TypeError for a bad reference, platform, or a missing `stagingDir`; NOT_FOUND, INVALID_ARGUMENT (ambiguous), UNSUPPORTED
 * (version, algorithm, layer type, artifact), CORRUPT (missing, truncated or tampered blob, bad JSON), TOOL_MISSING, NO_SPACE, IO;
 * `signal.reason`. Nothing is left behind then.
 */
export async function openImage(reference: string, options: ImageOptions = {}): Promise<Image> {
  options.signal?.throwIfAborted();
  const parsed = parseImageReference(reference);
  const platform = options.platform === undefined ? hostPlatform() : parsePlatform(options.platform);
  const cleaner = new Cleaner(`the image ${reference}`);
  try {
    const source = await bringHere(parsed, platform, options, cleaner);
    const image = await readImage(reference, source, platform, cleaner);
    if (options.layers !== 'later') await image.verifyLayers(options);
    return image;
  } catch (error) {
    return cleaner.runAfter(error);
  }
}

interface Source {
  path: string;
  selector?: ImageSelector | undefined;
}

/** Gives the layout's folder, after unpacking or pulling it. */
async function bringHere(
  reference: ImageReference,
  platform: Platform,
  options: ImageOptions,
  cleaner: Cleaner,
): Promise<Source> {
  if (reference.kind === 'layout') return reference;
  const { stagingDir } = options;
  if (stagingDir === undefined)
    throw new TypeError('An image archive or a docker:// image needs the option stagingDir');
  const folder = await withSystemErrors('create a folder in', stagingDir, () =>
    mkdtemp(join(stagingDir, 'image-')),
  );
  cleaner.defer('the unpacked image', () => rm(folder, { recursive: true, force: true }));
  if (reference.kind === 'archive') {
    await unpackLayout(reference.path, folder, options);
    return { path: folder, selector: reference.selector };
  }
  await pullWithSkopeo(reference.name, platform, folder, 'layout', options);
  return { path: join(folder, 'layout'), selector: { tag: PULLED_TAG } };
}

async function readImage(
  reference: string,
  { path, selector }: Source,
  wanted: Platform,
  cleaner: Cleaner,
): Promise<Image> {
  const layout = await ImageLayout.open(path);
  const chosen = await layout.select(selector, wanted);
  const manifest = await layout.blobs.readDocument(chosen, manifestSchema, 'the manifest');
  if (!isConfigType(manifest.config.mediaType)) {
    const message = `Cannot use ${chosen.digest}: it is an artifact of type ${manifest.config.mediaType}, wanted an image`;
    throw new RootloomError('UNSUPPORTED', message, { path });
  }
  const config = await layout.blobs.readDocument(manifest.config, configSchema, 'the configuration');
  const layers = await readLayers(manifest, config, layout.blobs);
  const platform = chosen.platform ?? config;
  return new Image(reference, chosen.digest, platform, config, layers, layout.blobs, cleaner);
}

async function readLayers(manifest: Manifest, config: ImageConfig, blobs: BlobFolder): Promise<ImageLayer[]> {
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== manifest.layers.length) {
    const counts = `the manifest has ${manifest.layers.length} layers, the configuration ${diffIds.length} diff_ids`;
    throw new RootloomError(
      'CORRUPT',
      `Cannot read the image ${manifest.config.digest}: ${counts}, wanted as many`,
    );
  }
  const readLayer = async ({ mediaType, digest, size }: Descriptor, index: number): Promise<ImageLayer> => {
    const compression = layerCompression(mediaType, digest);
    const path = await blobs.locate({ mediaType, digest, size });
    return { path, mediaType, compression, digest, size, diffId: diffIds[index] as string };
  };
  return Promise.all(manifest.layers.map(readLayer));
}
