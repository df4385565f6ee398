/** What no other try can mend. */
export class Hopeless extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'Hopeless';
  }
}
