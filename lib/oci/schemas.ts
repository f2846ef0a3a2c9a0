/** The JSON documents of an image. Unknown fields are allowed everywhere, as the specification wants. */
import { z } from 'zod';

/** The specification's grammar; `parseDigest` decides which algorithms there are. */
const digestSchema = z.string().regex(/^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/);

const platformSchema = z.object({ os: z.string(), architecture: z.string(), variant: z.string().optional() });

const annotationsSchema = z.record(z.string(), z.string()).nullish();

export const descriptorSchema = z.object({
  mediaType: z.string(),
  digest: digestSchema,
  size: z.number().int().nonnegative(),
  platform: platformSchema.optional(),
  annotations: annotationsSchema,
});
export type Descriptor = z.output<typeof descriptorSchema>;

export const layoutSchema = z.object({ imageLayoutVersion: z.string() });

export const indexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: z
    .array(descriptorSchema)
    .nullable()
    .transform((list) => list ?? []),
});

export const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  config: descriptorSchema,
  layers: z
    .array(descriptorSchema)
    .nullable()
    .transform((list) => list ?? []),
});
export type Manifest = z.output<typeof manifestSchema>;

const textList = z.array(z.string()).nullish();

export const configSchema = z.object({
  created: z.string().nullish(),
  os: z.string().default(''),
  architecture: z.string().default(''),
  variant: z.string().optional(),
  config: z
    .object({
      User: z.string().nullish(),
      Env: textList,
      Entrypoint: textList,
      Cmd: textList,
      WorkingDir: z.string().nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
      ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
      Volumes: z.record(z.string(), z.unknown()).nullish(),
      StopSignal: z.string().nullish(),
    })
    .nullish(),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(digestSchema) }),
});
/** What an image says about itself, in the specification's own names. */
export type ImageConfig = z.output<typeof configSchema>;
