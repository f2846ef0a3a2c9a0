/** Media types of OCI and of Docker's schema 2, which differ in name only. */
import { RootloomError } from '../errors.js';

export type LayerCompression = 'none' | 'gzip' | 'zstd';

const INDEXES = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
]);
const MANIFESTS = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
]);
const CONFIGS = new Set([
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
]);

const LAYERS: Record<string, LayerCompression> = {
  'application/vnd.oci.image.layer.v1.tar': 'none',
  'application/vnd.oci.image.layer.v1.tar+gzip': 'gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd': 'zstd',
  'application/vnd.docker.image.rootfs.diff.tar': 'none',
  'application/vnd.docker.image.rootfs.diff.tar.gzip': 'gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd': 'zstd',
};

export const isIndexType = (mediaType: string) => INDEXES.has(mediaType);
export const isManifestType = (mediaType: string) => MANIFESTS.has(mediaType);
export const isConfigType = (mediaType: string) => CONFIGS.has(mediaType);

/** How a layer is packed. Throws UNSUPPORTED, with the reason where it is known. */
export function layerCompression(mediaType: string, digest: string): LayerCompression {
  const compression = LAYERS[mediaType];
  if (compression !== undefined) return compression;
  let reason = 'is not known';
  if (mediaType.includes('encrypted')) reason = 'is encrypted';
  if (/nondistributable|foreign/.test(mediaType)) reason = 'may not be distributed with the image';
  const message = `Cannot read the layer ${digest}: its type ${mediaType} ${reason}, wanted a tar, plain or with gzip or zstd`;
  throw new RootloomError('UNSUPPORTED', message);
}
