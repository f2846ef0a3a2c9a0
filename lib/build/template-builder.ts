/**
 * Builds a template: base (from an image or from another template), provision, template (boot and snapshot).
 *
 * Each phase ends in a published build and an entry in the layer index. When a later phase fails or the build is aborted, the
 * layers that this run made are removed again; layers that were there before, or that another build has come to need, stay.
 */
import { type Build, openBuild } from '../artifact/build.js';
import { removeBuild } from '../artifact/remove.js';
import { isRootloomError } from '../errors.js';
import { openImage } from '../oci/image.js';
import { validateDiskRequest } from '../rootfs/disk-request.js';
import { type ProvisioningFile, provisioningFiles } from '../rootfs/provisioning/files.js';
import { LinkedController } from '../util/abort.js';
import { Cleaner } from '../util/cleaner.js';
import { type BuildEvent, EventStream, type PhaseReport } from './events.js';
import { ImagePhase } from './image-phase.js';
import { type Layer, type LayerRunOptions, runLayer } from './layer-runner.js';
import { openMachine } from './machine.js';
import type { TemplateOptions } from './options.js';
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
 * A template build under way. Iterate over it for its events, or await `result`, or both; it goes on either way. There is one
 * stream of events: only one loop may read it.
 */
export class TemplateBuild implements AsyncIterable<BuildEvent> {
  readonly #events = new EventStream();
  /** Resolves when the template is published; rejects with a RootloomError, a TypeError or the signal's reason. */
  readonly result: Promise<TemplateResult>;

  constructor(options: TemplateOptions) {
    this.result = this.#run(options);
    this.result.then(
      () => this.#events.end(),
      (error) => this.#events.fail(error),
    );
  }

  [Symbol.asyncIterator](): AsyncIterator<BuildEvent> {
    return this.#events[Symbol.asyncIterator]();
  }

  async #run(options: TemplateOptions): Promise<TemplateResult> {
    if (options.disk !== undefined) validateDiskRequest(options.disk);
    options.signal?.throwIfAborted();
    using controller = new LinkedController(options.signal);
    const cleaner = new Cleaner('the template build');
    const emit = (event: BuildEvent) => {
      this.#events.emit(event);
      forward(event, options);
    };
    try {
      const result = await buildLayers(options, cleaner, {
        store: options.store,
        force: options.force ?? false,
        signal: controller.signal,
        emit,
      });
      await cleaner.run();
      return result;
    } catch (error) {
      return cleaner.runAfter(error);
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

async function makeBasePhase(
  options: TemplateOptions,
  files: readonly ProvisioningFile[],
  cleaner: Cleaner,
  signal: AbortSignal,
): Promise<Phase> {
  const { from, store, disk, check = 'auto', logger } = options;
  if ('template' in from) {
    return new TemplatePhase(await openBuild(store, from.template, { signal }), files, disk, check);
  }
  if (disk === undefined)
    throw new TypeError('Cannot build from an OCI image: a disk request is needed, it has none');
  const staging = cleaner.use('the image staging folder', await store.createStaging({ signal }));
  const image = await openImage(from.oci, {
    ...{ platform: from.platform, stagingDir: staging.path, layers: 'later', signal, logger },
  });
  return new ImagePhase(cleaner.use('the image', image), files, disk);
}

/** Removes what this run published, newest first; a layer that another build needs by now stays. */
async function removeLayers(layers: readonly Layer[]): Promise<void> {
  for (const { build, report } of [...layers].reverse()) {
    if (report.cached) continue;
    try {
      await removeBuild(build.store, build.id);
    } catch (error) {
      if (!isRootloomError(error, 'BUSY') && !isRootloomError(error, 'NOT_FOUND')) throw error;
    }
  }
}

async function buildLayers(
  options: TemplateOptions,
  cleaner: Cleaner,
  run: LayerRunOptions,
): Promise<TemplateResult> {
  const { signal } = run;
  const files = await provisioningFiles(options.provisioning);
  const base = await makeBasePhase(options, files, cleaner, signal);
  const machine = await openMachine(options.machine, { signal, logger: options.logger });
  const phases: Phase[] = [
    base,
    new ProvisionPhase(machine, options.disk),
    new SnapshotPhase(machine, options.disk),
  ];
  const layers: Layer[] = [];
  const removal = () => removeLayers(layers);
  cleaner.defer('the layers of the failed build', removal);
  for (const phase of phases) layers.push(await runLayer(phase, layers.at(-1), run));
  cleaner.dismiss(removal);
  const { id } = (layers.at(-1) as Layer).build as Build;
  return { buildId: id, phases: layers.map(({ report }) => report) };
}

/** Starts building a template; see `TemplateBuild`. Wrong options reject `result`. */
export function buildTemplate(options: TemplateOptions): TemplateBuild {
  return new TemplateBuild(options);
}
