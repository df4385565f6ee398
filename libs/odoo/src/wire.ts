/**
 * A type of client-node as its object stands on the wire. There it differs in two ways: client-node calls fields whose
 * names are JavaScript's words `_from`, `_default`, `_continue` and translates them only in its own calls (sent as they
 * are, apply refuses them, and create drops them in silence: an ingress rule without `from` lets everybody in); and
 * times are text.
 */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Wire<Item>[]
    : T extends object
      ? { readonly [Key in keyof T as Key extends `_${infer Name}` ? Name : Key]: Wire<T[Key]> }
      : T;
