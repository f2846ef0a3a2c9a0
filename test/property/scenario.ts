/**
 * One case of the property test: a random image, and a random walk of size changes over the chain that it becomes.
 *
 * After each step, whatever happened in it: the old disk is what it was, byte for byte; a new one is there whole, of the size asked
 * for, clean for the stock e2fsck and with every file as it was, or it is not there at all. A step that nothing disturbs is taken
 * twice, in this process and in isolation, to the same bytes.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { execa } from 'execa';
import { isRootloomError } from '../../lib/errors.js';
import { openChain, sealDevice } from '../../lib/native/chain.js';
import { copyDeviceToFile, type Device, openFileDevice } from '../../lib/native/device.js';
import { ext4 } from '../../lib/native/ext4.js';
import { openTree } from '../../lib/native/ext4-tree.js';
import { compareTrees } from '../../lib/native/ext4-tree-compare.js';
import type { FileDigest } from '../../lib/native/ext4-tree-types.js';
import { ISOLATIONS, type Isolation } from '../../lib/native/isolation.js';
import { DISK_BLOCK_BYTES, type ResizeTarget } from '../../lib/rootfs/disk-request.js';
import { Random } from '../helpers/random.js';
import { type Disk, recorded, recording, takeFingerprint } from './disk.js';
import { isFailureOf, nextWriteFault, performWithFault, type WriteFault } from './failing-writes.js';
import { makeRandomImage } from './random-image.js';
import { Aborted, type Chain, isSize, type Places, performStep, type Step, sealedChain } from './step.js';

const MIB = 1024 ** 2;

/** What became of the steps, by their strategy and outcome: shows that a run was not empty. */
export type Tally = Map<string, number>;

const isFree = (target: ResizeTarget): target is { free: number } =>
  typeof target === 'object' && 'free' in target;

/** Of e2fsck, in an error. */
const MESSAGE_LINES = 12;

/** What may look another way when the blocks of a filesystem get another size. */
const BLOCK_ASPECTS = ['holes'];

/** A step, and what goes wrong with a file that it writes. */
interface Plan extends Step {
  fault?: WriteFault | undefined;
}

export class Scenario {
  readonly #random: Random;
  /** Of its own, so that older cases stay what they were. */
  readonly #trouble: Random;
  readonly #story: string[] = [];
  /** Whether resize2fs is known to leave bitmaps or quota of such a filesystem wrong. */
  #mayBeCorrected = false;

  constructor(
    private readonly seed: number,
    private readonly folder: string,
    private readonly tally: Tally,
    private readonly faultyStep: string,
  ) {
    this.#random = new Random(seed);
    this.#trouble = new Random(~seed);
  }

  /** Rejects with what went wrong, and the story up to there. */
  async run(): Promise<void> {
    try {
      let disk = await this.#makeFirst();
      for (let step = this.#random.integer(1, 4); step > 0; step -= 1) disk = await this.#take(disk);
    } catch (cause) {
      const story = this.#story.join('\n  ');
      throw new Error(`Case ${this.seed} failed: ${(cause as Error).message}\n  ${story}`, { cause });
    }
  }

  async #makeFirst(): Promise<Disk> {
    const image = path.join(this.folder, 'image');
    const { profile, size } = await makeRandomImage(image, this.#random);
    this.#story.push(`image of ${size} bytes: ${profile}`);
    this.#mayBeCorrected = /sparse_super2|quota/.test(profile);
    await using device = await openFileDevice(image);
    const nothing = { size: 0, header: Buffer.alloc(0), diffs: {} };
    const chain = await sealedChain(nothing, this.#newPlaces(), (request) =>
      sealDevice(device, { ...request, blockSize: DISK_BLOCK_BYTES }),
    );
    await rm(image);
    await rm(path.join(this.folder, 'islands'), { force: true });
    await using sealed = await openChain(chain);
    await using tree = await openTree(sealed, { isolation: 'none' });
    const files: FileDigest[] = [];
    for await (const file of tree.digest('/')) files.push(file);
    return { chain, fingerprint: await takeFingerprint(chain), files };
  }

  #newPlaces(): Places {
    return { buildId: randomUUID(), folder: this.folder, work: path.join(this.folder, 'work') };
  }

  #nextStep({ size }: Chain): Plan {
    const random = this.#random;
    const strategy = random.pick(['resize', 'resize', 'rebuild', 'copy']);
    const factor = random.pick([0.1, 0.5, 0.8, 1, 1.3, 3, 40]);
    const bytes = Math.max(Math.round((size * factor * (0.9 + random.next() / 5)) / 4096) * 4096, 16 * MIB);
    const request = random.pick([
      ...[{ size: bytes }, { size: bytes }, { size: bytes }, { free: random.integer(0, 200 * MIB) }],
      'minimum',
    ] as const);
    const disturbance = random.pick(['none', 'none', 'none', 'abort', 'read-error', 'write-error']);
    const after = disturbance === 'abort' ? random.integer(0, 60) : random.integer(0, 40);
    const isolation = this.#trouble.pick(ISOLATIONS);
    const fault = nextWriteFault(this.#trouble);
    // A resize has a device to write to, which can fail, too.
    const isOfDevice = strategy === 'resize' && this.#trouble.chance(0.5);
    const isOfFile = disturbance === 'write-error' && !isOfDevice;
    return { strategy, request, disturbance, after, isolation, fault: isOfFile ? fault : undefined };
  }

