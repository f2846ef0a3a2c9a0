/** The text that says where a store is. */
import { isAbsolute, resolve } from 'node:path';
import { RootloomError } from '../errors.js';

export interface FileLocation {
  kind: 'file';
  /** Absolute. */
  path: string;
}

const WANTED = 'wanted a folder path or file:///absolute/path';
const OBJECT_STORES = ['gs', 's3', 'azblob'];

/**
 * Reads `file:///absolute`, `file:relative` (to the current folder), and plain paths.
 *
 * Messages repeat the scheme and the names of query parameters, never the rest: there may be a secret in it.
 *
 * @throws TypeError for text that is no such URL, has credentials or a query; RootloomError UNSUPPORTED for the object stores
 *   that share the notation (gs, s3, azblob) and for other schemes.
 */
export function parseStorageUrl(text: string): FileLocation {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    if (text === '') throw new TypeError(`Cannot open a store: its URL is empty, ${WANTED}`);
    return { kind: 'file', path: resolve(text) };
  }
  const rest = text.slice(scheme.length + 1);
  const authority = /^\/\/([^/?#]*)/.exec(rest)?.[1] ?? '';
  if (authority.includes('@')) {
    throw new TypeError(
      `Cannot open the ${scheme} store: its URL has credentials, wanted them in the environment`,
    );
  }
  if (scheme !== 'file') {
    const known = OBJECT_STORES.includes(scheme) ? 'is not supported yet' : 'is not known';
    throw new RootloomError(
      'UNSUPPORTED',
      `Cannot open the store: the scheme "${scheme}" ${known}, ${WANTED}`,
    );
  }
  return { kind: 'file', path: parseFilePath(rest, authority) };
}

function parseFilePath(rest: string, authority: string): string {
  const [location = '', query] = rest.split(/[?#]/, 2);
  if (query !== undefined) {
    const names = [...new URLSearchParams(query).keys()].map((name) => `"${name}"`).join(', ');
    throw new TypeError(
      `Cannot open the file store: its URL has the parameters ${names || 'of nothing'}, wanted none`,
    );
  }
  if (!location.startsWith('/')) {
    if (location === '') throw new TypeError(`Cannot open the file store: its URL has no path, ${WANTED}`);
    return resolve(decode(location));
  }
  if (authority !== '') throw new TypeError(`Cannot open the file store: its URL names a host, ${WANTED}`);
  const path = decode(location.replace(/^\/\//, ''));
  if (!isAbsolute(path)) throw new TypeError(`Cannot open the file store: its URL has no path, ${WANTED}`);
  return resolve(path);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new TypeError(`Cannot open the file store: its URL has a "%" that encodes nothing, ${WANTED}`);
  }
}
