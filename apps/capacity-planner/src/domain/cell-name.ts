/** Cells are numbered as they are opened; their namespace begins with the mesh's name, as everything global does. */
export function nextCell(
  meshName: string,
  existing: readonly { readonly id: string }[],
): { id: string; namespace: string } {
  const highest = Math.max(-1, ...existing.map((cell) => Number(cell.id.slice(1))));
  const id = `c${highest + 1}`;
  return { id, namespace: `${meshName}-${id}` };
}
