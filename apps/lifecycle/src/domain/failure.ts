/** Why something is not done, or could not be brought to its end. */
export interface Failure {
  readonly code: string;
  readonly fault: 'user' | 'platform' | 'provider';
  readonly message: string;
}
