/** The base phase of a template that comes from an OCI image: its layers, straight into a new ext4. */
import { ext4 } from '../native/ext4.js';
import type { Image } from '../oci/image.js';
import type { DiskRequest } from '../rootfs/disk-request.js';
import { type ProvisioningFile, provisioningDigest } from '../rootfs/provisioning/files.js';
import type { JsonValue } from '../util/digest.js';
import { filesystemProfile } from './filesystem-profile.js';
import { ImageDisk } from './image-disk.js';
import type { Phase, PhaseContext } from './phase.js';
import { publishDisk } from './publish-disk.js';
import { PROVISIONING_ROOM_BYTES } from './room.js';

export class ImagePhase implements Phase {
  readonly name = 'base';
  readonly inputs: JsonValue;

  private constructor(
    private readonly image: Image,
    private readonly files: readonly ProvisioningFile[],
    private readonly request: DiskRequest,
    profile: string,
  ) {
    this.inputs = {
      source: { manifest: image.manifestDigest },
      disk: { ...request },
      provisioning: provisioningDigest(files),
      profile,
      engine: ext4.engineVersion,
    };
  }

  /** The image stays its owner's, and must stay open until the phase has run. */
  static async of(
    image: Image,
    files: readonly ProvisioningFile[],
    request: DiskRequest,
  ): Promise<ImagePhase> {
    return new ImagePhase(image, files, request, await filesystemProfile());
  }

  async run(context: PhaseContext): Promise<void> {
    const { image, files, request } = this;
    await context.step('verify layers', (options) => image.verifyLayers(options));
    const imageDisk = new ImageDisk(image, files, context);
    await using disk =
      'size' in request
        ? await imageDisk.makeOfSize(request.size)
        : await imageDisk.makeWithRoom(request.free + PROVISIONING_ROOM_BYTES);
    await publishDisk(context, disk, {
      image: { reference: image.reference, digest: image.manifestDigest },
      pristine: true,
    });
  }
}
