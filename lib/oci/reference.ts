/** The text that names an image, and where it is. */
import { RootloomError } from '../errors.js';

/** Which image of several in one layout: by its tag (org.opencontainers.image.ref.name) or its digest. */
export type ImageSelector = { tag: string } | { digest: string };

export type ImageReference =
  | { kind: 'layout'; path: string; selector?: ImageSelector }
  | { kind: 'archive'; path: string; selector?: ImageSelector }
  /** `name` is what follows `docker://`. */
  | { kind: 'registry'; name: string };

const WANTED =
  'wanted oci:PATH[:TAG], oci-archive:FILE[:TAG], docker://NAME[:TAG], or the path of an image layout (with ./ before a name that has a colon)';

/** NAME[:TAG][@DIGEST], the registry and its port being part of the name. Nothing that a program could take for an option. */
const REGISTRY_NAME = /^[a-z0-9][\w.:/-]*(?:@[a-z0-9+._-]+:[0-9a-f]+)?$/i;

/**
 * Reads a reference:
 *
 * - `oci:PATH`, `oci:PATH:TAG`, `oci:PATH@sha256:…`: an image layout folder; the path ends at the first colon;
 * - `oci-archive:FILE` and so on: the same packed as a tar file;
 * - `docker://NAME[:TAG][@DIGEST]`: an image in a registry;
 * - anything without a scheme: the path of an image layout folder.
 *
 * @throws TypeError for text that is none of these; RootloomError UNSUPPORTED for other schemes.
 */
export function parseImageReference(text: string): ImageReference {
  const scheme = /^([a-z][a-z0-9+-]*):/.exec(text)?.[1];
  if (scheme === undefined) {
    if (text === '') throw new TypeError(`Cannot read the image reference "": it is empty, ${WANTED}`);
    return { kind: 'layout', path: text };
  }
  const rest = text.slice(scheme.length + 1);
  if (scheme === 'oci') return { kind: 'layout', ...parseLocation(text, rest) };
  if (scheme === 'oci-archive') return { kind: 'archive', ...parseLocation(text, rest) };
  if (scheme !== 'docker') {
    const message = `Cannot read the image reference "${text}": the scheme "${scheme}" is not supported, ${WANTED}`;
    throw new RootloomError('UNSUPPORTED', message);
  }
  const name = rest.startsWith('//') ? rest.slice(2) : '';
  if (!REGISTRY_NAME.test(name)) {
    throw new TypeError(
      'Cannot read the docker:// image reference: it is no name, wanted docker://NAME[:TAG][@DIGEST]',
    );
  }
  return { kind: 'registry', name };
}

function parseLocation(text: string, rest: string): { path: string; selector?: ImageSelector } {
  const byDigest = /^(.+)@([a-z0-9]+:[0-9a-f]+)$/.exec(rest);
  if (byDigest?.[1] !== undefined && byDigest[2] !== undefined) {
    return { path: byDigest[1], selector: { digest: byDigest[2] } };
  }
  const colon = rest.indexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  if (path === '')
    throw new TypeError(`Cannot read the image reference "${text}": it has no path, ${WANTED}`);
  if (tag === '')
    throw new TypeError(`Cannot read the image reference "${text}": its tag is empty, ${WANTED}`);
  return tag === undefined ? { path } : { path, selector: { tag } };
}
