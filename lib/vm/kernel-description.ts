/** kernel.json: what a kernel bundle says of itself. */
import { z } from 'zod';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const bundleFile = z.strictObject({ size: z.int().positive(), sha256 });

const kernelOrigin = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('package'),
    /** As the package names itself. */
    name: z.string(),
    version: z.string(),
    architecture: z.string(),
    /** Of the .deb file. */
    sha256,
  }),
  z.strictObject({ kind: z.literal('file'), sha256 }),
]);

export const kernelDescription = z.strictObject({
  formatVersion: z.literal(1),
  /** What `uname -r` says in the guest. */
  version: z.string().min(1),
  kernel: bundleFile,
  initramfs: bundleFile,
  /** The modules in the initramfs, in the order they are loaded. */
  modules: z.array(z.string()),
  origin: kernelOrigin,
  /** Of the program that runs the initramfs. */
  busybox: z.strictObject({ sha256 }),
});

export type KernelOrigin = z.infer<typeof kernelOrigin>;
export type KernelDescription = z.infer<typeof kernelDescription>;
