/** Loads the addon. No other file does. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { PACKAGE_ROOT } from '../util/package.js';

const require = createRequire(import.meta.url);
const nodeGypBuild = require('node-gyp-build') as (folder: string) => unknown;

/** An opaque, type-tagged value around a native object. */
declare const handleBrand: unique symbol;
export interface NativeHandle<Kind extends string> {
  readonly [handleBrand]: Kind;
}
export type DeviceHandle = NativeHandle<'device'>;

/** A native call under way. The promise rejects with a raw error that `runNative` translates. */
export interface NativeCall<Value> {
  readonly promise: Promise<Value>;
  cancel(): void;
}

export type { Progress, ProgressListener } from '../util/progress.js';

/** Each room of lib/native describes its own part of the addon and asks for it by type. */
export const addon: unknown = nodeGypBuild(fileURLToPath(PACKAGE_ROOT));
