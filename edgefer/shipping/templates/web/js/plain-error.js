/** A problem in words for the person before the page, who sees the message as it is. */
export class PlainError extends Error {}
