/** The only place of this folder that reads the environment. `long`: what `npm run chaos` asks for. */
export const chaos: 'short' | 'long' = process.env.MESH_CHAOS === 'long' ? 'long' : 'short';
