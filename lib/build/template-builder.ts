/**
 * Builds a template: base (from an image or from another template), provision, template (boot and snapshot).
 *
 * Each phase ends in a published build and an entry in the layer index. When a later phase fails or the build is aborted, the
 * layers that this run made are removed again; layers that were there before, or that another build has come to need, stay.
 */
import { openBuild } from '../artifact/build.js';
import { isRootloomError } from '../errors.js';
import { openImage } from '../oci/image.js';
import { type DiskRequest, SMALLEST_DISK_BYTES } from '../rootfs/disk-request.js';
import { type ProvisioningFile, provisioningFiles } from '../rootfs/provisioning/files.js';
import { LinkedController } from '../util/abort.js';
import { type Cleaner, withCleaner } from '../util/cleaner.js';
import { type BuildEvent, EventStream, type PhaseReport } from './events.js';
import { ImagePhase } from './image-phase.js';
import { forgetLayer } from './layer-cache.js';
import { type Layer, type LayerRunOptions, runLayer } from './layer-runner.js';
import { openMachine } from './machine.js';
import { type TemplateOptions, validateOptions } from './options.js';
import type { Phase } from './phase.js';
import { ProvisionPhase } from './provision-phase.js';
import { SnapshotPhase } from './snapshot-phase.js';
import { TemplatePhase } from './template-phase.js';

/** A finished template. */
export interface TemplateResult {
  /** The build to start sandboxes from. */
  buildId: string;
  /** What each phase did, in order. */
  phases: readonly PhaseReport[];
}

/**
 * A template build under way, from the moment it is made. Iterate over it for its events, or await `result`, or both; it goes on
 * either way, also when a loop over the events is left. There is one stream of events: only one loop may read it.
 *
 * `await using build = buildTemplate(…)` ties it to a scope: leaving the scope before the end, by an error say, aborts the build and
 * waits until it has released everything.
 */
export class TemplateBuild implements AsyncIterable<BuildEvent>, AsyncDisposable {
  readonly #events = new EventStream();
  readonly #controller: LinkedController;
  #isSettled = false;
  /**
   * Resolves when the template is published. Rejects with a RootloomError, a TypeError or RangeError for wrong options, what an
   * `onProgress` or `logger` of the options has thrown, or the signal's reason; the store is then as it was before.
   */
  readonly result: Promise<TemplateResult>;

  constructor(options: TemplateOptions) {
    this.#controller = new LinkedController(options.signal);
    this.result = this.#run(options);
    this.result.then(
      () => this.#events.end(),
      (error) => this.#events.fail(error),
    );
  }

  [Symbol.asyncIterator](): AsyncIterator<BuildEvent> {
    return this.#events[Symbol.asyncIterator]();
  }

  /** Aborts a build that is not finished, and waits for its end. Rejects only with CLEANUP_FAILED. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isSettled) return;
    this.#controller.abort(new DOMException('The template build was disposed of', 'AbortError'));
    await this.result.catch((error: unknown) => {
      if (isRootloomError(error, 'CLEANUP_FAILED')) throw error;
    });
  }

  async #run(options: TemplateOptions): Promise<TemplateResult> {
    using controller = this.#controller;
    const { signal } = controller;
    const emit = (event: BuildEvent) => {
      this.#events.emit(event);
      try {
        forward(event, options);
      } catch (error) {
        controller.abort(error);
      }
    };
    try {
      signal.throwIfAborted();
      validateOptions(options);
      const run = { store: options.store, force: options.force ?? false, signal, emit };
      return await withCleaner('the template build', (cleaner) => buildLayers(options, cleaner, run));
    } finally {
      this.#isSettled = true;
    }
  }
}

/** Passes events on to the caller's progress listener and logger. */
function forward(event: BuildEvent, { onProgress, logger }: TemplateOptions): void {
  if (event.type === 'step')
    onProgress?.({ step: `${event.phase}: ${event.step}`, done: event.done, total: event.total });
  else if (event.type === 'log') logger?.debug({ phase: event.phase }, event.line);
  else if (event.type === 'phase-started')
    logger?.info({ phase: event.phase, layerHash: event.layerHash }, 'phase started');
  else logger?.info(event.report, 'phase finished');
}

interface BasePhase {
  phase: Phase;
  /** What a disk asked for by its free space is not made smaller than, in bytes. */
  smallestDisk: number;
}

async function makeBasePhase(
  options: TemplateOptions,
  files: readonly ProvisioningFile[],
  cleaner: Cleaner,
  signal: AbortSignal,
): Promise<BasePhase> {
  const { from, store, disk, check = 'auto', strategy = 'resize', isolation, logger } = options;
  if ('template' in from) {
    const source = await openBuild(store, from.template, { signal });
    const { size } = await source.header('rootfs');
    const phase = new TemplatePhase(source, files, disk, check, strategy, isolation);
    return { phase, smallestDisk: strategy === 'resize' ? size : SMALLEST_DISK_BYTES };
  }
  const staging = cleaner.use('the image staging folder', await store.createStaging({ signal }));
  const image = await openImage(from.oci, {
    ...{ platform: from.platform, stagingDir: staging.path, layers: 'later', signal, logger },
  });
  cleaner.use('the image', image);
  return { phase: await ImagePhase.of(image, files, disk as DiskRequest), smallestDisk: SMALLEST_DISK_BYTES };
}

async function buildLayers(
  options: TemplateOptions,
  cleaner: Cleaner,
  run: LayerRunOptions,
): Promise<TemplateResult> {
  const { store, signal } = run;
  const { disk, logger } = options;
  const files = await provisioningFiles(options.provisioning);
  const base = await makeBasePhase(options, files, cleaner, signal);
  const machine = await openMachine(options.machine, { signal, logger });
  const free = disk !== undefined && 'free' in disk ? disk.free : undefined;
  const fit = free === undefined ? undefined : { free, smallestDisk: base.smallestDisk };
  const layers: Layer[] = [];
  const removal = async () => {
    // Newest first: an older one is needed by it.
    for (const { made } of layers.toReversed()) if (made !== undefined) await forgetLayer(store, made);
  };
  cleaner.defer('the layers of the failed build', removal);
  for (const phase of [base.phase, new ProvisionPhase(machine, fit), new SnapshotPhase(machine, free)]) {
    layers.push(await runLayer(phase, layers.at(-1), run));
  }
  cleaner.dismiss(removal);
  const { build } = layers.at(-1) as Layer;
  return { buildId: build.id, phases: layers.map(({ report }) => report) };
}

/**
 * Starts building a template; see `TemplateBuild`. Nothing is thrown: wrong options reject `result`. A build whose inputs all
 * equal those of an earlier one is answered from the cache.
 *
 * `result` rejects with NOT_FOUND for an unknown source; CORRUPT for a damaged one; TOO_SMALL, where `minimum` says what would do,
 * or NO_SPACE for a disk that its content does not fit; UNSUPPORTED_DISTRIBUTION; GUEST_FAILED when provisioning or
 * booting fails (`logTail` has the last lines); GUEST_TIMEOUT; VM_FAILED; TOOL_MISSING; NO_SPACE when the host is full; IO; and as
 * `openImage`, `ensureKernelBundle` and `Store.publish` do.
 */
export function buildTemplate(options: TemplateOptions): TemplateBuild {
  return new TemplateBuild(options);
}
