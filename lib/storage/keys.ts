/** The names that things have in a store: the reference's own, so that its builds are found here and ours there. */

/** Every object that a build may have, in the order in which they are made durable: data, headers, metadata. */
export const OBJECT_NAMES = [
  'rootfs.ext4',
  'memfile',
  'snapfile',
  'rootfs.ext4.header',
  'memfile.header',
  'metadata.json',
] as const;

export type ObjectName = (typeof OBJECT_NAMES)[number];

/** Data as others may have stored it: compressed, which its name tells. rootloom reads such objects, and writes none. */
export type CompressedName = `${'rootfs.ext4' | 'memfile'}.${'zstd' | 'lz4'}`;

/** The object whose presence makes a build exist. */
export const COMMIT_MARK = 'metadata.json' satisfies ObjectName;

/** One object of a build. */
export interface ObjectKey {
  buildId: string;
  name: ObjectName | CompressedName;
}

/** Where a cached layer is found: a scope (a team, a template) and the hash of everything that went into the layer. */
export interface LayerKey {
  scope: string;
  hash: string;
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** True for a build's id in its one spelling. */
export function isBuildId(text: string): boolean {
  return UUID.test(text);
}

/** Checks a build's id and gives its one spelling, lower case. Throws TypeError for anything but a UUID. */
export function parseBuildId(text: string): string {
  const buildId = text.toLowerCase();
  if (isBuildId(buildId)) return buildId;
  throw new TypeError(
    `"${text}" is not the id of a build, wanted a UUID like 0f8fad5b-d9cb-469f-a165-70867728950e`,
  );
}

/** Checks the parts of a layer's key: both become path segments. Throws TypeError. */
export function validateLayerKey({ scope, hash }: LayerKey): void {
  if (!/^(?!\.)[\w.-]{1,200}$/.test(scope)) {
    throw new TypeError(`"${scope}" is not a cache scope, wanted letters, digits, "_", "-" and "."`);
  }
  if (!/^[0-9a-f]{64}$/.test(hash))
    throw new TypeError(`"${hash}" is not a layer hash, wanted 64 hexadecimal digits`);
}
