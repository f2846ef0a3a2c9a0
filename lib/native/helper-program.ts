/** The helper programs that are built and shipped with the addon. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { RootloomError } from '../errors.js';
import { PACKAGE_ROOT } from '../util/package.js';

/** Where builds leave them, and where packages have them. */
const PLACES = ['build/Release', `prebuilds/${process.platform}-${process.arch}`];

function placesOf(name: string): string[] {
  return PLACES.map((place) => fileURLToPath(new URL(`${place}/${name}`, PACKAGE_ROOT)));
}

/** Where one is, or would be, for a caller that finds out later whether it is needed. */
export function placeOfHelper(name: string): string {
  const places = placesOf(name);
  return places.find((place) => existsSync(place)) ?? (places[0] as string);
}

/** Finds one by its name; `purpose` says what it is needed for. Throws TOOL_MISSING. */
export function findHelper(name: string, purpose: string): string {
  const candidates = placesOf(name);
  const found = candidates.find((candidate) => existsSync(candidate));
  if (found !== undefined) return found;
  const message = `Cannot ${purpose}: ${name} is at none of ${candidates.join(', ')}, build it with npm run build:native`;
  throw new RootloomError('TOOL_MISSING', message, { operation: purpose });
}