  async #take(disk: Disk): Promise<Disk> {
    const step = this.#nextStep(disk.chain);
    this.#story.push(JSON.stringify(step));
    const places = this.#newPlaces();
    const outcome = await this.#attempt(disk.chain, step, places);
    this.#story.push(`  ${outcome instanceof Error ? String(outcome) : `a disk of ${outcome.size} bytes`}`);
    if (!isDeepStrictEqual(await takeFingerprint(disk.chain), disk.fingerprint))
      throw new Error('The old disk has changed');
    const name = outcome instanceof Error ? this.#judgeFailure(outcome, step) : 'done';
    const key = `${step.strategy} ${step.disturbance}: ${name}`;
    this.tally.set(key, (this.tally.get(key) ?? 0) + 1);
    if (!(outcome instanceof Error)) {
      const made = await this.#judgeSuccess(disk, outcome, step);
      if (step.disturbance === 'none') await this.#repeat(disk, step, places, made);
      return made;
    }
    if (!isRootloomError(outcome, 'TOO_SMALL')) return disk;
    return this.#takeMinimum(disk, step, outcome.context.minimum);
  }

  /** What a refusal says would do must do. */
  async #takeMinimum(disk: Disk, step: Plan, minimum: number | undefined): Promise<Disk> {
    if (minimum === undefined) throw new Error('TOO_SMALL has no minimum');
    const size = Math.max(Math.ceil(minimum / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES, 16 * MIB);
    const again: Plan = { ...step, request: { size }, disturbance: 'none', fault: undefined };
    const outcome = await this.#attempt(disk.chain, again, this.#newPlaces());
    if (outcome instanceof Error) throw new Error(`The minimum ${minimum} did not do`, { cause: outcome });
    return this.#judgeSuccess(disk, outcome, again);
  }

  /** Takes a step once more, the other way, for the same build. */
  async #repeat(disk: Disk, step: Plan, places: Places, made: Disk): Promise<void> {
    const again = { ...places, folder: path.join(this.folder, 'again') };
    const [isolation] = ISOLATIONS.filter((other) => other !== step.isolation) as [Isolation];
    await Promise.all([mkdir(again.folder), mkdir(again.work)]);
    const repeated = await performStep(disk.chain, { ...step, isolation }, again);
    const fingerprint = await takeFingerprint(repeated, disk.fingerprint.diffs);
    if (!isDeepStrictEqual(fingerprint, made.fingerprint))
      throw new Error('Made again, the disk is another one');
    await Promise.all([again.folder, again.work].map((folder) => rm(folder, { recursive: true })));
  }

  /** The new chain, or the error; in that case nothing may be left. */
  async #attempt(chain: Chain, { fault, ...step }: Plan, places: Places): Promise<Chain | Error> {
    const before = await readdir(this.folder);
    const { work } = places;
    await mkdir(work);
    try {
      return await (fault === undefined
        ? performStep(chain, step, places)
        : performWithFault(chain, { ...step, disturbance: 'none' }, places, fault, this.faultyStep));
    } catch (error) {
      const left = [...(await readdir(work)), ...(await readdir(this.folder))];
      if (left.length !== before.length + 1)
        throw new Error(`Left behind: ${left.join(', ')}`, { cause: error });
      return error as Error;
    } finally {
      await rm(work, { recursive: true });
    }
  }

  /** The name of the outcome in the tally. Throws for a failure that nothing has called for. */
  #judgeFailure(error: Error, { disturbance, request, fault }: Plan): string {
    if (disturbance === 'abort' && error instanceof Aborted) return 'aborted';
    if (fault !== undefined && isRootloomError(error) && isFailureOf(fault, error)) return 'failed';
    if (
      disturbance.endsWith('error') &&
      isRootloomError(error, 'IO') &&
      error.context.errno === constants.errno.EIO
    )
      return 'failed';
    if (isRootloomError(error, 'TOO_SMALL') && isSize(request)) return 'too small';
    throw new Error('A step failed without a reason', { cause: error });
  }

  async #judgeSuccess(old: Disk, chain: Chain, { request, strategy }: Step): Promise<Disk> {
    if (isSize(request) && chain.size !== request.size) throw new Error(`The disk has ${chain.size} bytes`);
    if (chain.isCorrected && !this.#mayBeCorrected) throw new Error('e2fsck had to correct the result');
    if (strategy === 'copy' && Object.keys(chain.diffs).length !== 1)
      throw new Error('A copy needs other builds');
    await using device = await openChain(chain);
    const { availableBytes } = await ext4.stats(device);
    if (isFree(request) && availableBytes < request.free)
      throw new Error(`Only ${availableBytes} bytes are free`);
    await this.#checkWithStockTool(device);
    await using tree = await openTree(device, { isolation: 'none' });
    const files: FileDigest[] = [];
    const everything = { atime: true, ctime: true, birthtime: true, generation: true };
    const differences = compareTrees(recorded(old.files), recording(tree, files), everything);
    for await (const { path: file, what } of differences) {
      const isBlockSize = strategy !== 'resize' && what.every((aspect) => BLOCK_ASPECTS.includes(aspect));
      if (!isBlockSize) throw new Error(`${file} differs: ${what.join(', ')}`);
    }
    return { chain, fingerprint: await takeFingerprint(chain, old.fingerprint.diffs), files };
  }

  async #checkWithStockTool(device: Device): Promise<void> {
    const raw = path.join(this.folder, 'raw');
    await copyDeviceToFile(device, raw);
    const { exitCode, stdout } = await execa('e2fsck', ['-fn', raw], { reject: false });
    await rm(raw);
    if (exitCode !== 0) {
      throw new Error(
        `e2fsck -fn exits with ${exitCode}: ${stdout.split('\n').slice(0, MESSAGE_LINES).join('\n')}`,
      );
    }
  }
}
