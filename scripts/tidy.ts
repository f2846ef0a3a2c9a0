/** Checks what no compiler checks: the import table, file sizes, dead files, banned words. `npm run tidy`. */
import { checkDeadFiles } from './tidy/dead-files.js';
import { checkImports } from './tidy/imports.js';
import { checkSizes } from './tidy/sizes.js';
import { readSourceFiles } from './tidy/source-files.js';
import { checkWords } from './tidy/words.js';

const files = readSourceFiles();
const findings = [checkImports, checkSizes, checkDeadFiles, checkWords].flatMap((check) => check(files));
for (const { file, problem } of findings) console.error(`${file}: ${problem}`);
console.log(`tidy: ${files.length} files, ${findings.length} findings`);
process.exitCode = findings.length === 0 ? 0 : 1;
