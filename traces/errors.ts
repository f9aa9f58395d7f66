// The one family of errors that a user meets. Exit codes: 1 the work failed (bad input, broken invariant, full disk),
// 2 the command line or a configuration is wrong.

/** An error whose message is meant for the user as it stands; anything else that is thrown is a defect. */
export class NodewalkError extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2 = 1,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Where and how an input is wrong. `at` is a line or record ("line 12", "record 0"); `advice` says what to do. */
export interface InputFault {
  source: string;
  at?: string;
  expected: string;
  found: string;
  advice?: string;
}

/** Bad input: "FILE: line 12: expected a hexadecimal address, found "zz"; advice". Exit 1. */
export class InputError extends NodewalkError {
  constructor(readonly fault: InputFault) {
    const { source, at, expected, found, advice } = fault;
    super(`${source}: ${at ? `${at}: ` : ''}expected ${expected}, found ${found}${advice ? `; ${advice}` : ''}`, 1);
  }
}

/** A wrong command line or configuration. Exit 2. */
export class UsageError extends NodewalkError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, 2, options);
  }
}
