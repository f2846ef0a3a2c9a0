/** Base disks without a virtual machine: the first phase of a template build, alone. */
import type { BuildEvent } from '../../lib/build/events.js';
import { ImagePhase } from '../../lib/build/image-phase.js';
import { type Layer, runLayer } from '../../lib/build/layer-runner.js';
import { openImage } from '../../lib/oci/image.js';
import type { DiskRequest } from '../../lib/rootfs/disk-request.js';
import { provisioningFiles } from '../../lib/rootfs/provisioning/files.js';
import type { Store } from '../../lib/storage/store.js';

export interface BaseBuildOptions {
  store: Store;
  reference: string;
  disk: DiskRequest;
  force?: boolean;
  signal?: AbortSignal;
  emit?: (event: BuildEvent) => void;
}

/** Builds, or finds in the cache, the base layer of an image. */
export async function buildBase(options: BaseBuildOptions): Promise<Layer> {
  const {
    store,
    reference,
    disk,
    force = false,
    signal = new AbortController().signal,
    emit = () => {},
  } = options;
  await using image = await openImage(reference, { layers: 'later', signal });
  return await runLayer(await ImagePhase.of(image, await provisioningFiles(), disk), undefined, {
    store,
    force,
    signal,
    emit,
  });
}
