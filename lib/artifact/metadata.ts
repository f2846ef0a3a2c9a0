/**
 * metadata.json: what a build says about itself.
 *
 * The fields are the reference's, in its own spelling. What rootloom adds is under the one key `rootloom`, which the reference
 * ignores. As there, a version that is no number, or 1 and below, means that nothing else counts; unknown fields are dropped.
 */
import { z } from 'zod';
import { RootloomError } from '../errors.js';
import { parseJson } from '../util/json.js';

/** The version of the reference's part that is written. */
const METADATA_VERSION = 2;

/** The version of the `rootloom` key. A higher one is not read: it may mean something else by the same names. */
const FORMAT_VERSION = 1;

/** An optional field, null being the same as absent. */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema
    .nullable()
    .transform((value) => value ?? undefined)
    .optional();

const bytes = z.number().int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** What proves that a disk is as it was sealed, clean; lib/rootfs makes and compares it. */
const provenanceSchema = z.object({ headerSha256: sha256, superblockSha256: sha256 });

const artifactSchema = z.object({
  /** Of the device, in bytes. */
  size: bytes,
  /** Length of the build's own diff. */
  diffBytes: bytes,
  headerSha256: sha256,
  /** Of the build's own diff, where it was computed. */
  diffSha256: sha256.optional(),
});

const rootloomSchema = z.object({
  formatVersion: z.literal(FORMAT_VERSION),
  /** Which phase of a template build made it. */
  phase: z.enum(['base', 'provision', 'template']),
  createdAt: z.iso.datetime(),
  /** Where the cache finds it. */
  layerHash: sha256.optional(),
  cacheScope: z.string().optional(),
  /** The build whose disk this one's continues. */
  parentBuildId: z.uuid().optional(),
  /** The template that this one was made from. */
  sourceBuildId: z.uuid().optional(),
  /** How the disk got its size. */
  strategy: z.enum(['resize', 'rebuild', 'copy']).optional(),
  /** The image that this one was made from. */
  image: z.object({ reference: z.string(), digest: z.string() }).optional(),
  disk: artifactSchema.extend({
    /** A provenance in another form proves nothing, and its disk is checked before it is resized. */
    clean: provenanceSchema.optional().catch(undefined),
    /** True when only this library has ever written to it: it was never a guest's disk, nor were those that it continues. */
    pristine: z.boolean().optional(),
  }),
  memory: artifactSchema.optional(),
  /** The VM state's file. */
  snapfile: z.object({ size: bytes, sha256: sha256.optional() }).optional(),
  /** What resuming the VM state needs; lib/vm writes and checks it. */
  vm: z.record(z.string(), z.json()).optional(),
});

const contextSchema = z.object({
  user: optional(z.string()),
  workdir: optional(z.string()),
  env_vars: optional(z.record(z.string(), z.string())),
});

const currentSchema = z.object({
  version: z.number().int().min(2),
  template: z.object({
    build_id: z.string(),
    kernel_version: z.string().default(''),
    firecracker_version: z.string().default(''),
  }),
  /** For the steps that follow. */
  context: optional(contextSchema),
  start: optional(
    z.object({ start_command: z.string(), ready_command: z.string(), context: optional(contextSchema) }),
  ),
  from_image: optional(z.string()),
  from_template: optional(z.object({ alias: z.string(), build_id: z.string() })),
  prefetch: optional(
    z.object({
      memory: optional(
        z.object({
          indices: z.array(bytes),
          access_types: z.array(z.enum(['r', 'w', 'p'])),
          block_size: bytes,
        }),
      ),
    }),
  ),
  cmdline_args: optional(z.record(z.string(), z.string())),
  filesystem_only: optional(z.boolean()),
  fs_quiesced: optional(z.boolean()),
  rootloom: rootloomSchema.optional(),
});

/** The least that every metadata.json is, and which of its versions it is. */
const anySchema = z.object({
  version: z.unknown().optional(),
  rootloom: z.object({ formatVersion: z.number() }).optional().catch(undefined),
});

export type RootloomMetadata = z.output<typeof rootloomSchema>;
export type ArtifactRecord = z.output<typeof artifactSchema>;
export type SnapfileRecord = NonNullable<RootloomMetadata['snapfile']>;
export type CurrentMetadata = z.output<typeof currentSchema>;
export type BuildMetadata = Partial<Omit<CurrentMetadata, 'version'>> & { version: number };

/** Reads metadata.json. Throws CORRUPT, or UNSUPPORTED when a later rootloom wrote it in another way. */
export function parseMetadata(data: Uint8Array, buildId: string): BuildMetadata {
  const what = `the metadata of build ${buildId}`;
  const { version, rootloom } = parseJson(data, anySchema, what);
  if (typeof version !== 'number' || version <= 1) return { version: 1 };
  if (rootloom !== undefined && rootloom.formatVersion > FORMAT_VERSION) {
    const is = `its format is ${rootloom.formatVersion}, ${FORMAT_VERSION} is known`;
    throw new RootloomError('UNSUPPORTED', `Cannot read ${what}: ${is}, use a later rootloom`, { buildId });
  }
  return parseJson(data, currentSchema, what);
}

/** What the maker of a build says about it; the rest is taken from its files. */
export type BuildDescription = Omit<
  RootloomMetadata,
  'formatVersion' | 'createdAt' | 'disk' | 'memory' | 'snapfile'
> & {
  /** Of the disk. */
  clean?: z.output<typeof provenanceSchema> | undefined;
  pristine?: boolean | undefined;
  /** Fields of the reference, in its own spelling, where it is to see them. */
  reference?: Partial<Omit<CurrentMetadata, 'version' | 'template' | 'rootloom'>> & {
    kernel_version?: string;
  };
};

/**
 * Makes the metadata of a new build.
 *
 * `filesystem_only` is true unless said otherwise: the VM state, if there is any, is not the reference's, so all that the
 * reference can do with the build is to boot its disk. Throws TypeError for a description that breaks the format.
 */
export function describeBuild(
  buildId: string,
  description: BuildDescription,
  artifacts: {
    disk: ArtifactRecord;
    memory?: ArtifactRecord | undefined;
    snapfile?: SnapfileRecord | undefined;
  },
): CurrentMetadata {
  const { clean, pristine, reference: { kernel_version = '', ...reference } = {}, ...own } = description;
  const result = currentSchema.safeParse({
    version: METADATA_VERSION,
    template: { build_id: buildId, kernel_version, firecracker_version: '' },
    context: {},
    filesystem_only: true,
    from_image: own.image?.reference,
    ...reference,
    rootloom: {
      formatVersion: FORMAT_VERSION,
      createdAt: new Date().toISOString(),
      ...own,
      disk: { ...artifacts.disk, clean, pristine },
      memory: artifacts.memory,
      snapfile: artifacts.snapfile,
    },
  });
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new TypeError(`Cannot describe build ${buildId}: at ${issue?.path.join('.')}: ${issue?.message}`);
}
