// @ts-check
export function mount() {}
