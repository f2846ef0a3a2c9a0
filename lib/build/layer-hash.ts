/**
 * The hash that finds a layer again: SHA-256 over the canonical JSON of every input that reaches the artifact.
 *
 * Each phase adds its own inputs to its parent's hash, so that a change anywhere gives new hashes from there on. Raise
 * LAYER_FORMAT when the code changes what the same inputs give.
 */
import { digestBytes, digestJson, type JsonValue } from '../util/digest.js';
import type { PhaseName } from './events.js';

const LAYER_FORMAT = 2;

/** The hash of a phase's layer. `parent` is the hash of the phase before, absent for the first. */
export function layerHash(phase: PhaseName, inputs: JsonValue, parent?: string): string {
  return digestJson({ format: LAYER_FORMAT, phase, inputs, parent: parent ?? null });
}

/** A UUID that the hash determines, one for each purpose: the same inputs give the same filesystem, byte for byte. */
export function deriveUuid(hash: string, purpose: string): string {
  const bytes = Buffer.from(digestBytes(`${purpose}:${hash}`), 'hex').subarray(0, 16);
  // Version 8 of RFC 9562: an identifier made by rules of its own.
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
