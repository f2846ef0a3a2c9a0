/** The public API: everything that a program may import from 'rootloom'. */

export { Build, isWhole, openBuild } from './artifact/build.js';
export { type BuildSummary, listBuilds, measureChain } from './artifact/inventory.js';
export type { BuildDescription, BuildMetadata, RootloomMetadata } from './artifact/metadata.js';
export { dependents, removeBuild } from './artifact/remove.js';
export { type RemovedLayers, type RemoveUnusedOptions, removeUnusedLayers } from './artifact/unused.js';
export type { VerifyOptions, VerifyReport } from './artifact/verify.js';
export { defaultStoreUrl } from './build/defaults.js';
export { type ExamineMachineOptions, examineMachine, type MachineFinding } from './build/doctor.js';
export type { BuildEvent, PhaseName, PhaseReport } from './build/events.js';
export {
  type MachineOptions,
  type TemplateOptions,
  type TemplateSource,
  validateOptions as validateTemplateOptions,
} from './build/options.js';
export { type ResizeRootfsOptions, type ResizeRootfsResult, resizeRootfs } from './build/resize-rootfs.js';
export { type Sandbox, type StartSandboxOptions, startSandbox } from './build/sandbox.js';
export { buildTemplate, type TemplateBuild, type TemplateResult } from './build/template-builder.js';
export {
  ERROR_CODES,
  type ErrorContext,
  isRootloomError,
  RootloomError,
  type RootloomErrorCode,
} from './errors.js';
export {
  type AttachMechanism,
  Attachment,
  type AttachmentStats,
  type AttachOptions,
  attach,
  type QueueSettings,
} from './native/attachment.js';
export type { CallOptions } from './native/call.js';
export {
  type DiskHeader,
  decodeHeader,
  encodeHeader,
  openChain,
  sealDevice,
  sealOverlay,
} from './native/chain.js';
export {
  copyDeviceToFile,
  createMemoryDevice,
  createZeroDevice,
  Device,
  openFileDevice,
} from './native/device.js';
export {
  createFaultyDevice,
  createLoggingDevice,
  type LoggedOperation,
  type LoggingDevice,
} from './native/device-doubles.js';
export { type EmptyDeviceOptions, emptyDevice } from './native/empty-device.js';
export { type Export, type ServeOptions, serve } from './native/export.js';
export { ext4 } from './native/ext4.js';
export { type Ext4Tree, openTree } from './native/ext4-tree.js';
export { compareTrees, type TreeDifference } from './native/ext4-tree-compare.js';
export type { FileDigest, FileStat, FileType, WalkedFile, Xattr } from './native/ext4-tree-types.js';
export type { Ext4Stats, FsckReport, IoReport } from './native/ext4-types.js';
export type { EngineOptions, Isolation } from './native/isolation.js';
export {
  type NbdDevice,
  NbdPool,
  type NbdPoolOptions,
  nbdDevices,
  openNbdPool,
  reclaimNbdDevices,
} from './native/nbd-pool.js';
export { createOverlay, type OverlayCut, type OverlayDevice } from './native/overlay.js';
export { type Image, type ImageOptions, openImage } from './oci/image.js';
export { parsePlatform } from './oci/platform.js';
export { parseImageReference } from './oci/reference.js';
export { type AttachedRootfs, type AttachRootfsOptions, attachRootfs } from './rootfs/attach-rootfs.js';
export { type AttachedDisk, attachEmpty } from './rootfs/attached-disk.js';
export { checkRootfs, type RootfsCheckReport } from './rootfs/check-rootfs.js';
export { type CopyOutReport, copyOutTree } from './rootfs/copy-out.js';
export type { DiskRequest, ResizeTarget } from './rootfs/disk-request.js';
export { type BuildInspection, inspectBuild } from './rootfs/inspect.js';
export { type Mount, type MountRootfsOptions, mountRootfs } from './rootfs/mount.js';
export {
  type ProvisioningFile,
  type ProvisioningOptions,
  provisioningFiles,
} from './rootfs/provisioning/files.js';
export { resolveOptions as resolveProvisioningOptions } from './rootfs/provisioning/options.js';
export { type ReclaimReport, reclaimDevices } from './rootfs/reclaim-devices.js';
export { type ResizeReport, resizeDisk } from './rootfs/resize.js';
export { type OpenRootfsOptions, openRootfs, type Rootfs } from './rootfs/rootfs.js';
export type { CheckPolicy } from './rootfs/soundness.js';
export type { Strategy } from './rootfs/strategy.js';
export type { Unmounted } from './rootfs/unmount.js';
export { parseBuildId } from './storage/keys.js';
export { openStore } from './storage/open-store.js';
export { parseStorageUrl } from './storage/storage-url.js';
export type { Store } from './storage/store.js';
export { formatByteSize, parseByteSize } from './util/byte-size.js';
export { Cleaner, type CleanerOptions } from './util/cleaner.js';
export { packageVersion } from './util/package.js';
export type { Progress, ProgressListener } from './util/progress.js';
export type { ExecOptions, ExecResult } from './vm/guest-agent.js';
export {
  ensureKernelBundle,
  type KernelBundle,
  type KernelBundleOptions,
  makeKernelBundle,
  openKernelBundle,
} from './vm/kernel-bundle.js';
