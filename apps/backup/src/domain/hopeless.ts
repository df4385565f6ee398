/** What no other try can mend. */
export class Hopeless extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** Contents that are not what their names say, by SHA-1. */
    readonly damaged: readonly string[] = [],
  ) {
    super(message);
    this.name = 'Hopeless';
  }
}
