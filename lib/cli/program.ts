/** The command line: one small file a command, put together here. */
import { Command } from 'commander';
import { packageVersion } from '../index.js';
import { addAttachCommand } from './commands/attach.js';
import { addBuildCommand } from './commands/build.js';
import { addCatCommand } from './commands/cat.js';
import { addCpCommand } from './commands/cp.js';
import { addDevicesCommand } from './commands/devices.js';
import { addDiffCommand } from './commands/diff.js';
import { addDoctorCommand } from './commands/doctor.js';
import { addExportCommand } from './commands/export.js';
import { addFsckCommand } from './commands/fsck.js';
import { addInspectCommand } from './commands/inspect.js';
import { addKernelCommand } from './commands/kernel.js';
import { addListCommand } from './commands/list.js';
import { addLsCommand } from './commands/ls.js';
import { addMountCommand } from './commands/mount.js';
import { addResizeCommand } from './commands/resize.js';
import { addRmCommand } from './commands/rm.js';
import { addRunCommand } from './commands/run.js';
import { addServeCommand } from './commands/serve.js';
import { addStatCommand } from './commands/stat.js';
import type { Interruption } from './interruption.js';

const COMMANDS = [
  addBuildCommand,
  addResizeCommand,
  addListCommand,
  addInspectCommand,
  addDiffCommand,
  addLsCommand,
  addStatCommand,
  addCatCommand,
  addCpCommand,
  addFsckCommand,
  addExportCommand,
  addServeCommand,
  addMountCommand,
  addAttachCommand,
  addDevicesCommand,
  addRunCommand,
  addKernelCommand,
  addRmCommand,
  addDoctorCommand,
];

const EXIT_CODES_TEXT = `
Exit codes: 0 success; 1 failure, or the answer is no (diff, fsck, doctor); 2 wrong usage;
130, 143, 129 ended by SIGINT, SIGTERM, SIGHUP. run ends with the exit code of its command.`;

/**
 * The program; the interruption ends whatever command runs. Parsing throws CommanderError instead of ending the process, and
 * leaves it to the caller to print the error.
 */
export function createProgram(interruption: Interruption): Command {
  const program = new Command('rootloom')
    .description('Builds root filesystems for microVM sandboxes')
    .version(packageVersion)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .addHelpText('after', EXIT_CODES_TEXT);
  for (const add of COMMANDS) add(program, interruption);
  return program;
}
