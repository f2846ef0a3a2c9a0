/** Platforms: what an image was made for, and which one suits. */
import { RootloomError } from '../errors.js';

export interface Platform {
  os: string;
  architecture: string;
  variant?: string | undefined;
}

/** Node's names of architectures that Go, and so OCI, calls otherwise. */
const ARCHITECTURES: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', ia32: '386' };

/** What an absent variant means. */
const DEFAULT_VARIANTS: Record<string, string> = { amd64: 'v1', arm64: 'v8', arm: 'v7' };

/** Linux on this machine's architecture: what its virtual machines run. */
export function hostPlatform(): Platform {
  return { os: 'linux', architecture: ARCHITECTURES[process.arch] ?? process.arch };
}

/** Reads "linux/arm64/v8" or "linux/amd64". Throws TypeError, or UNSUPPORTED for another system than Linux. */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text);
  const [, os, architecture, variant] = match ?? [];
  if (os === undefined || architecture === undefined) {
    throw new TypeError(
      `Cannot read the platform "${text}": wanted OS/ARCHITECTURE[/VARIANT] like linux/arm64`,
    );
  }
  if (os !== 'linux') throw new RootloomError('UNSUPPORTED', `Cannot use the platform ${text}: wanted linux`);
  return { os, architecture, variant };
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join('/');
}

const variantOf = ({ architecture, variant }: Platform) => variant || DEFAULT_VARIANTS[architecture] || '';

/**
 * How well an offered platform suits: the higher the better, undefined when it does not. A wanted variant must be met exactly;
 * without one the architecture's usual variant is best, and older ones follow, newest first.
 */
export function rankPlatform(offered: Platform, wanted: Platform): number | undefined {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return undefined;
  const [have, want] = [variantOf(offered), variantOf(wanted)];
  if (have === want) return Number.POSITIVE_INFINITY;
  const [haveNumber, wantNumber] = [Number(have.slice(1)), Number(want.slice(1))];
  return wanted.variant === undefined && haveNumber < wantNumber ? haveNumber : undefined;
}
