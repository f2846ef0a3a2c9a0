/** Checks what no compiler checks. `npm run tidy`. */
import { checkDeadFiles } from './tidy/dead-files.js';
import { checkDependencies } from './tidy/dependencies.js';
import { checkImports } from './tidy/imports.js';
import { checkSizes } from './tidy/sizes.js';
import { type Rule, readSourceFiles } from './tidy/source-files.js';
import { checkTests } from './tidy/tests.js';
import { checkWords } from './tidy/words.js';

const RULES: readonly Rule[] = [
  checkImports,
  checkSizes,
  checkDeadFiles,
  checkTests,
  checkDependencies,
  checkWords,
];

const files = readSourceFiles();
const findings = RULES.flatMap((rule) => rule(files));
for (const { file, problem } of findings) console.error(`${file}: ${problem}`);
console.log(`tidy: ${files.length} files, ${findings.length} findings`);
process.exitCode = findings.length === 0 ? 0 : 1;
