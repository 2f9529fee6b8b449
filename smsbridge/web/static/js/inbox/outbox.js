export function watchOutbox() {}
