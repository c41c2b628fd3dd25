import neostandard, { plugins, resolveIgnoresFromGitignore } from 'neostandard'

export default [
  // What is generated or installed is not in git either. Types are tsc's to check.
  { ignores: [...resolveIgnoresFromGitignore(), '**/*.ts', '**/*.mts', '**/*.cts'] },
  ...neostandard(),
  {
    plugins: { n: plugins.n },
    rules: {
      'n/prefer-node-protocol': 'error',
      // Does not see what a callback changes while the loop awaits.
      'no-unmodified-loop-condition': 'off',
      // Tables are read in rows.
      '@stylistic/object-property-newline': 'off',
      '@stylistic/object-curly-newline': 'off',
    },
  },
]
